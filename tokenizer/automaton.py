"""From the text of a splitting pattern to a table that finds the same pieces, byte after byte.

The pattern becomes a program (as for a Pike machine: threads in order of preference), the program
a deterministic automaton over classes of characters. What `regex` finds by trying alternatives in
turn, the automaton finds in one pass: preference decides which thread outlives which.

Understood: alternatives, groups, `(?i:...)`, character sets, `? * + {m,n}`, these possessive on one
set S (`S++`), and as a look ahead `(?!S)` and `(?=S)`. All published splitting patterns are made of
these; others are cut by `regex`, see own_pattern.py.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

from curate.column import Bytes, Positions, frozen
from curate.errors import RecipeError
from tokenizer.unicode_table import STRANGER, unicode_classes

STILL = 0x140000  # the class that changes nothing, behind those of all code points
PAGES = STILL + 64
FOUR = 32  # of `leads`: the character has four bytes

# Three bits of an entry of the table; the rest is the row to go on from.
CUT = 1  # a piece ended before this character, and the next one began with it
SEEN = 2  # a piece may end before this character; remembered for the way back
EARLIER = 4  # a piece ended one character earlier than seen now: `\s+(?!\S)` does so at each word
BACK = 0  # row 0: nothing fits any more; the piece ends where one was seen last

# The published patterns need 5 to 54.
MOST_ROWS = 5_000
MOST_PAIRS = 1 << 22
MOST_KINDS = 128  # as many as fit beside ASCII in a byte
CHARACTER_SET = regex.compile(
    r"(?P<set>\[(?:\\.|[^\[\]\\]|(?&set))*+\])|\\[pP]\{\^?\w+\}|\\[sSdDwWrnt]|\\\W|[^\\]"
)
CHARACTER, REFUSE, REQUIRE, FORK, JUMP, MATCH = range(6)


class NotUnderstoodError(RecipeError):
    """A pattern that may be a good one, but no automaton follows it."""


class Step(NamedTuple):
    """Take a character of a set, refuse or require one ahead, fork, jump, or match."""

    kind: int
    first: int = 0  # the set, or where to go
    second: int = 0  # where else to go, less preferred


class Automaton(NamedTuple):
    """What the kernel reads: `table[row * width + class]`, and two characters at a time.

    An entry is the row to go on from times eight and three bits, CUT, SEEN and EARLIER. An entry of
    `pairs[row * still**2 + class * still + class]` is the row times still**2, times eight, and
    three bits: a piece ended a byte before the first character, before it, before the second one.
    The class `still - 1` changes nothing: the bytes of a character after its first one have it.
    `kinds[code + 256 * code]` is the class * still + class of two codes: an ASCII character is its
    own code, any class is one with 128 added.
    """

    # By code point; what a bad byte may spell (to 0x13FFFF); STILL: `still - 1`; and from PAGES on
    # every class 64 times.
    classes: Bytes
    table: NDArray[np.int32]  # rows one after another, the last entry of each for the end of text
    width: int  # length of a row
    start: int  # row in which a piece begins
    stranger: int  # the code point that a byte which belongs to no character counts as
    pairs: NDArray[np.uint32]
    still: int
    kinds: NDArray[np.uint16]
    leads: NDArray[np.uint32]  # see `_leads`


@dataclass
class Program:
    """A pattern on its way to instructions."""

    text: str
    at: int = 0
    steps: list[Step] = field(default_factory=list)
    sets: dict[str, int] = field(default_factory=dict)

    def refuse(self, what: str) -> "NotUnderstoodError":
        """The error that says where the pattern is not understood."""
        return NotUnderstoodError(f"{what} at character {self.at} of pattern {self.text!r}")

    def take(self, mark: str) -> bool:
        """Step over this text if it comes next."""
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def alternatives(self, fold: bool) -> None:
        """Compile `a|b|c` up to the end of its group."""
        exits = []
        while True:
            fork = len(self.steps)
            self.steps.append(Step(FORK))
            self.sequence(fold)
            if not self.take("|"):
                self.steps[fork] = Step(JUMP, fork + 1)
                break
            exits.append(len(self.steps))
            self.steps.append(Step(JUMP))
            self.steps[fork] = Step(FORK, fork + 1, len(self.steps))
        for exit_ in exits:
            self.steps[exit_] = Step(JUMP, len(self.steps))

    def sequence(self, fold: bool) -> None:
        """Compile what stands between two bars."""
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            begin = len(self.steps)
            self.atom(fold)
            low, high = self.count()
            if self.take("+"):
                self.repeat_possessively(begin, low, high)
            elif (low, high) != (1, 1):
                self.repeat(begin, low, high)

    def atom(self, fold: bool) -> None:
        """Compile a group, a look ahead or a character set."""
        if self.take("(?!"):
            self.steps.append(Step(REFUSE, self.character_set(fold)))
        elif self.take("(?="):
            self.steps.append(Step(REQUIRE, self.character_set(fold)))
        elif self.take("(?i:"):
            self.alternatives(True)
        elif self.take("(?:") or (self.text[self.at] == "(" and self.take("(")):
            if self.take("?"):
                raise self.refuse("a kind of group that is not understood")
            self.alternatives(fold)
        else:
            self.steps.append(Step(CHARACTER, self.character_set(fold)))
            return
        if not self.take(")"):
            raise self.refuse("no closing parenthesis")

    def character_set(self, fold: bool) -> int:
        r"""Number of the set that comes next: `[...]`, `\p{L}`, `\s`, `a`."""
        one = CHARACTER_SET.match(self.text, self.at)
        if one is None or one[0] in tuple("^$*+?{}[]()"):
            raise self.refuse("something that is no character set")
        self.at = one.end()
        name = f"(?i:{one[0]})" if fold else one[0]
        return self.sets.setdefault(name, len(self.sets))

    def count(self) -> tuple[int, int]:
        """How often the last atom may stand; a high of 0 means without end."""
        low, high = 1, 1
        one = regex.compile(r"\{(\d+)(,?)(\d*)\}").match(self.text, self.at)
        if one:
            self.at = one.end()
            low = int(one[1])
            high = int(one[3]) if one[3] else 0 if one[2] else low
        for mark, bounds in (("?", (0, 1)), ("*", (0, 0)), ("+", (1, 0))):
            if not one and self.take(mark):
                low, high = bounds
                break
        else:
            if not one:
                return low, high
        if self.at < len(self.text) and self.text[self.at] in "?*{":
            raise self.refuse("a lazy or doubled repetition")
        return low, high

    def repeat(self, begin: int, low: int, high: int) -> None:
        """Write the atom that was compiled last as often as it may stand."""
        body = self.steps[begin:]
        del self.steps[begin:]
        for _ in range(low):
            self.append(body, begin)
        if high == 0:
            fork = len(self.steps)
            self.steps.append(Step(FORK, fork + 1, fork + len(body) + 2))
            self.append(body, begin)
            self.steps.append(Step(JUMP, fork))
        for left in range(high - low, 0, -1):
            fork = len(self.steps)
            self.steps.append(Step(FORK, fork + 1, fork + left * (len(body) + 1)))
            self.append(body, begin)

    def repeat_possessively(self, begin: int, low: int, high: int) -> None:
        """Write a set so that it is taken as often as it may stand, and never given back."""
        body = self.steps[begin:]
        if len(body) != 1 or body[0].kind != CHARACTER:
            raise self.refuse("a possessive repetition of more than one character")
        if high == 0:
            self.repeat(begin, low, high)
            self.steps.append(Step(REFUSE, body[0].first))
            return
        # S{0,2}+ is (?:S(?:S|(?!S))|(?!S)): where the set is refused, it may be left out.
        del self.steps[begin:]
        self.steps += body * low
        ends = begin + low + 4 * (high - low)
        for _ in range(high - low):
            fork = len(self.steps)
            self.steps.append(Step(FORK, fork + 3, fork + 1))
            self.steps.append(Step(REFUSE, body[0].first))
            self.steps.append(Step(JUMP, ends))
            self.steps += body

    def append(self, body: list[Step], begin: int) -> None:
        """Write a copy of these instructions here, their targets moved along."""
        shift = len(self.steps) - begin
        for step in body:
            if step.kind in (FORK, JUMP):
                step = Step(step.kind, step.first + shift, step.second + shift)
            self.steps.append(step)


Entries = NDArray[np.int32]  # [row, class]
Threads = tuple[int, ...]  # places in the program, the preferred one first
State = tuple[Threads, int]  # and the class of a last character before which a piece may end, or -1


def advance(steps: list[Step], threads: Threads, held: NDArray[np.bool_]) -> tuple[Threads, bool]:
    """Threads behind a character of a class, and whether a piece may end before it.

    `held[s]` tells whether set s holds the class; none does at the end of the text.
    """
    behind: list[int] = []
    done: set[int] = set()
    stack = list(reversed(threads))
    while stack:
        at = stack.pop()
        if at in done:
            continue
        done.add(at)
        step = steps[at]
        if step.kind == MATCH:
            return tuple(behind), True
        if step.kind == CHARACTER and held[step.first] and at + 1 not in behind:
            behind.append(at + 1)
        if step.kind in (REFUSE, REQUIRE) and held[step.first] == (step.kind == REQUIRE):
            stack.append(at + 1)
        if step.kind in (JUMP, FORK):
            stack.extend((step.second, step.first) if step.kind == FORK else (step.first,))
    return tuple(behind), False


def compiled(pattern: str) -> Program:
    """The instructions of a pattern."""
    program = Program(pattern)
    try:
        program.alternatives(False)
    except RecursionError as error:
        raise program.refuse("too many groups within groups") from error
    if program.at < len(pattern):
        raise program.refuse("a closing parenthesis too many")
    program.steps.append(Step(MATCH))
    return program


@cache
def automaton(pattern: str) -> Automaton:
    """The automaton of a pattern; it is built once in a process, in 0.1 to 0.4 s."""
    program = compiled(pattern)
    try:
        classes, held = unicode_classes(tuple(program.sets))
    except regex.error as error:
        raise NotUnderstoodError(f"{error} in pattern {pattern!r}") from error
    classes, held = with_bytes_apart(classes, held)
    # One more class, held by no set: the end of the text.
    held = np.hstack([held, np.zeros((len(held), 1), np.bool_)])
    begin: Threads = (0,)
    width = held.shape[1]
    if any(advance(program.steps, begin, held[:, kind])[1] for kind in range(width)):
        raise RecipeError(f"pattern {pattern!r} matches the empty text")
    beyond = np.bincount(classes[128:], minlength=width) > 0
    maker = Maker(program.steps, held, beyond)
    rows: dict[State, int] = {((), -1): 0, (begin, -1): 1}
    entries: list[list[int]] = [[BACK] * width]
    waiting: list[State] = [(begin, -1)]
    while waiting:
        if len(rows) > MOST_ROWS:
            raise NotUnderstoodError(f"more than {MOST_ROWS} states of pattern {pattern!r}")
        state = waiting.pop(0)
        row: list[int] = []
        for kind in range(width):
            behind, flags = maker.step(state, kind)
            if behind not in rows:
                rows[behind] = len(rows)
                waiting.append(behind)
            row.append(rows[behind] << 3 | flags)
        entries.append(row)
    return assembled(classes, *smallest(np.array(entries, np.int32)))


def with_bytes_apart(classes: Bytes, held: NDArray[np.bool_]) -> tuple[Bytes, NDArray[np.bool_]]:
    """The same sets with characters of one byte in classes of their own, as far as there is room.

    EARLIER tells of these alone: two tabs before a word, in the class of other white space, were
    cut slowly. Where the two classes turn out to do the same, `smallest` makes them one again.
    """
    number = held.shape[1]
    low, high = (np.bincount(c, minlength=number) > 0 for c in (classes[:128], classes[128:]))
    mixed = np.flatnonzero(low & high)[: 255 - number]
    apart = np.arange(number, dtype=np.uint8)
    apart[mixed] = number + np.arange(len(mixed))
    split = np.concatenate([classes[:128], apart[classes[128:]]])
    return split, np.hstack([held, held[:, mixed]])


@dataclass(frozen=True)
class Maker:
    """From one state to the next."""

    steps: list[Step]
    held: NDArray[np.bool_]
    beyond: NDArray[np.bool_]  # classes with characters of more than one byte

    def step(self, state: State, kind: int) -> tuple[State, int]:
        """The state behind a character of this class, and the flags of the step."""
        threads, last = state
        behind, seen = advance(self.steps, threads, self.held[:, kind])
        if behind or kind == len(self.beyond) - 1:
            return self.state(behind, kind, seen), SEEN * seen
        if seen:
            behind, _ = advance(self.steps, (0,), self.held[:, kind])
            return (behind, -1), CUT if behind else SEEN
        if last < 0:
            return ((), -1), 0
        # The piece ended before the last character, with which the next one began.
        begun, _ = advance(self.steps, (0,), self.held[:, last])
        behind, seen = advance(self.steps, begun, self.held[:, kind])
        if behind:
            return self.state(behind, kind, seen), EARLIER | SEEN * seen
        behind, _ = advance(self.steps, (0,), self.held[:, kind])
        return ((behind, -1), EARLIER | CUT) if seen and behind else (((), -1), 0)

    def state(self, behind: Threads, kind: int, seen: bool) -> State:
        """Threads, with the character before which a piece may end, if it is one byte."""
        return behind, kind if seen and behind and not self.beyond[kind] else -1


def smallest(entries: Entries) -> tuple[Entries, int, Positions]:
    """The same machine with as few rows and classes as can be: it, its start, and classes by old.

    Row 0 stays what it is, and the last class, the end of the text, stays the last.
    """
    group = np.minimum(np.arange(len(entries)), 1)
    while True:
        said = np.column_stack([group, group[entries >> 3] << 3 | entries & 7])
        _, first, finer = np.unique(said, axis=0, return_index=True, return_inverse=True)
        if len(first) == group.max() + 1:
            break
        group = finer
    # Numbered by the oldest of each: row 0 is dead, row 1 the start.
    order = np.argsort(first)
    number = np.argsort(order)[finer]
    kept = entries[np.sort(first)]
    kept = number[kept >> 3] << 3 | kept & 7
    columns, ranks = np.unique(kept[:, :-1], axis=1, return_inverse=True)
    return np.hstack([columns, kept[:, -1:]]), int(number[1]), ranks


def assembled(classes: Bytes, entries: Entries, start: int, ranks: Positions) -> Automaton:
    """The tables of a machine."""
    stranger = int(ranks[classes[STRANGER]])
    rows = np.arange(len(entries))[:, None]
    # The class of the end of the text is not met within it: its place is taken.
    steps = np.hstack([entries[:, :-1], rows << 3])
    still = steps.shape[1]
    if still > MOST_KINDS:
        raise NotUnderstoodError(f"a pattern that tells {still} kinds of character apart")
    if len(steps) * still**2 > MOST_PAIRS:
        raise RecipeError(f"a pattern of {len(steps)} states and {still} kinds of character")
    second = steps[steps >> 3]
    first = (steps & CUT) << 1 | steps >> 2 & 1
    pairs = (second >> 3) * still**2 << 3 | (second & CUT) << 2 | (second & EARLIER) >> 1
    pairs |= first[:, :, None]
    every = np.full(PAGES + 64 * still, stranger, np.uint8)
    every[: len(classes)] = ranks[classes]
    every[STILL] = still - 1
    every[PAGES:] = np.repeat(np.arange(still), 64)
    coded = np.append(every[:128], np.minimum(np.arange(128), still - 1)).astype(np.uint16)
    return Automaton(
        frozen(every),
        frozen(entries.astype(np.int32).reshape(-1)),
        entries.shape[1],
        start,
        STRANGER,
        frozen(pairs.astype(np.uint32).reshape(-1)),
        still,
        frozen((coded * still + coded[:, None]).astype(np.uint16).reshape(-1)),
        frozen(_leads(every)),
    )


def _leads(classes: Bytes) -> NDArray[np.uint32]:
    """What two bytes, the first one times 256, say of the character that begins there.

    Where 64 classes are, of which the last six bits of its third byte choose one (of which its
    class is all, if it has no third byte; or, behind FOUR, the page is chosen by the third byte,
    and the class by the fourth), and which bytes behind the first one it has, a bit for each.
    """
    both = np.arange(1 << 16)
    lead, next_bits = both >> 8, both & 0x3F
    two, three, four = (lead >= low for low in (0xC2, 0xE0, 0xF0))
    point = np.where(two, (lead & 0x1F) << 6 | next_bits, lead & 0x7F)
    page = PAGES + 64 * classes[point].astype(np.int64)
    page = np.where(three, (lead & 0xF) << 12 | next_bits << 6, page)
    # ASCII in three bytes is none: only what takes one byte is in a class of which EARLIER tells.
    page = np.where(three & (page < 128), PAGES + 64 * np.int64(classes[STRANGER]), page)
    page = np.where(four, (lead & 0x7) << 18 | next_bits << 12 | FOUR, page)
    page |= 2 * two | 4 * three | 8 * four
    # What no character begins with asks for itself to follow: never met, so the text is no UTF-8.
    # 0xF4 may lead beyond the last code point, to what has no meaning, and 0xF0 0x80 to ASCII:
    # looked at slowly as well.
    none = (lead >= 0x80) & ~two | (lead >= 0xF4) | (both == 0xF080)
    return np.where(none, 1, page).astype(np.uint32)


def covers(machine: Automaton) -> bool:
    """Whether a match begins at every character, so that no text stands between two matches."""
    rows = machine.table.reshape(-1, machine.width)
    behind = rows[machine.start, :-1] >> 3
    return bool(behind.all() and np.all(rows[behind] & (CUT | SEEN)))

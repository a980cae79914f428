"""How deep, how broad and how entangled a page is, told by one linear pass before any parser.

The pass keeps the stack of open elements as the HTML standard's tree construction would: implied
end tags, scopes, foreign content, the list of active formatting elements. Real pages therefore
stay far below the limits however careless they are, and a hostile page has few ways to look flat.
What still slips through ends in the child process (`curate.read.child`).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.column import Bytes, Offsets, Positions, View
from curate.kernel import helper

# Columns of what `scan` measures, by page.
DEPTH = 0  # elements open at once
ATTRIBUTES = 1  # of one tag
FORMATTING = 2  # active formatting elements at once
REOPENED = 3  # formatting elements that a parser would open again after blocks that closed them
VISIBLE = 4  # bytes of text outside tags, scripts and styles; white space not counted
BROKEN = 5  # sequences that are not UTF-8, as many as a decoder writes U+FFFD
VALID = 6  # characters beyond ASCII
MEASURES = 7

SKIP, PLAIN, HTML = 0, 1, 2  # what a row holds; plain text is only looked at as UTF-8

# What an element does to those around it.
VOID = 1  # has no content; or, like body, is never nested
RAW = 2  # its content is text up to its end tag
ACTIVE = 4  # a formatting element
BARRIER = 8  # end tags inside it do not close what is outside
SPECIAL = 16
BLOCK = 32  # special, and an open <li> beyond it stays open
CLOSES_P = 64
BREAKOUT = 128  # ends an <svg> or <math> that it stands in
MARKER = 256  # formatting does not leak out of it

# Elements with a rule of their own; those of tables stand in the order of their nesting.
OTHER, TD, TH, CAPTION, ROW, TBODY, THEAD, TFOOT, TABLE, PARAGRAPH = range(10)
ITEM, DT, DD, HEADING, ANCHOR, NOBR, BUTTON, OPTION, OPTGROUP, FORM = range(10, 20)
UL, OL, FOREIGN, INTEGRATION, TITLE, PLAINTEXT = range(20, 26)
KNOWN_CODES = 26
CODES = 256  # the rest are told apart by hash

SPECIAL_BLOCK = SPECIAL | BLOCK
_SECTIONS = (
    "article aside details dialog dir fieldset figcaption figure footer header hgroup main nav "
    "search section summary"
)
_NAMES = (
    ("area base basefont bgsound col frame input keygen link param source track wbr", OTHER, VOID),
    ("br embed img meta body head", OTHER, VOID | BREAKOUT),
    ("hr", OTHER, VOID | CLOSES_P | BREAKOUT),
    ("colgroup image html", OTHER, VOID),
    ("script style textarea iframe noembed noframes", OTHER, RAW),
    ("xmp", OTHER, RAW | CLOSES_P),
    ("title", TITLE, RAW),
    ("plaintext", PLAINTEXT, RAW | CLOSES_P),
    ("b big code em i small strike strong tt u s", OTHER, ACTIVE | BREAKOUT),
    ("font", OTHER, ACTIVE),
    ("span sub sup var ruby", OTHER, BREAKOUT),
    ("a", ANCHOR, ACTIVE),
    ("nobr", NOBR, ACTIVE | BREAKOUT),
    ("address", OTHER, SPECIAL | CLOSES_P),
    ("div", OTHER, SPECIAL | CLOSES_P | BREAKOUT),
    ("p", PARAGRAPH, SPECIAL | CLOSES_P | BREAKOUT),
    (_SECTIONS, OTHER, SPECIAL_BLOCK | CLOSES_P),
    ("blockquote center dl listing menu pre", OTHER, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("ul", UL, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("ol", OL, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("h1 h2 h3 h4 h5 h6", HEADING, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("li", ITEM, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("dt", DT, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("dd", DD, SPECIAL_BLOCK | CLOSES_P | BREAKOUT),
    ("form", FORM, SPECIAL_BLOCK | CLOSES_P),
    ("button", BUTTON, SPECIAL_BLOCK | BARRIER),
    ("applet marquee object template", OTHER, SPECIAL_BLOCK | BARRIER | MARKER),
    ("table", TABLE, SPECIAL_BLOCK | BARRIER | CLOSES_P | BREAKOUT),
    ("td", TD, SPECIAL_BLOCK | BARRIER | MARKER),
    ("th", TH, SPECIAL_BLOCK | BARRIER | MARKER),
    ("caption", CAPTION, SPECIAL_BLOCK | BARRIER | MARKER),
    ("tr", ROW, SPECIAL_BLOCK),
    ("tbody", TBODY, SPECIAL_BLOCK),
    ("thead", THEAD, SPECIAL_BLOCK),
    ("tfoot", TFOOT, SPECIAL_BLOCK),
    ("select noscript frameset", OTHER, SPECIAL_BLOCK),
    ("option", OPTION, 0),
    ("optgroup", OPTGROUP, 0),
    ("svg math", FOREIGN, 0),
    ("foreignobject desc mi mo mn ms mtext annotation-xml", INTEGRATION, SPECIAL_BLOCK | BARRIER),
)
_MASK = (1 << 48) - 1
_SLOTS = 1024


def name_hash(name: str) -> int:
    """The hash of an element's lower-case name."""
    total = 0
    for byte in name.encode():
        total = (total * 31 + byte) & _MASK
    return total


def _table() -> NDArray[np.int64]:
    """Known names by hash: rows of hash, code, flags; free rows hold -1."""
    table = np.full((_SLOTS, 3), -1, np.int64)
    for names, code, flags in _NAMES:
        for name in names.split():
            slot = name_hash(name) % _SLOTS
            while table[slot, 0] >= 0:
                slot = (slot + 1) % _SLOTS
            table[slot] = name_hash(name), code, flags
    return table


_ELEMENTS = _table()


class Tree(NamedTuple):
    """The open elements of a page: a stack, threaded by element, and a few numbers."""

    stack: Positions  # one row of FIELDS per open element
    last: Positions  # by code: where in the stack it was opened last, or -1
    active: Positions  # one row of ENTRY_FIELDS per active formatting element
    now: Positions


# Fields of an element on the stack; the state before it was opened comes back when it closes.
NAME, CODE, FLAGS, BEFORE, OLD_BARRIER, OLD_SPECIAL, OLD_BLOCK, OLD_MARK, SERIAL, ALIVE = range(10)
FIELDS = 10
# Fields of an active formatting element; it is open if the stack has its serial number there.
ENTRY_NAME, WHOLE_TAG, ENTRY_CODE, ENTRY_FLAGS, PLACE, ENTRY_SERIAL = range(6)
ENTRY_FIELDS = 6
# The numbers of `now`.
TOP, OPEN, AT_BARRIER, AT_SPECIAL, AT_BLOCK, MARK, LISTED, SERIALS, COUNT, SLASH = range(10)
NUMBERS = 10
# The stack also holds elements that were closed in the middle of it.
STACK_SHARE = 4


def new_tree(max_depth: int, max_formatting: int) -> Tree:
    """Room for a tree up to these limits."""
    return Tree(
        np.zeros((STACK_SHARE * max_depth + max_formatting + 16, FIELDS), np.int64),
        np.full(CODES, -1, np.int64),
        np.zeros((max_formatting + 2, ENTRY_FIELDS), np.int64),
        np.zeros(NUMBERS, np.int64),
    )


@helper
def clear(tree: Tree) -> None:
    """Begin a page."""
    tree.last[:] = -1
    tree.now[:] = 0
    tree.now[AT_BARRIER] = -1
    tree.now[AT_SPECIAL] = -1
    tree.now[AT_BLOCK] = -1


@helper
def push(tree: Tree, name: int, code: int, flags: int) -> None:
    """Open an element."""
    now = tree.now
    top = now[TOP]
    element = tree.stack[top]
    element[NAME] = name
    element[CODE] = code
    element[FLAGS] = flags
    element[BEFORE] = tree.last[code]
    element[OLD_BARRIER] = now[AT_BARRIER]
    element[OLD_SPECIAL] = now[AT_SPECIAL]
    element[OLD_BLOCK] = now[AT_BLOCK]
    element[OLD_MARK] = now[MARK]
    now[SERIALS] += 1
    element[SERIAL] = now[SERIALS]
    element[ALIVE] = 1
    tree.last[code] = top
    if flags & BARRIER:
        now[AT_BARRIER] = top
    if flags & SPECIAL:
        now[AT_SPECIAL] = top
    if flags & BLOCK:
        now[AT_BLOCK] = top
    if flags & MARKER:
        now[MARK] = now[LISTED]
    now[TOP] = top + 1
    now[OPEN] += 1


@helper
def pop_to(tree: Tree, place: int) -> None:
    """Close elements down to this place of the stack."""
    now = tree.now
    while now[TOP] > place:
        now[TOP] -= 1
        element = tree.stack[now[TOP]]
        tree.last[element[CODE]] = element[BEFORE]
        now[AT_BARRIER] = element[OLD_BARRIER]
        now[AT_SPECIAL] = element[OLD_SPECIAL]
        now[AT_BLOCK] = element[OLD_BLOCK]
        now[OPEN] -= element[ALIVE]
        if element[FLAGS] & MARKER:
            now[LISTED] = min(now[LISTED], now[MARK])
            now[MARK] = element[OLD_MARK]


@helper
def is_open(tree: Tree, entry: int) -> bool:
    """Whether an active formatting element is on the stack."""
    place = tree.active[entry, PLACE]
    if place >= tree.now[TOP]:
        return False
    element = tree.stack[place]
    same: bool = element[SERIAL] == tree.active[entry, ENTRY_SERIAL] and element[ALIVE] == 1
    return same


@helper
def reopen(tree: Tree, measured: Positions) -> None:
    """Open the active formatting elements again that a closed block had taken with it."""
    now = tree.now
    entry = now[LISTED] - 1
    while entry >= now[MARK] and not is_open(tree, entry):
        entry -= 1
    for lost in range(entry + 1, now[LISTED]):
        fields = tree.active[lost]
        fields[PLACE] = now[TOP]
        push(tree, fields[ENTRY_NAME], fields[ENTRY_CODE], fields[ENTRY_FLAGS])
        fields[ENTRY_SERIAL] = now[SERIALS]
        measured[REOPENED] += 1


@helper
def place_of(tree: Tree, name: int, code: int) -> int:
    """Where this element was opened last and is still open, or -1."""
    place: int = tree.last[code]
    while place >= 0 and not tree.stack[place, ALIVE]:
        place = tree.stack[place, BEFORE]
    tree.last[code] = place
    shared = code >= KNOWN_CODES or code == INTEGRATION
    if place >= 0 and shared and tree.stack[place, NAME] != name:
        return -1
    return place


@helper
def take_out(tree: Tree, place: int) -> None:
    """Close one element and leave those inside it open."""
    tree.stack[place, ALIVE] = 0
    tree.now[OPEN] -= 1


@helper
def unlist(tree: Tree, entry: int) -> None:
    """Take an entry out of the list of active formatting elements."""
    now = tree.now
    for later in range(entry, now[LISTED] - 1):
        for field in range(ENTRY_FIELDS):
            tree.active[later, field] = tree.active[later + 1, field]
    now[LISTED] -= 1


@helper
def listed(tree: Tree, name: int) -> int:
    """The newest entry of this name in the list of active formatting elements, or -1."""
    entry: int = tree.now[LISTED] - 1
    while entry >= tree.now[MARK]:
        if tree.active[entry, 0] == name:
            return entry
        entry -= 1
    return -1


@helper
def activate(tree: Tree, name: int, code: int, flags: int, whole_tag: int) -> None:
    """Open and list a formatting element; of equal ones the standard lists three."""
    now = tree.now
    equal = 0
    earliest = -1
    for entry in range(now[LISTED] - 1, now[MARK] - 1, -1):
        if tree.active[entry, ENTRY_NAME] == name and tree.active[entry, WHOLE_TAG] == whole_tag:
            equal += 1
            earliest = entry
    if equal >= 3:
        unlist(tree, earliest)
    if now[LISTED] < len(tree.active):
        fields = tree.active[now[LISTED]]
        fields[ENTRY_NAME] = name
        fields[WHOLE_TAG] = whole_tag
        fields[ENTRY_CODE] = code
        fields[ENTRY_FLAGS] = flags
        fields[PLACE] = now[TOP]
        fields[ENTRY_SERIAL] = now[SERIALS] + 1
        now[LISTED] += 1
    push(tree, name, code, flags)


@helper
def close_formatting(tree: Tree, name: int) -> bool:
    """`</b>`, as the standard's adoption agency has it; False if none is listed."""
    entry = listed(tree, name)
    if entry < 0:
        return False
    now = tree.now
    place = tree.active[entry, PLACE]
    was_open = is_open(tree, entry)
    if was_open and place < now[AT_BARRIER]:
        return True
    unlist(tree, entry)
    if was_open and now[AT_SPECIAL] > place:
        take_out(tree, place)
    elif was_open:
        pop_to(tree, place)
    return True


@helper
def is_foreign(tree: Tree) -> bool:
    """Whether the parser is inside <svg> or <math>."""
    inside: bool = tree.last[FOREIGN] > tree.last[INTEGRATION]
    return inside


@helper
def start_foreign(tree: Tree, name: int, code: int, flags: int) -> bool:
    """A start tag inside <svg> or <math>; True if it is dealt with."""
    if flags & BREAKOUT:
        while is_foreign(tree):
            pop_to(tree, tree.last[FOREIGN])
        return False
    if tree.now[SLASH]:
        return True
    if code in (TITLE, INTEGRATION):
        push(tree, name, INTEGRATION, SPECIAL_BLOCK | BARRIER)
    elif code == FOREIGN:
        push(tree, name, FOREIGN, 0)
    else:
        push(tree, name, hashed_code(name), 0)
    return True


@helper
def hashed_code(name: int) -> int:
    """The code that an element without a rule of its own shares with a few others."""
    return KNOWN_CODES + name % (CODES - KNOWN_CODES)


@helper
def start_in_table(tree: Tree, code: int) -> bool:
    """A row or a cell ends those before it; outside of a table it is nothing."""
    table = tree.last[TABLE]
    if table < 0:
        return False
    outermost = TFOOT if code > ROW else (ROW if code == ROW else CAPTION)
    for level in range(outermost, OTHER, -1):
        if tree.last[level] > table:
            pop_to(tree, tree.last[level])
            break
    return True


@helper
def imply_ends(tree: Tree, name: int, code: int) -> bool:
    """Close what this start tag closes; False if the tag itself is ignored."""
    if code in (ITEM, BUTTON):
        close_at(tree, tree.last[code], tree.now[AT_BLOCK])
    elif code in (DT, DD):
        close_at(tree, max(tree.last[DT], tree.last[DD]), tree.now[AT_BLOCK])
    elif code == HEADING:
        close_at(tree, tree.last[code], tree.now[TOP] - 1)
    elif code in (OPTION, OPTGROUP):
        close_at(tree, tree.last[OPTION], tree.now[TOP] - 1)
    elif code in (ANCHOR, NOBR):
        close_formatting(tree, name)
    elif code == FORM:
        ignored: bool = place_of(tree, name, code) >= 0
        return not ignored
    return True


@helper
def close_at(tree: Tree, place: int, expected: int) -> None:
    """Close an element and what it holds if it stands where it is expected."""
    if place >= 0 and place == expected:
        pop_to(tree, place)


@helper
def start(tree: Tree, name: int, row: int, whole_tag: int, measured: Positions) -> None:
    """What a start tag does to the tree."""
    code = _ELEMENTS[row, 1] if row >= 0 else OTHER
    flags = _ELEMENTS[row, 2] if row >= 0 else 0
    if is_foreign(tree) and start_foreign(tree, name, code, flags):
        return
    if code == INTEGRATION:  # outside of <svg> and <math> it is an element like any other
        code = OTHER
        flags = 0
    if flags & CLOSES_P and tree.last[PARAGRAPH] > tree.now[AT_BARRIER]:
        pop_to(tree, tree.last[PARAGRAPH])
    if not has_place(tree, name, code):
        return
    if not flags & SPECIAL or flags & (BARRIER | CLOSES_P | BREAKOUT) == BARRIER:
        reopen(tree, measured)
    if flags & (VOID | RAW) or (code == FOREIGN and tree.now[SLASH]):
        return
    if flags & ACTIVE:
        activate(tree, name, code if code else hashed_code(name), flags, whole_tag)
    else:
        push(tree, name, code if code else hashed_code(name), flags)


@helper
def has_place(tree: Tree, name: int, code: int) -> bool:
    """Close what a start tag closes; False if the tag itself is ignored."""
    if TD <= code <= TFOOT:
        placed: bool = start_in_table(tree, code)
    else:
        placed = imply_ends(tree, name, code)
    return placed


@helper
def floor_of(tree: Tree, code: int, flags: int) -> int:
    """How far down the stack an end tag reaches."""
    floor: int = tree.now[AT_BARRIER] if flags & SPECIAL else tree.now[AT_SPECIAL]
    if TD <= code <= TFOOT:
        floor = tree.last[TABLE]
    elif code == TABLE or (code == FOREIGN and is_foreign(tree)):
        floor = -1
    elif code == ITEM:
        floor = max(floor, tree.last[UL], tree.last[OL])
    return floor


@helper
def end_tag(tree: Tree, name: int, code: int, flags: int) -> None:
    """What an end tag does to the tree."""
    if code in (TITLE, INTEGRATION):
        place = max(place_of(tree, name, INTEGRATION), place_of(tree, name, hashed_code(name)))
        if place >= max(tree.now[AT_SPECIAL], 0):
            pop_to(tree, place)
        return
    if is_foreign(tree) and code != FOREIGN:
        place = place_of(tree, name, hashed_code(name))
        if place > tree.last[FOREIGN]:
            pop_to(tree, place)
            return
    if flags & ACTIVE and close_formatting(tree, name):
        return
    place = place_of(tree, name, code if code else hashed_code(name))
    if place < 0 or place < floor_of(tree, code, flags):
        return
    if code == FORM:
        take_out(tree, place)
    else:
        pop_to(tree, place)


@helper
def is_space(byte: int) -> bool:
    """White space, as HTML has it."""
    return byte == 32 or (9 <= byte <= 13 and byte != 11)


@helper
def is_letter(byte: int) -> bool:
    """An ASCII letter."""
    return 97 <= (byte | 32) <= 122


@helper
def value_end(data: Bytes, here: int, end: int) -> int:
    """Past the attribute value that begins here, after its equals sign."""
    while here < end and is_space(data[here]):
        here += 1
    if here < end and (data[here] == 34 or data[here] == 39):
        quote = data[here]
        here += 1
        while here < end and data[here] != quote:
            here += 1
        return here + 1
    while here < end and data[here] != 62 and not is_space(data[here]):
        here += 1
    return here


@helper
def attribute_end(data: Bytes, here: int, end: int) -> int:
    """Past the attribute that begins here, its value included."""
    here += 1
    while here < end:
        byte = data[here]
        if byte == 61 or byte == 62 or byte == 47 or is_space(byte):
            break
        here += 1
    while here < end and is_space(data[here]):
        here += 1
    if here < end and data[here] == 61:
        here = value_end(data, here + 1, end)
    return here


@helper
def tag_end(data: Bytes, here: int, end: int, now: Positions) -> int:
    """Past the `>` of a tag; leaves in `now` its attributes and whether it ended in `/>`."""
    now[COUNT] = 0
    now[SLASH] = 0
    while here < end and data[here] != 62:
        if data[here] == 47 or is_space(data[here]):
            now[SLASH] = data[here] == 47
            here += 1
        else:
            now[SLASH] = 0
            now[COUNT] += 1
            here = attribute_end(data, here, end)
    return here + 1


@helper
def after_two(data: Bytes, here: int, end: int, byte: int) -> int:
    """The place after the next two of this byte, or the end."""
    while here < end - 1:
        if data[here] == byte and data[here + 1] == byte:
            return here + 2
        here += 1
    return end


@helper
def declaration_end(data: Bytes, here: int, end: int, foreign: bool) -> int:
    """Past a comment, a CDATA section in foreign content, or what is read as a comment."""
    past: int
    if here + 3 < end and data[here + 1] == 33:
        if data[here + 2] == 45 and data[here + 3] == 45:
            past = comment_end(data, here + 4, end)
            return past
        if foreign and data[here + 2] == 91 and data[here + 3] == 67:
            past = cdata_end(data, here + 9, end)
            return past
    while here < end and data[here] != 62:
        here += 1
    return here + 1


@helper
def cdata_end(data: Bytes, here: int, end: int) -> int:
    """Past `]]>`."""
    while here < end:
        here = after_two(data, here, end, 93)
        if here < end and data[here] == 62:
            return here + 1
        if here < end:
            here -= 1
    return end


@helper
def comment_end(data: Bytes, here: int, end: int) -> int:
    """Past `-->` or `--!>`; `<!-->` and `<!--->` are whole comments."""
    if here < end and data[here] == 62:
        return here + 1
    if here + 1 < end and data[here] == 45 and data[here + 1] == 62:
        return here + 2
    while here < end:
        here = after_two(data, here, end, 45)
        if here < end and data[here] == 62:
            return here + 1
        if here + 1 < end and data[here] == 33 and data[here + 1] == 62:
            return here + 2
        if here < end:
            here -= 1
    return end


@helper
def element_of(name: int) -> int:
    """The row of a known element, or -1."""
    slot = name % _SLOTS
    while _ELEMENTS[slot, 0] >= 0:
        if _ELEMENTS[slot, 0] == name:
            return slot
        slot = (slot + 1) % _SLOTS
    return -1


@helper
def hashed(data: Bytes, here: int, end: int) -> tuple[int, int]:
    """The hash of the name that begins here, lower-cased, and where it ends."""
    name: Any = 0
    while here < end:
        byte: Any = np.int64(data[here])
        if byte == 62 or byte == 47 or is_space(byte):
            break
        if 65 <= byte <= 90:
            byte += 32
        name = (name * 31 + byte) & _MASK
        here += 1
    return name, here


@helper
def raw_end(data: Bytes, here: int, end: int, name: int) -> int:
    """Where the end tag of this raw text element begins."""
    while here < end:
        if data[here] == 60 and here + 1 < end and data[here + 1] == 47:
            found, _ = hashed(data, here + 2, end) if is_close(data, here + 2, end) else (0, here)
            if found == name:
                return here
        here += 1
    return end


@helper
def is_close(data: Bytes, here: int, end: int) -> bool:
    """Whether a name of raw text length ends soon, so that no search is long."""
    for ahead in range(here, min(here + 10, end)):
        byte = data[ahead]
        if byte == 62 or byte == 47 or is_space(byte):
            return True
    return False


@helper
def bytes_hash(data: Bytes, here: int, end: int) -> int:
    """The hash of these bytes."""
    total: Any = 0
    for place in range(here, end):
        total = (total * 31 + np.int64(data[place])) & _MASK
    whole: int = total
    return whole


@helper
def read_tag(data: Bytes, here: int, end: int, tree: Tree, measured: Positions) -> int:
    """Past the tag that begins here, and past the raw text that it opens."""
    closing = data[here + 1] == 47
    begin = here
    name, here = hashed(data, here + 1 + closing, end)
    here = min(tag_end(data, here, end, tree.now), end)
    row = element_of(name)
    code = _ELEMENTS[row, 1] if row >= 0 else OTHER
    flags = _ELEMENTS[row, 2] if row >= 0 else 0
    if closing:
        end_tag(tree, name, code, flags)
        return here
    measured[ATTRIBUTES] = max(measured[ATTRIBUTES], tree.now[COUNT])
    foreign = is_foreign(tree)
    whole_tag = bytes_hash(data, begin, here) if flags & ACTIVE else 0
    start(tree, name, row, whole_tag, measured)
    measured[DEPTH] = max(measured[DEPTH], tree.now[OPEN])
    measured[FORMATTING] = max(measured[FORMATTING], tree.now[LISTED])
    if flags & RAW and not foreign:
        here = end if code == PLAINTEXT else raw_end(data, here, end, name)
    return here


@helper
def text_end(data: Bytes, here: int, end: int, measured: Positions) -> tuple[int, bool]:
    """The next `<`; counts what is visible on the way."""
    visible = 0
    while here < end and data[here] != 60:
        visible += data[here] > 32
        here += 1
    measured[VISIBLE] += visible
    return here, visible > 0


@helper
def is_beyond(tree: Tree, measured: Positions, limits: Positions) -> bool:
    """Whether a limit is broken, so that the rest of the page does not matter."""
    if tree.now[TOP] + 1 >= len(tree.stack):
        measured[DEPTH] = limits[DEPTH] + 1
    beyond = False
    for measure in range(DEPTH, REOPENED + 1):
        beyond = beyond or measured[measure] > limits[measure]
    return beyond


@helper
def scan_page(page: Bytes, tree: Tree, limits: Positions, measured: Positions) -> None:
    """Measure one page; stop where a limit is broken."""
    clear(tree)
    here = 0
    end = len(page)
    while here < end:
        here, visible = text_end(page, here, end, measured)
        if here + 1 >= end:
            break
        if visible and tree.now[LISTED] > 0:
            reopen(tree, measured)
        after = page[here + 1]
        if is_letter(after) or (after == 47 and here + 2 < end and is_letter(page[here + 2])):
            here = read_tag(page, here, end, tree, measured)
            if is_beyond(tree, measured, limits):
                break
        elif after == 33 or after == 63 or after == 47:
            here = declaration_end(page, here, end, is_foreign(tree))
        else:
            here += 1


@helper
def sequence_length(page: Bytes, here: int) -> int:
    """Bytes of the UTF-8 character that begins here, or minus those that one U+FFFD replaces."""
    lead = page[here]
    if lead < 0xC2 or lead > 0xF4:
        return -1
    size: int = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    low = 0xA0 if lead == 0xE0 else (0x90 if lead == 0xF0 else 0x80)
    high = 0x9F if lead == 0xED else (0x8F if lead == 0xF4 else 0xBF)
    for place in range(1, size):
        if here + place >= len(page) or not low <= page[here + place] <= high:
            return -place
        low = 0x80
        high = 0xBF
    return size


@helper
def count_utf8(page: Bytes, measured: Positions) -> None:
    """Count the characters beyond ASCII, and the sequences that are none."""
    here = 0
    while here < len(page):
        # 32 bytes at a time are compared at once by the processor; most pages are mostly ASCII.
        if here + 32 <= len(page):
            beyond = 0
            for place in range(here, here + 32):
                beyond |= page[place]
            if beyond < 128:
                here += 32
                continue
        stop = min(here + 32, len(page))
        while here < stop:
            size = 1 if page[here] < 128 else sequence_length(page, here)
            measured[VALID] += size > 1
            measured[BROKEN] += size < 0
            here += abs(size)


@helper
def scan_all(
    data: Bytes, offsets: Offsets, kinds: Bytes, limits: Positions, tree: Tree
) -> Positions:
    """Measure every row by its kind."""
    measured = np.zeros((len(kinds), MEASURES), np.int64)
    for row in range(len(kinds)):
        page = data[offsets[row] : offsets[row + 1]]
        if kinds[row] != SKIP:
            count_utf8(page, measured[row])
        if kinds[row] == HTML:
            scan_page(page, tree, limits, measured[row])
    return measured


def scan(pages: View, kinds: Bytes, limits: Positions) -> Positions:
    """One row of measures per page; `limits` are the bounds of DEPTH to REOPENED, in this order."""
    tree = new_tree(int(limits[DEPTH]), int(limits[FORMATTING]))
    measured: Positions = scan_all(pages.data, pages.offsets, kinds, limits, tree)
    return measured

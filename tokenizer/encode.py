"""From text to tokens and back, a batch of Arrow rows at a time."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.column import Offsets, Positions, View, view
from curate.errors import InputError, ModelError
from tokenizer.bpe import letters_of, merge_tables, scratch_space
from tokenizer.pretokenize import ends_within, splitter
from tokenizer.side_by_side import empty_lanes
from tokenizer.special import Preparation, joined
from tokenizer.vocabulary import Vocabulary
from tokenizer.word_cache import empty_cache, encode_block, token_table

Tokens = NDArray[np.uint32]

# What a column of texts may be of; an empty list, or one of nulls, has no type.
BYTE_KINDS = (pa.binary(), pa.large_binary(), pa.binary_view())
TEXT_KINDS = (pa.string(), pa.large_string(), pa.string_view(), *BYTE_KINDS, pa.null())
# Slots of the cache, 32 bytes each: 16 MB, of which common words use what fits a core's own.
SLOTS = 1 << 19
# Room for so many times the tokens that are expected: no more than what is used is ever touched.
ROOM = 1.1
# Kernels write up to so many tokens past the end.
SPARE = 32


class Encoder:
    """A vocabulary at work. What the cache remembers changes the speed, never a token.

    Not to be shared by threads: each takes an encoder of its own.
    """

    def __init__(self, vocabulary: Vocabulary, slots: int = SLOTS) -> None:
        self.vocabulary = vocabulary
        self.machine = splitter(vocabulary.pattern)
        self.scratch = scratch_space()
        self.lanes = empty_lanes()
        self.density = 1 / 3  # tokens for a byte of the last texts, with some to spare
        merges = merge_tables(vocabulary.merges, letters_of(vocabulary.tokens))
        self.model = (merges, token_table({}))
        if vocabulary.whole:
            self.cache = empty_cache(2)
            self.model = (merges, token_table(self.unreachable()))
        self.cache = empty_cache(max(slots, 2))
        # Of the pieces that 40 MB of English bring for the first time, a fifth are tokens: known
        # from the start (.05 s for cl100k), they are not merged in the midst of the text.
        rows = view(pa.array([token for token in vocabulary.tokens if token], pa.binary()))
        self.merged(rows, [rows.offsets[1:].copy()])
        spelled_all = vocabulary.spelled
        self.spelling = np.frombuffer(b"".join(spelled_all), np.uint8)
        self.starts = np.cumsum([0, *map(len, spelled_all)])
        self.preparations: dict[frozenset[str], Preparation] = {}

    def unreachable(self) -> dict[int, bytes]:
        """Tokens that merges do not make of their own bytes."""
        tokens = {i: token for i, token in enumerate(self.vocabulary.tokens) if token}
        rows = view(pa.array(tokens.values(), pa.binary()))
        made, ends = self.merged(rows, [rows.offsets[1:]])
        alone = np.zeros(len(tokens), np.bool_)
        alone[np.diff(ends) == 1] = True
        alone &= made[ends[:-1]] == np.array([*tokens], np.uint32)
        return {
            i: token for (i, token), known in zip(tokens.items(), alone, strict=True) if not known
        }

    def encode(
        self,
        texts: pa.Array | pa.ChunkedArray | Sequence[str | bytes],
        specials: Iterable[str] = (),
    ) -> tuple[Tokens, Positions]:
        """The tokens of all rows, and where each row's begin and the last one's end.

        Names of special tokens in the text are text, but for those named in `specials`.
        """
        wanted = frozenset([specials] if isinstance(specials, str) else specials)
        if isinstance(texts, pa.ChunkedArray):
            chunks = texts.chunks or [pa.array([], texts.type)]
            return behind_each_other([self.encode(chunk, wanted) for chunk in chunks])
        texts = column_of(texts)
        if texts.null_count:
            # A null may have bytes beneath it; it has no text.
            texts = pc.fill_null(texts, pa.scalar("", texts.type))
        if wanted not in self.preparations:
            self.preparations[wanted] = self.vocabulary.preparation(wanted)
        parts, items = self.preparations[wanted](texts)
        rows = view(parts)
        tokens, ends = self.merged(rows, ends_within(rows, self.machine))
        self.density = ROOM * len(tokens) / max(int(rows.offsets[-1] - rows.offsets[0]), 1)
        return joined(tokens, ends, items, len(texts)) if items else (tokens, ends)

    def merged(self, rows: View, blocks: Iterable[Offsets]) -> tuple[Tokens, Positions]:
        """The tokens of rows that are cut into pieces: `blocks` says where these end."""
        ends = np.zeros(len(rows.offsets), np.int64)
        first, last = int(rows.offsets[0]), int(rows.offsets[-1])
        out = np.empty(int((last - first) * self.density) + SPARE, np.uint32)
        begin, position, row = first, 0, 0
        for block in blocks:
            # Never more tokens than bytes.
            most = int(block[-1]) - begin
            if position + most + SPARE > len(out):
                density = ROOM * position / max(begin - first, 1)
                more = max(most, int(density * (last - begin))) + SPARE
                out = np.concatenate([out[:position], np.empty(more, np.uint32)])
            work = (self.cache, out, ends, self.scratch, self.lanes)
            place = (row, begin, position)
            position, row = encode_block(tuple(rows), place, block, self.model, work)
            begin = int(block[-1])
        ends[row + 1 :] = position
        return out[:position], ends

    def decode(self, tokens: Tokens | Sequence[int]) -> bytes:
        """The bytes of these tokens, special ones by their names."""
        numbers = np.asarray(tokens, np.int64)
        last = len(self.starts) - 2
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= last:
            wrong = numbers.min() if numbers.min() < 0 else numbers.max()
            raise ModelError(f"token {wrong} is not in 0 to {last}")
        lengths = self.starts[numbers + 1] - self.starts[numbers]
        ends = np.cumsum(lengths)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return bytes(self.spelling[np.repeat(self.starts[numbers], lengths) + within].tobytes())


def behind_each_other(encoded: list[tuple[Tokens, Positions]]) -> tuple[Tokens, Positions]:
    """The tokens of several columns as those of one."""
    before = np.cumsum([0, *(len(tokens) for tokens, _ in encoded)])
    ends = [ends[1:] + start for (_, ends), start in zip(encoded, before, strict=False)]
    first = np.zeros(1, np.int64)
    return np.concatenate([tokens for tokens, _ in encoded]), np.concatenate([first, *ends])


def column_of(texts: pa.Array | Sequence[str | bytes]) -> pa.Array:
    """Texts as strings or bytes of Arrow; what is no text is refused."""
    if isinstance(texts, str | bytes):
        raise InputError("encode takes a column of texts and was given one text; pass [text]")
    try:
        column = texts if isinstance(texts, pa.Array) else pa.array(texts)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"encode takes a column of Arrow strings, or a list of str or of bytes: {error}"
        ) from error
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind not in TEXT_KINDS:
        raise InputError(
            f"encode takes texts and was given a column of {kind}; pass strings, as "
            "column.cast(pa.string()) makes them"
        )
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.binary() if kind in BYTE_KINDS else pa.string())
    except pa.ArrowException as error:
        raise InputError(f"encode takes 2 GB at once; pass a part of it: {error}") from error

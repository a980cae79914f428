"""From text to tokens and back, a batch of Arrow rows at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Positions, view
from curate.errors import ModelError
from tokenizer.bpe import (
    KEPT_BYTES,
    KEPT_TOKENS,
    empty_tables,
    encode_block,
    enter_merges,
    enter_tokens,
    scratch_space,
)
from tokenizer.pretokenize import ends_within, pieces_within, splitter
from tokenizer.vocabulary import Vocabulary, letters_of

Tokens = NDArray[np.uint32]

# Slots of the cache, 32 bytes each: 8 MB, of which common words use what fits a core's own.
SLOTS = 1 << 18
# Kernels write up to so many tokens past the end.
SPARE = 32


class Encoder:
    """A vocabulary at work. What the cache remembers changes the speed, never a token.

    Not to be shared by threads: each takes an encoder of its own.
    """

    def __init__(self, vocabulary: Vocabulary, slots: int = SLOTS) -> None:
        self.vocabulary = vocabulary
        self.machine = splitter(vocabulary.pattern)
        letters, merges = letters_of(vocabulary.tokens), empty_tables(len(vocabulary.merges))
        enter_merges(vocabulary.merges, letters, merges)
        self.model = (letters, merges, token_table(vocabulary))
        self.scratch = scratch_space()
        # The slots, further tokens of pieces that have more than three, the bytes of long pieces.
        # What no piece needs is not touched, and takes no memory.
        self.cache = (
            aligned(np.zeros(4 * slots + 8, np.uint64)),
            np.zeros((slots, KEPT_TOKENS - 3), np.uint32),
            np.zeros((slots, KEPT_BYTES), np.uint8),
        )
        spelled_all = vocabulary.spelled
        self.spelling = np.frombuffer(b"".join(spelled_all), np.uint8)
        self.starts = np.cumsum([0, *map(len, spelled_all)])

    def encode(self, texts: pa.Array) -> tuple[Tokens, Positions]:
        """The tokens of all rows, and where each row's begin and the last one's end.

        Names of special tokens in the text are text.
        """
        if self.vocabulary.normalization:
            texts = pc.utf8_normalize(texts.cast(pa.string()), form=self.vocabulary.normalization)
        rows = view(texts)
        count = len(rows.offsets) - 1
        ends = np.zeros(count + 1, np.int64)
        out = np.empty(int(rows.offsets[-1] - rows.offsets[0]) // 3 + SPARE, np.uint32)
        begin, position, row = int(rows.offsets[0]), 0, 0
        for block in ends_within(rows, self.machine):
            # Never more tokens than bytes.
            if position + int(block[-1]) - begin + SPARE > len(out):
                more = np.empty(len(out) + int(block[-1]) - begin, np.uint32)
                out = np.concatenate([out[:position], more])
            work = (self.cache, out, ends, self.scratch)
            place = (row, begin, position)
            position, row = encode_block(tuple(rows), place, block, self.model, work)
            begin = int(block[-1])
        ends[row + 1 :] = position
        return out[:position], ends

    def decode(self, tokens: Tokens) -> bytes:
        """The bytes of these tokens, special ones by their names."""
        numbers = np.asarray(tokens, np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.starts) - 1:
            raise ModelError(f"token {numbers.max()} is not below {len(self.starts) - 1}")
        lengths = self.starts[numbers + 1] - self.starts[numbers]
        ends = np.cumsum(lengths)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return bytes(self.spelling[np.repeat(self.starts[numbers], lengths) + within].tobytes())


def aligned(words: Hashes) -> Hashes:
    """The same memory from the first multiple of 64 bytes on, less 8 words in all."""
    skip = -words.ctypes.data % 64 // 8
    return words[skip : len(words) - 8 + skip]


def token_table(vocabulary: Vocabulary) -> tuple[Bytes, Hashes, Positions, Hashes]:
    """Tokens by their bytes, hashed: empty unless a piece that is a token needs no merges."""
    tokens = vocabulary.tokens if vocabulary.whole else ()
    numbers = np.array([i for i, token in enumerate(tokens) if token], np.int64)
    rows = view(pa.array([token for token in tokens if token], pa.binary()))
    pieces = pieces_within(rows)
    slots = np.zeros(1 << max(4, int(2 * len(numbers)).bit_length()), np.uint64)
    enter_tokens(pieces, slots)
    return rows.data, pieces, numbers, slots

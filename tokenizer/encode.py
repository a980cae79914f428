"""From text to tokens and back, a batch of Arrow rows at a time."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.column import Bytes, Hashes, Positions, View, view
from curate.errors import ModelError
from tokenizer.bpe import KEPT_BYTES, SHORT, encode_block, enter_tokens
from tokenizer.pretokenize import lengths_of, pieces_of, pieces_within, splitter
from tokenizer.special import Preparation, joined
from tokenizer.tables import letters_of, merge_table
from tokenizer.vocabulary import Vocabulary

Tokens = NDArray[np.uint32]

# Slots of the cache, 192 bytes each: 12 MB, of which common words use what fits a core's own.
SLOTS = 1 << 16
# Kernels write up to so many tokens past the end.
SPARE = 32


class Encoder:
    """A vocabulary at work. What the cache remembers changes the speed, never a token.

    Not to be shared by threads: each takes an encoder of its own.
    """

    def __init__(self, vocabulary: Vocabulary, slots: int = SLOTS) -> None:
        self.vocabulary = vocabulary
        self.machine = splitter(vocabulary.pattern)
        merges = merge_table(vocabulary.merges)
        self.model = (letters_of(vocabulary.tokens), merges, token_table(vocabulary))
        # The same slots seen as words and as halves of words, and the bytes of long pieces.
        self.slots = aligned(np.zeros(16 * slots + 8, np.uint64)).reshape(slots, 16)
        self.spellings = np.zeros((slots, KEPT_BYTES), np.uint8)
        spelled_all = vocabulary.spelled
        self.spelling = np.frombuffer(b"".join(spelled_all), np.uint8)
        self.starts = np.cumsum([0, *map(len, spelled_all)])
        self.preparations: dict[frozenset[str], Preparation] = {}

    def encode(self, texts: pa.Array, specials: Iterable[str] = ()) -> tuple[Tokens, Positions]:
        """The tokens of all rows, and where each row's begin and the last one's end.

        Names of special tokens in the text are text, but for those named in `specials`.
        """
        wanted = frozenset(specials)
        if wanted not in self.preparations:
            self.preparations[wanted] = self.vocabulary.preparation(wanted)
        parts, items = self.preparations[wanted](texts)
        tokens, ends = self.encode_rows(view(parts))
        return joined(tokens, ends, items, len(texts)) if items else (tokens, ends)

    def encode_rows(self, rows: View) -> tuple[Tokens, Positions]:
        """The same for texts in which there is nothing to look for."""
        count = len(rows.offsets) - 1
        ends = np.zeros(count + 1, np.int64)
        values = np.empty(SHORT, np.uint64)
        out = np.empty(int(rows.offsets[-1] - rows.offsets[0]) // 3 + SPARE, np.uint32)
        cache = (self.slots, self.slots.view(np.uint32), self.spellings)
        position = row = 0
        for pieces in pieces_of(rows, self.machine):
            # Never more tokens than bytes.
            need = position + int(lengths_of(pieces).sum()) + SPARE
            if need > len(out):
                out = np.concatenate([out[:position], np.empty(need, np.uint32)])
            state = (out, ends, position, row, values)
            position, row = encode_block(tuple(rows), pieces, self.model, cache, state)
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


def token_table(vocabulary: Vocabulary) -> tuple[Bytes, Hashes]:
    """Tokens by their bytes, hashed: empty unless a piece that is a token needs no merges."""
    tokens = vocabulary.tokens if vocabulary.whole else ()
    numbers = np.array([i for i, token in enumerate(tokens) if token], np.int64)
    spelled = [token for token in tokens if token]
    rows = view(pa.array(spelled, pa.binary()))
    slots = np.zeros((1 << max(4, int(2 * len(spelled)).bit_length()), 4), np.uint64)
    enter_tokens(pieces_within(rows), numbers, slots)
    return rows.data, slots

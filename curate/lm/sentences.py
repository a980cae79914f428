"""From texts to sentences whose words spaces part: the same before training and scoring."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece

from curate.column import Positions
from curate.errors import ModelError
from curate.lm.normalize import known, normalized
from tokenizer import vocabulary
from tokenizer.encode import Encoder

Tokenize = Callable[[pa.Array], pa.Array]


@dataclass(frozen=True)
class Wording:
    """How a text becomes sentences of words."""

    tokenizer: str = ""  # "": what white space parts; or a SentencePiece .model, a tokenizer.json
    normalize: str = "none"  # curate/lm/normalize.py: ccnet, roots
    lines: bool = False  # whether each line is a sentence, or the whole text is one

    def __post_init__(self) -> None:
        known(self.normalize)


class Sentences:
    """A wording at work."""

    def __init__(self, wording: Wording, tokenizer: Path | None) -> None:
        self._wording = wording
        self._tokenize = tokenize(tokenizer)

    def __call__(self, texts: pa.Array) -> tuple[pa.Array, Positions]:
        """The sentences of all texts, as bytes, and where each text's begin and the last one's end.

        An empty line is a sentence without words.
        """
        texts = pc.fill_null(texts.cast(pa.binary()), b"")
        ends = np.arange(len(texts) + 1)
        if self._wording.lines:
            parts = pc.split_pattern(texts, b"\n")
            ends = np.concatenate([[0], np.cumsum(pc.list_value_length(parts).to_numpy())])
            texts = parts.flatten()
        return self._tokenize(normalized(texts, self._wording.normalize)), ends


def tokenize(path: Path | None) -> Tokenize:
    """What cuts sentences into words: nothing, SentencePiece, or a byte-level BPE of ours."""
    if path is None:
        return lambda texts: texts
    if path.suffix != ".model":
        return Numbers(path)
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path}: not a SentencePiece model") from error
    return Pieces(pieces)


class Numbers:
    """Tokens of a byte-level BPE, each written as its number: their bytes may hold spaces."""

    def __init__(self, path: Path) -> None:
        self._encoder = Encoder(vocabulary.load(path))

    def __call__(self, texts: pa.Array) -> pa.Array:
        tokens, ends = self._encoder.encode(texts)
        words = pa.array(tokens).cast(pa.string())
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), words)
        return pc.binary_join(lists, " ").cast(pa.binary())


class Pieces:
    """Pieces of SentencePiece.

    Asked for whole sentences, for it breaks ties by the rounding of sums over a sentence: word by
    word and remembered it was 1.4 times as fast, and cut 13 % of documents otherwise somewhere.
    """

    def __init__(self, model: sentencepiece.SentencePieceProcessor) -> None:
        self._model = model

    def __call__(self, texts: pa.Array) -> pa.Array:
        decoded = [text.decode("utf-8", "replace") for text in texts.to_pylist()]
        cut = self._model.encode(decoded, out_type=str, num_threads=1)
        return pa.array([" ".join(pieces).encode() for pieces in cut], pa.binary())

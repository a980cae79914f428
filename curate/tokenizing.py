"""The tokenizer of a run: loaded and checked before any work begins, written, and told of."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.errors import ModelError
from tokenizer import vocabulary
from tokenizer.encode import Encoder
from tokenizer.pretokenize import slow_parts
from tokenizer.train import DEFAULT_PATTERN, Train
from tokenizer.vocabulary import Vocabulary

# Case, digits, white space, accents, a script without spaces, an emoji, and a name that is text.
PROBE = "It's 2024: naïve words,\n\n  中文字 हिन्दी 👩‍🔬 <|endoftext|>"


def loaded(settings: Train | None) -> Vocabulary | None:
    """The tokenizer that a recipe loads, if it does; refused where it cannot end a document."""
    if settings is None or not settings.load:
        return None
    pattern = "" if settings.pattern == DEFAULT_PATTERN else settings.pattern
    try:
        found = vocabulary.load(Path(settings.load), pattern)
        _ = found.end_of_text
    except ModelError as error:
        told = "" if str(error).startswith(settings.load) else f"{settings.load}: "
        raise ModelError(f"tokenizer.load: {told}{error}") from error
    return found


def remarks(settings: Train | None, loaded: Vocabulary | None) -> list[str]:
    """What to tell of a run's tokenizer before it begins."""
    if settings is None:
        return []
    return [f"tokenizer: {one}" for one in slow_parts((loaded or settings).pattern)]


def save(words: Vocabulary, folder: Path) -> None:
    """Write a tokenizer, and refuse one that its files would not give back as it is."""
    words.save(folder)
    if vocabulary.load(folder).fingerprint() != words.fingerprint():
        raise ModelError(
            "tokenizer.load: this tokenizer has what tokenizer.json cannot say; "
            "`curate tokenizer export` says what that is"
        )


def probe(words: Vocabulary) -> dict[str, Any]:
    """A text and its ids, by which a reader of shards sees that another tokenizer is the same."""
    tokens, _ = Encoder(words).encode(pa.array([PROBE]))
    return {"text": PROBE, "ids": tokens.tolist()}


def facts(words: Vocabulary, settings: Train, said: dict[str, Any] | None) -> dict[str, Any]:
    """What a run tells of its tokenizer; `said` is what training told, or None if it was loaded."""
    return {
        "fingerprint": words.fingerprint(),
        "vocabulary": words.size,
        "end_of_text": words.spelled[words.end_of_text].decode("utf-8", "replace"),
        "end_of_text_id": words.end_of_text,
        "pattern": [*words.patterns],
        "normalization": words.normalization,
        "merges": len(words.merges),
        "special_tokens": len(words.special_tokens),
        "always": sorted(words.always),
        "longest_token": max(map(len, words.tokens)),
        "loaded": Path(settings.load).name if settings.load else None,
        "trained": said,
        "probe": probe(words),
    }

"""Sentences: lines or whole texts, and words as each tokenizer cuts them."""

import pyarrow as pa
import pytest

from curate.errors import RecipeError
from curate.lm.sentences import Sentences, Wording


def sentences(texts: list[str | None], **settings: object):
    found, ends = Sentences(Wording(**settings), None)(pa.array(texts, pa.string()))
    return found.to_pylist(), ends.tolist()


def test_a_text_is_one_sentence_or_its_lines_are():
    texts = ["a b\n\nc\n", "", None, "d"]
    assert sentences(texts) == ([b"a b\n\nc\n", b"", b"", b"d"], [0, 1, 2, 3, 4])
    assert sentences(texts, lines=True) == (
        [b"a b", b"", b"c", b"", b"", b"", b"d"],
        [0, 4, 5, 6, 7],
    )


def test_lines_are_parted_before_they_are_evened_out():
    assert sentences(["A \nÉ"], normalize="ccnet") == ([b"a e"], [0, 1])
    assert sentences(["A \nÉ"], normalize="ccnet", lines=True) == ([b"a", b"e"], [0, 2])


def test_no_texts_have_no_sentences():
    assert sentences([]) == ([], [0])
    assert sentences([], lines=True) == ([], [0])


def test_a_way_must_be_known():
    with pytest.raises(RecipeError, match="ccnet"):
        Wording(normalize="x")

"""BLOOM's criterion: two halves that never mix, and the ratio of tokens on one of them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import InputError
from curate.hashing import hash_word
from tokenizer import criterion
from tokenizer.counting import count_pieces
from tokenizer.criterion import Criterion, compare, half, halves_of, passes
from tokenizer.encode import Encoder
from tokenizer.evaluate import Evaluation
from tokenizer.inputs import Labelled, Labels, labelled_files
from tokenizer.train import Train, train

SENTENCES = {
    "en": "the cat sees a dog and walks home with it every day of the week",
    "de": "die Katze sieht einen Hund und geht mit ihm jeden Tag nach Hause",
}


def texts_of(language, count=60):
    words = SENTENCES[language].split()
    return [
        " ".join(words[(i * 7 + k * (i % 5 + 1)) % len(words)] for k in range(9)) + f" {i}."
        for i in range(count)
    ]


def labelled(*languages):
    return [Labelled(language, pa.array(texts_of(language))) for language in languages]


def trained(texts, vocab_size, pattern="gpt2", **more):
    section = Train(pattern=pattern, vocab_size=vocab_size, **more)
    return train(count_pieces(pa.array(texts), pattern), section)


def judge(named, texts, **settings):
    return compare(Evaluation(named), lambda: texts, Criterion(**settings))


@given(st.lists(st.text(max_size=20), max_size=20))
def test_a_text_s_half_is_the_lowest_bit_of_its_hash(texts):
    found = halves_of(pa.array(texts, pa.string())).tolist()
    assert found == [int(hash_word(text.encode())) & 1 for text in texts]


def test_halves_are_about_equal_and_each_text_is_in_one_of_them():
    texts = Labelled("en", pa.array([f"document {i}" for i in range(2000)]), 3, 4)
    first, second = half(texts, 0), half(texts, 1)
    assert sorted(first.texts.to_pylist() + second.texts.to_pylist()) == sorted(
        texts.texts.to_pylist()
    )
    assert 900 < len(first.texts) < 1100
    # Rows without text are counted once.
    assert (first.nulls, first.invalid, second.nulls, second.invalid) == (0, 0, 3, 4)


def test_the_degradation_is_the_ratio_of_tokens_on_the_half_that_is_held_out():
    english = trained(texts_of("en"), 300)
    found = judge({"english": english}, labelled("de", "en"), vocab_size=290)
    assert [row["language"] for row in found["languages"]] == ["de", "en"]
    for row, one in zip(found["languages"], labelled("de", "en"), strict=True):
        texts = one.texts.to_pylist()
        learnt = [text for text in texts if not int(hash_word(text.encode())) & 1]
        held_out = pa.array([text for text in texts if int(hash_word(text.encode())) & 1])
        alone = trained(learnt, 290, special_tokens=())
        count, mine = (
            len(Encoder(vocabulary).encode(held_out)[0]) for vocabulary in (alone, english)
        )
        assert row["documents"] == len(learnt)
        assert row["bytes"] == sum(map(len, learnt))
        assert row["tokens"] == count
        assert row["degradation"]["english"] == pytest.approx(mine / count - 1)
        assert (row["vocab_size"], row["short"]) == (290, False)
    german, english_row = (row["degradation"]["english"] for row in found["languages"])
    assert english_row <= 0.1 < german
    assert found["passes"] == {"english": False}


def test_a_tokenizer_of_both_languages_passes_where_one_of_one_does_not():
    both = trained(texts_of("en") + texts_of("de"), 400)
    english = trained(texts_of("en"), 400)
    found = judge({"both": both, "english": english}, labelled("de", "en"), vocab_size=300)
    assert found["passes"] == {"both": True, "english": False}


def test_the_bound_is_settable_and_inclusive():
    assert passes([0.1, -0.2], 0.1) is True
    assert passes([0.1, 0.11], 0.1) is False
    assert passes([float("nan"), 0.0], 0.1) is True
    assert passes([float("nan")], 0.1) is None


def test_too_little_text_for_the_vocabulary_is_told():
    found = judge({"english": trained(texts_of("en"), 300)}, labelled("en"), vocab_size=5000)
    assert found["languages"][0]["short"] is True
    assert 256 < found["languages"][0]["vocab_size"] < 5000


def test_a_language_with_one_half_empty_is_undecided():
    learnt = next(text for text in texts_of("en") if not int(hash_word(text.encode())) & 1)
    held_out = next(text for text in texts_of("en") if int(hash_word(text.encode())) & 1)
    english = trained(texts_of("en"), 300)
    alone = [Labelled("a", pa.array([held_out])), Labelled("b", pa.array([learnt]))]
    found = judge({"x": english}, alone)
    assert [row["degradation"]["x"] == row["degradation"]["x"] for row in found["languages"]] == [
        False,
        False,
    ]
    assert found["passes"] == {"x": None}
    with pytest.raises(InputError, match="no text is held out"):
        judge({"x": english}, alone[1:])


def test_neither_batches_nor_blocks_change_anything(monkeypatch):
    named = {"english": trained(texts_of("en"), 300)}
    whole = judge(named, labelled("de", "en"), vocab_size=290)
    monkeypatch.setattr(criterion, "BLOCK_BYTES", 50)
    monkeypatch.setattr(criterion, "PENDING_ROWS", 10)
    parts = [
        Labelled(one.language, one.texts.slice(at, 7))
        for at in range(0, 60, 7)
        for one in labelled("en", "de")
    ]
    assert judge(named, parts, vocab_size=290) == whole


def test_on_real_sentences_a_tokenizer_of_all_languages_is_held_against_each(shared):
    languages = {"eng", "deu", "rus", "hin", "tha", "zho-CN", "arb", "tur"}
    path = shared / "multilingual" / "ntrex.tsv.gz"
    texts = [one for one in labelled_files([path], Labels()) if one.language in languages]
    everything = pa.concat_arrays([one.texts for one in texts])
    ours = train(count_pieces(everything, "gpt2"), Train(vocab_size=4000))
    english = pa.concat_arrays([one.texts for one in texts if one.language == "eng"])
    theirs = train(count_pieces(english, "gpt2"), Train(vocab_size=1000))
    found = judge({"all": ours, "english": theirs}, texts, vocab_size=600)
    assert found["passes"] == {"all": True, "english": False}
    degradation = {row["language"]: row["degradation"]["english"] for row in found["languages"]}
    assert degradation.keys() == languages
    assert degradation["eng"] < 0 < degradation["deu"] < degradation["hin"]

"""Evaluations against answers worked out by hand, a plain twin, and the libraries of others."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import regex
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import InputError
from tests.tokenizer.test_vocabulary import slow_as_python
from tokenizer import evaluate as evaluate_module
from tokenizer.counting import count_pieces
from tokenizer.evaluate import Evaluation, Facts, evaluate, load_named, words_of
from tokenizer.evaluated import Settings, as_json, measures
from tokenizer.inputs import Labelled, Labels, labelled_files
from tokenizer.measures import renyi_efficiency
from tokenizer.train import Train, train
from tokenizer.vocabulary import Vocabulary, load

LANGUAGES = (
    "eng deu fra rus arb heb hin tha jpn zho-CN kor tur fin ell vie swa ben tam kat amh spa urd"
)
TEXT = "the cat and the dog; the theatre's été 42\n\n  and 一二三 the end of שלום и мир\n" * 3


def trained(pattern="gpt2", vocab_size=320, text=TEXT):
    section = Train(pattern=pattern, vocab_size=vocab_size)
    return train(count_pieces(pa.array([text]), pattern), section)


def bytes_and(*tokens, normalization=""):
    """A vocabulary of the bytes and these tokens of two bytes."""
    every = [bytes([i]) for i in range(256)] + [token.encode() for token in tokens]
    merges = [(t[0], t[1], 256 + i) for i, t in enumerate(token.encode() for token in tokens)]
    table = np.array(merges, np.int32).reshape(-1, 3)
    return Vocabulary(
        tuple(every), table, "gpt2", {"<|endoftext|>": len(every)}, normalization=normalization
    )


def judged(vocabulary, texts, settings=None):
    """The JSON of one tokenizer, called a, on texts by language."""
    labelled = [Labelled(language, pa.array(rows, pa.string())) for language, rows in texts.items()]
    return as_json(evaluate({"a": vocabulary}, labelled), settings or Settings(rare_below=2))


def test_the_measures_of_a_small_text_were_worked_out_by_hand():
    # " a", "b!" with the tokens " a" and "bc": [ a][ ][b][!] and so on.
    said = judged(bytes_and(" a", "bc"), {"en": ["a a b!", "bc é"]})
    one = said["tokenizers"][0]["languages"]["en"]
    # a| a| |b|!  and  bc| |Ã|©: 5 + 4 tokens; 6 + 5 bytes; 6 + 4 characters; 3 + 2 words
    assert one["tokens"] == 9
    assert one["bytes_per_token"] == pytest.approx(11 / 9)
    assert one["characters_per_token"] == pytest.approx(10 / 9)
    assert one["tokens_per_character"] == pytest.approx(9 / 10)
    assert one["fertility"] == pytest.approx(9 / 5)
    # "a" 1, " a" 1, " b" 2, "bc" 1, " é" 3
    assert one["word_fertility"] == pytest.approx(8 / 5)
    assert one["kept_whole"] == pytest.approx(3 / 5)
    # a, " a", " " twice, b, !, bc, two bytes of é
    assert (one["used_tokens"], one["unused_tokens"], one["rare_tokens"]) == (8, 250, 7)
    assert one["renyi_efficiency"] == pytest.approx(renyi_efficiency(np.array([2] + [1] * 7), 258))
    assert one["round_trip"] is True
    assert said["languages"] == [
        {
            "language": "en",
            "documents": 2,
            "bytes": 11,
            "characters": 10,
            "words": 5,
            "spaceless": False,
        }
    ]


def test_tokens_are_described_by_length_rank_and_use():
    said = judged(bytes_and(" a", "bc"), {"en": ["a a a b!"]})["tokenizers"][0]
    assert said["lengths"] == [
        {"bytes": 1, "vocabulary": 256, "text": 4},
        {"bytes": 2, "vocabulary": 2, "text": 2},
    ]
    assert said["ranks"] == [{"rank": 1, "count": 2}] + [
        {"rank": rank, "count": 1} for rank in (2, 3, 4, 5)
    ]
    assert said["longest"][:2] == [
        {"id": 256, "text": " a", "bytes": 2, "count": 2},
        {"id": 257, "text": "bc", "bytes": 2, "count": 0},
    ]
    assert [token["text"] for token in said["rarest"]] == [" ", "!", "a", "b", " a"]
    assert said["never_used"][0] == {"id": 257, "text": "bc", "bytes": 2, "count": 0}
    assert said["ordinary_tokens"] == 258
    assert said["vocab_size"] == 259
    assert {"id": 255, "text": "\\xff", "bytes": 1, "count": 0} not in said["longest"]


def test_a_token_that_its_own_text_does_not_give_is_unreachable():
    # GPT-2's pattern cuts "a1" in two, whatever the merges say.
    assert judged(bytes_and("a1", "bc"), {"en": ["x"]})["tokenizers"][0]["unreachable_tokens"] == 1


def twin(vocabulary, texts, folder):
    """The same measures by `tokenizers`, `regex` and plain Python."""
    vocabulary.save(folder)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens, words = Counter(), []
    for text in texts:
        tokens.update(theirs.encode(text, add_special_tokens=False).ids)
        words += regex.findall(r" ?[\p{L}\p{M}\p{N}]+", text)
    lengths = [len(theirs.encode(word, add_special_tokens=False).ids) for word in words]
    total, size = sum(tokens.values()), sum(len(text.encode()) for text in texts)
    return {
        "tokens": total,
        "bytes_per_token": size / total,
        "characters_per_token": sum(map(len, texts)) / total,
        "fertility": total / len(words),
        "word_fertility": sum(lengths) / len(words),
        "kept_whole": sum(length == 1 for length in lengths) / len(words),
        "used_tokens": len(tokens),
        "rare_tokens": sum(count < 2 for count in tokens.values()),
    }


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "o200k"])
def test_a_plain_twin_with_the_libraries_of_others_finds_the_same(pattern, tmp_path):
    texts = [TEXT, "Ganz anderer Text, mit 12345 Zahlen…", "हिन्दी में (एक) वाक्य\tund\r\nmehr  ", ""]
    vocabulary = trained(pattern)
    found = judged(vocabulary, {"xx": texts})["tokenizers"][0]["languages"]["xx"]
    for name, value in twin(vocabulary, texts, tmp_path).items():
        assert found[name] == pytest.approx(value), name


@settings(max_examples=60)
@given(texts=st.lists(st.text(max_size=40), max_size=6), cuts=st.integers(0, 6))
def test_how_texts_are_split_into_batches_changes_nothing(texts, cuts):
    vocabulary = trained()
    whole = judged(vocabulary, {"a": [*texts, "x"]})
    parts = [texts[:cuts], texts[cuts:], ["x"]]
    labelled = [Labelled("a", pa.array(part, pa.string())) for part in parts]
    evaluation = Evaluation({"a": vocabulary})
    for part in labelled:
        evaluation.add(part)
        if cuts % 2 and len(part.texts):
            evaluation._count("a", evaluation.facts["a"])
    assert as_json(evaluation.finish(), Settings(rare_below=2)) == whole


def test_texts_are_counted_as_soon_as_enough_of_them_wait(monkeypatch):
    monkeypatch.setattr(evaluate_module, "BLOCK_BYTES", 8)
    evaluation = Evaluation({"a": trained()})
    evaluation.add(Labelled("en", pa.array(["abc"])))
    assert evaluation.facts["en"].documents == 0
    evaluation.add(Labelled("en", pa.array(["defgh"])))
    assert evaluation.facts["en"].documents == 2
    assert evaluation.facts["en"].waiting == []


def test_words_come_with_the_space_before_them_in_every_script():
    words = words_of(pa.array(["the the, (the) שלום  é e\u0301 नमस्ते x2"]))
    found = dict(zip(words.forms.to_pylist(), words.counts.tolist(), strict=True))
    assert found == {"the": 2, " the": 1, " שלום": 1, " é": 1, " e\u0301": 1, " नमस्ते": 1, " x2": 1}
    assert words.total == 8


@pytest.mark.parametrize(
    ("text", "is_spaceless"),
    [
        ("我们的文字，没有空格。", True),
        ("これはペンです。", True),
        ("ภาษาไทยไม่มีช่องว่าง", True),
        ("한국어에는 띄어쓰기가 있다", False),
        ("đây là tiếng Việt", False),
        ("one two three 漢字", False),
        ("?!", False),
    ],
)
def test_scripts_without_spaces_are_told_by_the_words_themselves(text, is_spaceless):
    said = judged(trained(), {"xx": [text]})
    assert said["languages"][0]["spaceless"] is is_spaceless


def test_a_text_without_words_has_no_fertility_and_an_empty_one_nothing_at_all():
    said = judged(trained(), {"a": ["?! ..."], "b": [""], "c": ["word"]})
    a, b = (said["tokenizers"][0]["languages"][name] for name in "ab")
    assert a["fertility"] is a["kept_whole"] is None
    assert a["bytes_per_token"] > 0
    assert b["tokens"] == 0
    assert b["bytes_per_token"] is b["renyi_efficiency"] is b["tokens_per_character"] is None
    assert b["round_trip"] is True
    json.dumps(said, allow_nan=False)


@pytest.mark.parametrize("texts", [{}, {"en": []}])
def test_no_text_at_all_is_an_error(texts):
    with pytest.raises(InputError, match="no text in the input"):
        judged(trained(), texts)


def test_rows_that_are_no_text_are_told():
    labelled = [Labelled("en", pa.array(["a"]), nulls=2, invalid=3)]
    said = as_json(evaluate({"a": trained()}, labelled), Settings())
    assert said["documents"] == {"judged": 1, "without_text": 2, "not_utf8": 3}


def test_a_tokenizer_that_normalizes_does_not_give_every_document_back():
    texts = {"fr": ["e\u0301te\u0301", "mer", "\u00e9", "e\u0301"]}
    said = judged(bytes_and("me", normalization="NFC"), texts)["tokenizers"][0]["all"]
    assert (said["changed_documents"], said["round_trip"]) == (2, False)
    assert judged(bytes_and("me"), texts)["tokenizers"][0]["all"]["round_trip"] is True


def test_all_is_the_sum_of_the_languages():
    texts = {"en": ["the cat", TEXT], "de": ["die Katze und der Hund"], "zh": ["一二三"]}
    said = judged(trained(), texts)
    together = judged(trained(), {"xx": [row for rows in texts.values() for row in rows]})
    first, second = said["tokenizers"][0]["all"], together["tokenizers"][0]["all"]
    assert first == second
    assert first["tokens"] == sum(
        one["tokens"] for one in said["tokenizers"][0]["languages"].values()
    )


def test_the_premium_is_what_the_same_content_costs_beside_the_pivot():
    texts = {"en": ["abc", "d"], "xx": ["abcd", "efgh"]}
    said = judged(bytes_and(), texts, Settings(pivot="en"))["tokenizers"][0]
    assert said["languages"]["en"]["premium"] == 1
    assert said["languages"]["xx"]["premium"] == 2
    assert said["gini"] == pytest.approx(1 / 6)  # of 4 and 8: twice 4 over 4 pairs, by twice 6
    without = judged(bytes_and(), texts)["tokenizers"][0]
    assert without["gini"] is without["languages"]["xx"]["premium"] is None


def test_a_pivot_needs_parallel_texts_and_a_language_that_is_there():
    with pytest.raises(InputError, match="no texts in 'fr', the pivot; there are: de, en"):
        judged(trained(), {"en": ["a"], "de": ["b"]}, Settings(pivot="fr"))
    with pytest.raises(InputError, match="de has 2 documents and en has 1"):
        judged(trained(), {"en": ["a"], "de": ["b", "c"]}, Settings(pivot="en"))


def test_tokenizers_are_named_after_their_folders_and_files(tmp_path):
    for place in ("ours", "other/ours"):
        trained().save(tmp_path / place)
    paths = [
        tmp_path / "ours",
        tmp_path / "other/ours/tokenizer.json",
        tmp_path / "ours" / "tokenizer.tiktoken",
    ]
    (tmp_path / "cl100k_base.tiktoken").write_bytes(paths[2].read_bytes())
    named = load_named([*paths[:2], tmp_path / "cl100k_base.tiktoken"])
    assert list(named) == ["ours", "ours-2", "cl100k_base"]


def test_measures_of_nothing_are_undefined_and_do_not_fail():
    tally = evaluate_module.Tally()
    said = measures(tally, Facts(), 300, 10)
    assert said["unused_tokens"] == 300
    assert np.isnan([said[name] for name in ("fertility", "renyi_efficiency", "kept_whole")]).all()


@slow_as_python
def test_on_parallel_sentences_published_tokenizers_count_as_their_own_libraries_do(
    shared, unpacked
):
    languages = set(LANGUAGES.split())
    path = shared / "multilingual" / "ntrex.tsv.gz"
    texts = [one for one in labelled_files([path], Labels()) if one.language in languages]
    english = pa.concat_arrays([one.texts for one in texts if one.language == "eng"])
    ours = train(count_pieces(english, "gpt2"), Train(vocab_size=1000))
    named = {
        "gpt2": load(unpacked / "gpt2_vocab.json"),
        "cl100k": load(unpacked / "cl100k_base.tiktoken"),
        "ours": ours,
    }
    said = as_json(evaluate(named, texts), Settings(pivot="eng"))
    assert sorted(languages) == [one["language"] for one in said["languages"]]
    assert {one["documents"] for one in said["languages"]} == {150}
    spaceless = {one["language"] for one in said["languages"] if one["spaceless"]}
    assert spaceless == {"jpn", "tha", "zho-CN"}

    gpt2 = tokenizers.Tokenizer(
        tokenizers.models.BPE.from_file(
            str(unpacked / "gpt2_vocab.json"), str(unpacked / "gpt2_merges.txt")
        )
    )
    gpt2.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    ranks = tiktoken.load.load_tiktoken_bpe(str(unpacked / "cl100k_base.tiktoken"))
    cl100k = tiktoken.Encoding(
        "cl100k", pat_str=tiktoken_pattern(), mergeable_ranks=ranks, special_tokens={}
    )
    for one in texts:
        rows = one.texts.to_pylist()
        theirs = sum(len(encoding.ids) for encoding in gpt2.encode_batch(rows))
        assert said["tokenizers"][0]["languages"][one.language]["tokens"] == theirs
        theirs = sum(map(len, cl100k.encode_ordinary_batch(rows)))
        assert said["tokenizers"][1]["languages"][one.language]["tokens"] == theirs

    by_name = {one["name"]: one for one in said["tokenizers"]}
    assert all(one["all"]["round_trip"] for one in by_name.values())
    # What is known of them: GPT-2 serves English alone, and so does ours, less well.
    assert by_name["gpt2"]["languages"]["eng"]["fertility"] < 1.3
    assert by_name["gpt2"]["languages"]["tam"]["premium"] > 10
    assert by_name["cl100k"]["gini"] < by_name["gpt2"]["gini"]
    assert by_name["ours"]["languages"]["eng"]["premium"] == 1
    assert by_name["ours"]["all"]["bytes_per_token"] < by_name["gpt2"]["all"]["bytes_per_token"]


def tiktoken_pattern():
    """cl100k's pattern as tiktoken itself has it."""
    return (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
        r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    )

"""Perplexity against KenLM's own binding and CCNet's arithmetic, on toy models and real pages."""

import base64
import math
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from curate import plan, recipe
from curate.column import view
from curate.errors import ModelError, RecipeError
from curate.lm.normalize import ccnet
from curate.schema import DROPPED_BY, LANGUAGE, TEXT, VALUE
from filters.perplexity import BUCKET, PERPLEXITY, Perplexity, cutoffs, loaded, word_counts

ARPA = "models/kenlm_test.arpa"


def scored(stage: Perplexity, texts: list[bytes | str], languages: list[str] | None = None):
    columns = {TEXT: pa.array(texts, pa.binary() if b"" in [t[:0] for t in texts] else pa.string())}
    if languages is not None:
        columns[LANGUAGE] = pa.array(languages, pa.string())
    with stage.open() as score:
        return score(pa.record_batch(columns))


def numbers(stage: Perplexity, texts: list[bytes | str]) -> list[float]:
    return scored(stage, texts).column(PERPLEXITY).to_pylist()


def twin(model: kenlm.Model, text: str) -> float:
    """cc_net's DocLM.do, for a text that has words."""
    log_score, length = 0.0, 0
    for line in text.split("\n"):
        log_score += model.score(line)
        length += len(line.split()) + 1
    return 10.0 ** (-log_score / length)


def test_the_perplexity_of_a_sentence_is_that_of_kenlm(shared: Path):
    for name in (ARPA, "models/kenlm_test_nounk.arpa"):
        model = kenlm.Model(str(shared / name))
        stage = Perplexity(str(shared / name))
        for text in ("looking on a little", "also would consider higher looking", "unheard of , ."):
            assert numbers(stage, [text]) == [pytest.approx(model.perplexity(text), rel=1e-6)]


def test_a_bigram_by_hand(tmp_path: Path):
    path = tmp_path / "toy.arpa"
    path.write_text(
        "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-2\t<unk>\t0\n-99\t<s>\t-0.5\n-1\t</s>\n"
        "-1.5\ta\t-0.25\n\n\\2-grams:\n-0.125\t<s> a\n\n\\end\\\n"
    )
    # p(a|<s>) = -.125, p(</s>|a) = -.25 - 1: two words with the end, 10 ** (1.375 / 2).
    assert numbers(Perplexity(str(path)), ["a"]) == [pytest.approx(10 ** (1.375 / 2))]
    # <s> backs off to an unknown word, which has no backoff before the end: 10 ** (3.5 / 2).
    assert numbers(Perplexity(str(path)), ["b"]) == [pytest.approx(10 ** (3.5 / 2))]


def test_lines_are_sentences_when_asked(shared: Path):
    model = kenlm.Model(str(shared / ARPA))
    text = "looking on a little\n\nalso would consider higher"
    one, lines = (Perplexity(str(shared / ARPA), lines=lines) for lines in (False, True))
    assert numbers(lines, [text]) == [pytest.approx(twin(model, text), rel=1e-9)]
    assert numbers(one, [text]) == [pytest.approx(twin(model, text.replace("\n", " ")), rel=1e-9)]


def test_real_pages_score_as_in_ccnet(shared: Path, pages: list[str]):
    model = kenlm.Model(str(shared / ARPA))
    found = numbers(Perplexity(str(shared / ARPA), normalize="ccnet", decimals=1), pages)
    assert found == [round(twin(model, ccnet(page)), 1) for page in pages]


def test_what_is_empty_has_no_perplexity(shared: Path):
    stage = Perplexity(str(shared / ARPA), lines=True, high=1e9)
    texts = ["", " ", "\n\n", "\u3000\u00a0", "\0", "."]
    result = scored(stage, texts)
    assert [math.isnan(number) for number in result.column(PERPLEXITY).to_pylist()] == [
        *[True] * 4,
        *[False] * 2,
    ]
    assert result.column(DROPPED_BY).to_pylist() == [*["perplexity.perplexity"] * 4, None, None]


def test_odd_texts_and_any_bytes_are_scored(shared: Path):
    for normalize in ("none", "ccnet", "roots"):
        stage = Perplexity(str(shared / ARPA), normalize=normalize)
        texts = [
            b"a",
            b"looking",
            b"x" * 100_000,
            b"?!",
            "漢字".encode(),
            b"\xff\xfe \xe2\x82 a\x00b",
        ]
        assert all(number > 0 for number in numbers(stage, texts))


def test_a_slice_and_another_order_change_nothing(shared: Path, pages: list[str]):
    stage = Perplexity(str(shared / ARPA), normalize="ccnet", lines=True)
    pages = [*pages[:9], "", "ΣΑΣ"]
    whole = numbers(stage, pages)
    assert str(numbers(stage, pages[::-1])) == str(whole[::-1])
    with stage.open() as score:
        part = score(pa.record_batch({TEXT: pa.array(pages)}).slice(3, 5))
    assert part.column(PERPLEXITY).to_pylist() == whole[3:8]


def test_a_batch_without_rows(shared: Path):
    assert scored(Perplexity(str(shared / ARPA), cutoffs="ccnet_cutoff", high=1), []).num_rows == 0
    by_language = Perplexity(str(shared / "models" / "kenlm_{language}.arpa"))
    assert scored(by_language, [], []).schema.names == [TEXT, LANGUAGE, PERPLEXITY]


def test_bounds_drop_with_value_and_bound(shared: Path):
    stage = Perplexity(str(shared / ARPA), low=5, high=30)
    result = scored(stage, ["looking on a little", "x y z", "also would consider higher looking"])
    values = result.column(PERPLEXITY).to_pylist()
    kept = [5 <= value <= 30 for value in values]
    assert True in kept
    assert False in kept
    assert [reason is None for reason in result.column(DROPPED_BY).to_pylist()] == kept
    assert result.column(VALUE).to_pylist() == [
        None if good else value for good, value in zip(kept, values, strict=True)
    ]


def test_bounds_by_language(shared: Path, tmp_path: Path):
    table = tmp_path / "bounds.tsv"
    table.write_text("language\tperplexity.Perplexity\nen\t:1\n")
    stage = Perplexity(str(shared / ARPA), by_language=str(table))
    result = scored(stage, ["looking on a little"] * 2, ["en", "fr"])
    assert result.column(DROPPED_BY).to_pylist() == ["perplexity.perplexity", None]
    assert str(table) in stage.files()


def test_models_by_language_leave_other_languages_alone(shared: Path, tmp_path: Path):
    (tmp_path / "en.arpa").write_bytes((shared / ARPA).read_bytes())
    stage = Perplexity(
        str(tmp_path / "{language}.arpa"),
        high=1,
        cutoffs="ccnet_cutoff",
        keep=("head", "middle", "tail", "all"),
    )
    result = scored(stage, ["looking on a little", "un peu", ""], ["en", "fr", None])
    found = result.column(PERPLEXITY).to_pylist()
    assert found[0] > 0
    assert np.isnan(found[1:]).all()
    assert result.column(BUCKET).to_pylist() == ["head", "all", "all"]
    assert result.column(DROPPED_BY).to_pylist() == ["perplexity.perplexity", None, None]
    with pytest.raises(RecipeError, match=r"language.Identify"):
        scored(stage, ["a"])
    with pytest.raises(ModelError, match="no such file for any language"):
        scored(Perplexity(str(tmp_path / "{language}.bin")), ["a"], ["en"])


def test_buckets_are_those_of_ccnet(shared: Path, tmp_path: Path):
    assert len(cutoffs("ccnet_cutoff")) == 48
    assert cutoffs("ccnet_cutoff")["en"] == (340, 520)
    assert cutoffs("ccnet_cutoff")["be"] == (670, 910)
    value = numbers(Perplexity(str(shared / ARPA)), ["looking on a little"])[0]
    own = tmp_path / "own.tsv"
    own.write_text(
        f"language\thead\tmiddle\nen\t{value + 1}\t{value + 2}\nde\t{value!r}\t{value + 1}\n"
        f"fr\t1\t{value!r}\n"
    )
    stage = Perplexity(str(shared / ARPA), cutoffs=str(own), keep=("head", "all"))
    result = scored(stage, ["looking on a little"] * 4, ["en", "de", "fr", "xx"])
    assert result.column(BUCKET).to_pylist() == ["head", "middle", "tail", "all"]
    assert result.column(DROPPED_BY).to_pylist() == [None, *["perplexity.bucket"] * 2, None]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    sentences = [f"looking on a little more of number {n} and beyond" for n in range(50)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(folder / "en.sp"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "en.sp.model"


def test_sentencepiece_cuts_the_words(shared: Path, pieces: Path):
    model = kenlm.Model(str(shared / ARPA))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    text = "  Looking, on a\n little MORE 42  "
    stage = Perplexity(str(shared / ARPA), tokenizer=str(pieces), normalize="ccnet")
    joined = " ".join(processor.encode_as_pieces(ccnet(text)))
    assert numbers(stage, [text]) == [pytest.approx(twin(model, joined), rel=1e-9)]


def test_a_tokenizer_for_each_language(shared: Path, pieces: Path):
    for name in ("en.arpa", "de.arpa"):
        (pieces.parent / name).write_bytes((shared / ARPA).read_bytes())
    stage = Perplexity(
        str(pieces.parent / "{language}.arpa"),
        tokenizer=str(pieces.parent / "{language}.sp.model"),
    )
    assert scored(stage, ["a little"], ["en"]).column(PERPLEXITY)[0].as_py() > 0
    with pytest.raises(ModelError, match=r"de.arpa: there is no tokenizer for de"):
        scored(stage, ["ein wenig"], ["de"])


def test_our_own_bpe_gives_numbers_as_words(shared: Path, tmp_path: Path):
    path = tmp_path / "numbers.arpa"
    head = "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-2\t<unk>\t0\n-99\t<s>\t0\n-1\t</s>\n"
    path.write_text(head + "-0.5\t64\t0\n\n\\2-grams:\n-0.25\t<s> 64\n\n\\end\\\n")
    gpt2 = tmp_path / "gpt2.tiktoken"
    gpt2.write_text("".join(f"{line}\n" for line in RANKS))
    stage = Perplexity(str(path), tokenizer=str(gpt2))
    # "aa" is twice the token 64: .25, then .5 with a backoff of 0, then 1 for the end.
    assert numbers(stage, ["aa"]) == [pytest.approx(10 ** ((0.25 + 0.5 + 1) / 3))]


def _ranks() -> list[str]:
    """GPT-2's bytes in its order, 64 for "a", as a rank file."""
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [byte for byte in range(256) if byte not in order]
    return [f"{base64.b64encode(bytes([b])).decode()} {rank}" for rank, b in enumerate(order)]


RANKS = _ranks()


@given(st.lists(st.one_of(st.text(max_size=30), st.text(" \u00a0\x1f\x85a\u3000", max_size=9))))
def test_words_are_counted_as_python_splits(texts: list[str]):
    data, offsets = view(pa.array(texts, pa.string()))
    counts = np.zeros(len(texts), np.int64)
    word_counts(data, offsets, counts)
    assert counts.tolist() == [len(text.split()) for text in texts]


def test_what_cannot_be_meant_is_refused(shared: Path, tmp_path: Path):
    model = str(shared / ARPA)
    for settings, said in (
        ({"normalize": "ccnett"}, "ccnet"),
        ({"cutoffs": "ccnet_cutoff", "keep": ("heads",)}, "head, middle, tail, all"),
        ({"keep": ("head",)}, "cutoffs"),
        ({"cutoffs": "none.tsv"}, "ccnet_cutoff"),
        ({"low": 3, "high": 2}, "nothing can pass"),
        ({"by_language": "ccnet_punctuation"}, "pair of bounds|no column"),
    ):
        with pytest.raises(RecipeError, match=said):
            Perplexity(model, **settings)
    broken = tmp_path / "broken.arpa"
    broken.write_text("not a model\n")
    with pytest.raises(ModelError, match=r"broken.arpa: not a model that KenLM reads"):
        loaded(broken)
    broken.write_bytes(b"\xe2\xff" * 99)
    with pytest.raises(ModelError, match=r"broken.arpa: not a model that KenLM reads"):
        loaded(broken)
    with pytest.raises(ModelError, match="not a SentencePiece model"):
        (tmp_path / "x.model").write_text("no")
        numbers(Perplexity(model, tokenizer=str(tmp_path / "x.model")), ["a"])


def test_a_models_content_is_part_of_the_key_of_a_run(shared: Path, tmp_path: Path):
    (tmp_path / "en.arpa").write_bytes((shared / ARPA).read_bytes())
    stage = f"perplexity.Perplexity: {{model: '{tmp_path}/{{language}}.arpa'}}"
    parsed = recipe.parse(f"name: x\nstages:\n- html.Extract\n- {stage}\n", "x.yaml")
    before = plan._models(parsed)
    assert list(before) == [f"{tmp_path}/en.arpa"]
    with (tmp_path / "en.arpa").open("a") as file:
        file.write("\n")
    assert plan._models(parsed) != before

"""Estimation: the very bytes of KenLM's lmplz, and the plain twin's numbers, in any memory."""

import gzip
import hashlib
import json
import os
from pathlib import Path

import kenlm
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from curate import cli
from curate.errors import CurateError, InputError, ModelError, RecipeError
from curate.lm import read, train
from curate.lm.adjust import FALLBACK
from curate.lm.estimate import Estimate
from curate.lm.train import Workers
from filters.perplexity import PERPLEXITY, Perplexity
from tests.lm.plain import estimated

as_compiled = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1",
    reason="the last digit is that of C's log10f, and plain Python has no such logarithm",
)

CATS = "the cat sat\nthe cat ran\na dog sat on the mat\n\nthe the the\n"
# lmplz -o 3 --discount_fallback < CATS
CATS_ARPA = """\\data\\
ngram 1=11
ngram 2=16
ngram 3=14

\\1-grams:
-1.3590219	<unk>	0
0	<s>	-0.30103
-0.58087075	</s>	0
-0.8616973	the	-0.30103
-1.1249387	cat	-0.30103
-0.9736711	sat	-0.30103
-1.1249387	ran	-0.30103
-1.1249387	a	-0.30103
-1.1249387	dog	-0.30103
-1.1249387	on	-0.30103
-1.1249387	mat	-0.30103

\\2-grams:
-0.63591826	<s> </s>	0
-0.63591826	the </s>	0
-0.41879016	sat </s>	0
-0.1997986	ran </s>	0
-0.1997986	mat </s>	0
-0.43326795	<s> the	-0.30103
-0.57065153	the the	-0.30103
-0.24507856	on the	-0.30103
-0.8616973	the cat	-0.30103
-0.51837826	cat sat	-0.30103
-0.2571767	dog sat	-0.30103
-0.54136217	cat ran	-0.30103
-0.8616973	<s> a	-0.30103
-0.26962152	a dog	-0.30103
-0.54136217	sat on	-0.30103
-0.8616973	the mat	-0.30103

\\3-grams:
-0.43696412	the the </s>
-0.1607577	cat sat </s>
-0.08850947	cat ran </s>
-0.08850947	the mat </s>
-0.5213734	<s> the the
-0.41524485	the the the
-0.10547625	sat on the
-0.3956839	<s> the cat
-0.39624685	the cat sat
-0.10982358	a dog sat
-0.40477943	the cat ran
-0.11421486	<s> a dog
-0.19128275	dog sat on
-0.24507856	on the mat

\\end\\
"""
# lmplz -o 2
LETTERS = "a b a\nb a c b\na a b\nc\nb b a c\nd a\n"
LETTERS_ARPA = """\\data\\
ngram 1=7
ngram 2=14

\\1-grams:
-1.5563025	<unk>	0
0	<s>	-0.1403757
-0.66103786	</s>	0
-0.5380777	a	-0.073195755
-0.5380777	b	-0.06454071
-1.0034605	c	-0.1403757
-1.1226469	d	-0.5228788

\\2-grams:
-0.692997	a </s>
-0.67872745	b </s>
-0.69716835	c </s>
-0.6361934	<s> a
-0.46249294	a a
-0.6026184	b a
-0.1040778	d a
-0.6361934	<s> b
-0.579847	a b
-0.4361092	b b
-0.3535881	c b
-0.72475046	<s> c
-0.9906061	a c
-0.76639575	<s> d

\\end\\
"""
# Of what lmplz writes for tiny Shakespeare, with -o 5, and with -o 4 --prune 0 1 2.
SHAKESPEARE = "8e03be65d5c9d9d2428dc0f9af060e22e28bae25abd3e5747c03708fa9faabf1"
SHAKESPEARE_PRUNED = "ba72988b841ed6fd427ea3c978169202e2f608ca064b50645c0c90d1feb93dd8"


class Quiet:
    def begin(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, counts: dict[str, int]) -> None: ...

    def end(self) -> None: ...


def model(
    folder: Path, text: str | Path, workers: int = 0, fallback: bool = True, **given: object
) -> bytes:
    """The ARPA file of a text."""
    path = text if isinstance(text, Path) else folder / "text.txt"
    if isinstance(text, str):
        path.write_bytes(text.encode())
    settings = Estimate(fallback=FALLBACK if fallback else None, **given)
    output = folder / "models" / "model.arpa"
    train.train([path], settings, output, Quiet(), Workers(workers))
    assert [child.name for child in output.parent.iterdir()] == ["model.arpa"]
    return output.read_bytes()


def numbers(arpa: bytes) -> dict[tuple[str, ...], tuple[float, float]]:
    """The n-grams of an ARPA file."""
    found = {}
    for line in arpa.decode().splitlines():
        if "\t" in line:
            probability, words, *backoff = line.split("\t")
            found[tuple(words.split(" "))] = float(probability), float((backoff or [0])[0])
    return found


@as_compiled
def test_the_file_is_that_of_lmplz(tmp_path: Path):
    assert model(tmp_path, CATS, order=3).decode() == CATS_ARPA
    assert model(tmp_path, LETTERS, order=2, fallback=False).decode() == LETTERS_ARPA


@pytest.mark.slow
def test_a_real_text_gives_the_file_of_lmplz(shared: Path, tmp_path: Path):
    text = shared / "sources" / "tinyshakespeare_input.txt"
    for expected, settings_ in (
        (SHAKESPEARE, {"order": 5}),
        (SHAKESPEARE, {"order": 5, "memory_bytes": 1 << 20}),
        (SHAKESPEARE_PRUNED, {"order": 4, "prune": (0, 1, 2)}),
    ):
        found = model(tmp_path, text, fallback=False, **settings_)
        assert hashlib.sha256(found).hexdigest() == expected


@settings(max_examples=15)
@given(st.lists(st.text("abc ", max_size=12), min_size=1, max_size=12), st.integers(2, 4))
def test_numbers_are_those_of_the_plain_twin(tmp_path_factory, sentences: list[str], order: int):
    folder = tmp_path_factory.mktemp("twin")
    found = numbers(model(folder, "".join(f"{line}\n" for line in sentences), order=order))
    expected = {g: v for grams in estimated(sentences, order) for g, v in grams.items()}
    assert found.keys() == expected.keys()
    wrong = [g for g in expected if found[g] != pytest.approx(expected[g], rel=1e-4, abs=2e-5)]
    assert wrong == []


def test_probabilities_of_every_context_sum_to_one(tmp_path: Path):
    folder = tmp_path
    found = numbers(model(folder, LETTERS * 3 + CATS, order=3))
    words = [gram[0] for gram in found if len(gram) == 1 and gram != ("<s>",)]
    path = folder / "models" / "model.arpa"
    scorer = kenlm.Model(str(path))
    for context in (["a"], ["b", "a"], ["the"], ["unheard", "of"]):
        state, after = kenlm.State(), kenlm.State()
        scorer.BeginSentenceWrite(state)
        for word in context:
            scorer.BaseScore(state, word, after)
            state, after = after, kenlm.State()
        total = sum(10 ** scorer.BaseScore(state, word, after) for word in words)
        assert total == pytest.approx(1, abs=1e-4)


def test_neither_memory_nor_units_change_the_file(shared: Path, tmp_path: Path, monkeypatch):
    lines = (shared / "sources" / "tinyshakespeare_input.txt").read_text().splitlines()[:500]
    text = "".join(f"{line}\n" for line in lines)
    whole = model(tmp_path, text, order=4)
    monkeypatch.setattr("curate.lm.rows.LEAST_ROWS", 100)
    monkeypatch.setattr("curate.lm.rows.FAN_IN", 3)
    assert model(tmp_path, text, order=4, memory_bytes=1 << 20) == whole
    monkeypatch.setattr("curate.lm.read.BLOCK_BYTES", 1000)
    monkeypatch.setattr(train, "units", lambda paths: read.units(paths, 2_000))
    assert model(tmp_path, text, order=4, memory_bytes=1 << 20) == whole


@pytest.mark.ray
@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_file(shared: Path, tmp_path: Path, monkeypatch):
    text = shared / "sources" / "tinyshakespeare_input.txt"
    monkeypatch.setattr(train, "units", lambda paths: read.units(paths, 200_000))
    assert model(tmp_path, text, workers=2, order=3) == model(tmp_path, text, order=3)


def test_files_of_all_kinds_give_the_same_model(tmp_path: Path):
    lines = [*LETTERS.splitlines(), "", "é 漢字"]
    expected = model(tmp_path, "".join(f"{line}\n" for line in lines), order=2)
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": t, "x": 1}) + "\n" for t in lines)
    )
    pa.parquet.write_table(pa.table({"text": lines}), tmp_path / "a.parquet")
    (tmp_path / "open.txt").write_text("\n".join(lines))
    with gzip.open(tmp_path / "a.txt.gz", "wt", encoding="utf-8") as packed:
        packed.write("\n".join(lines))
    for name in ("a.jsonl", "a.parquet", "open.txt", "a.txt.gz"):
        assert model(tmp_path, tmp_path / name, order=2) == expected
    whole = tmp_path / "whole.jsonl"
    whole.write_text(json.dumps({"text": "\n".join(lines)}) + "\n")
    assert model(tmp_path, whole, order=2, lines=True) == expected
    assert model(tmp_path, whole, order=2) != expected


def test_special_words_are_as_good_as_space(tmp_path: Path):
    odd = LETTERS.replace("a b a", "<s> a\x00b\x0b\t a </s> <unk>")
    assert model(tmp_path, odd, order=2) == model(tmp_path, LETTERS, order=2)


def test_bytes_that_are_no_text_are_words(tmp_path: Path):
    (tmp_path / "odd.txt").write_bytes(b"a \xff\xfe b\n\xff\xfe a\n")
    found = model(tmp_path, tmp_path / "odd.txt", order=2)
    assert b"\t\xff\xfe b\n" in found
    assert kenlm.Model(str(tmp_path / "models" / "model.arpa")).score(b"a \xff\xfe") < 0


def test_nothing_but_empty_lines_has_a_model(tmp_path: Path):
    assert b"ngram 1=3\n" in model(tmp_path, "\n\n", order=2)


def test_training_and_scoring_share_their_words(tmp_path: Path):
    model(tmp_path, "ÉTÉ 12\nété １２\n" * 3, order=2, normalize="ccnet")
    assert b"\tete 00\n" in (tmp_path / "models" / "model.arpa").read_bytes()
    stage = Perplexity(str(tmp_path / "models" / "model.arpa"), normalize="ccnet")
    with stage.open() as score:
        known, unknown = score(pa.record_batch({"text": ["Été 99", "hiver"]})).column(PERPLEXITY)
    assert known.as_py() < unknown.as_py()


def test_small_text_needs_the_fallback(tmp_path: Path):
    with pytest.raises(CurateError, match="--discount-fallback"):
        model(tmp_path, "a b c\n", order=2, fallback=False)
    assert [child.name for child in (tmp_path / "models").iterdir()] == []


def test_what_cannot_be_meant_is_refused(tmp_path: Path):
    for given_, said in (
        ({"order": 7}, "2 to 6"),
        ({"prune": (2, 1)}, "none below"),
        ({"prune": (-1,)}, "negative"),
        ({"memory_bytes": 5}, "1M or more"),
        ({"fallback": (2.0, 1.0, 1.0)}, "D1"),
        ({"normalize": "x"}, "ccnet"),
    ):
        with pytest.raises(RecipeError, match=said):
            Estimate(**given_)
    with pytest.raises(ModelError, match="no such file"):
        model(tmp_path, "a\n", tokenizer="no.model")
    with pytest.raises(InputError, match="no input"):
        train.train([], Estimate(), tmp_path / "m.arpa", Quiet(), Workers())
    (tmp_path / "no.jsonl").write_text("no\n")
    with pytest.raises(InputError, match="cannot be read"):
        model(tmp_path, tmp_path / "no.jsonl", order=2)


@as_compiled
def test_the_command_writes_a_model_and_says_what_it_is_made_from(tmp_path: Path):
    (tmp_path / "cats.txt").write_text(CATS)
    options = ["--order", "3", "--discount-fallback", "--memory", "1M", "--workers", "0"]
    output = tmp_path / "lm" / "cats.arpa"
    command = ["--input", str(tmp_path / "cats.txt"), "--output", str(output), *options]
    done = CliRunner().invoke(cli.app, ["lm", "train", *command])
    assert done.exit_code == 0, done.output
    assert output.read_text() == CATS_ARPA
    assert '"types": 11' in done.output
    assert '"sentences": 5' in done.output

"""Ablations: fair runs that go on where they were cut off, and answers that controls bear out."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from curate.errors import InputError, ShardError
from curate.progress import Watcher
from curate.store import sealed
from tests.trainer.cuts import CutError
from tokenizer.shards import manifest, write_part
from trainer.ablated import told, unless_controls_fail, unless_nothing_is_learned
from trainer.ablation import AGAIN, CORRUPTIONS, Corpora, Protocol, Run, ablate, planned
from trainer.settings import TrainSettings
from trainer.statistics import Verdict

Quick = tuple[dict[str, Any], Path]
KINDS = 63
SMALL = TrainSettings(
    steps=4, context=16, batch=4, layers=1, width=16, heads=2, warmup=1, device="cpu"
)
QUICK = Protocol(SMALL, seeds=2, held_out_tokens=0, corruptions=CORRUPTIONS)


class Cutting(Watcher):
    """Ends the process after so many tokens."""

    def __init__(self, tokens: int) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.left = tokens

    def advance(self, counts: dict[str, int]) -> None:
        super().advance(counts)
        self.left -= counts["tokens"]
        if self.left < 0:
            raise CutError


def silent() -> Watcher:
    return Watcher(Console(file=io.StringIO()))


def chain(seed: int, count: int, noise: float = 0.0) -> list[list[int]]:
    """Documents in which a token decides what may follow it, and at times does not."""
    follows = np.random.default_rng(7).dirichlet(np.full(KINDS, 0.08), KINDS).cumsum(axis=1)
    random = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        token, document = int(random.integers(KINDS)), []
        for draw in random.random(random.integers(20, 60)):
            document.append(token + 1)
            token = min(int(np.searchsorted(follows[token], draw)), KINDS - 1)
            if random.random() < noise:
                token = int(random.integers(KINDS))
        documents.append(document)
    return documents


def shards(folder: Path, documents: list[list[int]], vocabulary: str = "w") -> Path:
    """Shards of these documents; a token stands for three letters."""
    folder.mkdir()
    letters = ["".join(f"{token:03}" for token in document) for document in documents]
    ids = [i.to_bytes(16, "big") for i in range(len(documents))]
    rows = pa.record_batch({"id": pa.array(ids, pa.binary(16)), "text": pa.array(letters)})
    tokens = np.array([token for document in documents for token in document], np.uint32)
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    part = write_part(folder, "part-00000", [(rows, tokens, offsets)], KINDS + 1, 0)
    (folder / "manifest.json").write_bytes(sealed(manifest([part], vocabulary, KINDS + 1, 0)))
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    """A, B of which a third is noise, and two domains of neither."""
    folder = tmp_path_factory.mktemp("corpora")
    return Corpora(
        shards(folder / "plain", chain(1, 800)),
        shards(folder / "noisy", chain(2, 800, noise=0.3)),
        {"one": shards(folder / "one", chain(3, 40)), "two": shards(folder / "two", chain(4, 40))},
    )


@pytest.fixture(scope="module")
def quick(
    corpora: Corpora, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """An ablation that is too short to find anything."""
    output = tmp_path_factory.mktemp("quick") / "output"
    return told(ablate(corpora, output, QUICK, silent())), output


def test_no_arm_is_always_the_first() -> None:
    runs = planned(replace(QUICK, seeds=3))
    assert [f"{run.arm}{run.seed}" for run in runs[:6]] == ["A1", "B1", "B2", "A2", "A3", "B3"]
    assert [run.rate for run in runs[:12]] == [1.0] * 6 + [0.1] * 6
    assert [run.seed for run in runs if run.arm == AGAIN] == [4, 5, 6]
    assert len({run.name for run in runs}) == len(runs) == 12 + 9 + 6


def test_without_controls_there_are_the_two_corpora_and_the_ladder() -> None:
    runs = planned(replace(QUICK, corruptions=None))
    assert {run.arm for run in runs} == {"A", "B"}


def test_runs_differ_in_seed_rate_and_length_alone() -> None:
    protocol = replace(QUICK, settings=replace(SMALL, steps=40, warmup=8, seed=10))
    assert Run("B", 2).settings(protocol) == replace(protocol.settings, seed=12)
    short = Run("A", 1, rate=0.1, share=0.25).settings(protocol)
    rate = protocol.settings.learning_rate / 10
    assert short == replace(protocol.settings, seed=11, steps=10, warmup=2, learning_rate=rate)


def test_losses_are_kept_and_weights_are_not(quick: Quick) -> None:
    said, output = quick
    folders = sorted(path.name for path in (output / "runs").iterdir())
    assert folders == sorted(run.name for run in planned(QUICK))
    for folder in (output / "runs").iterdir():
        names = {path.name for path in folder.iterdir()}
        assert names == {"key", "losses.parquet", "result.json", "metrics.jsonl"}
    json.dumps(said, allow_nan=False)


def test_what_is_told_is_what_the_losses_say(quick: Quick) -> None:
    said, output = quick
    means: dict[str, list[float]] = {"A": [], "B": []}
    for arm in means:
        for seed in (1, 2):
            rows = pq.read_table(output / "runs" / f"{arm}_seed-{seed}" / "losses.parquet")
            bits: dict[str, float] = {"one": 0, "two": 0}
            size = dict(bits)
            for row in rows.to_pylist():
                bits[row["domain"]] += row["nats"] / np.log(2)
                size[row["domain"]] += row["n_bytes"]
            means[arm].append(sum(bits[name] / size[name] for name in bits) / 2)
    [macro] = [one for one in said["rates"][0]["differences"] if one["domain"] == "macro mean"]
    assert macro["value"] == pytest.approx(np.mean(means["B"]) - np.mean(means["A"]))
    assert said["rates"][0]["bits_per_byte"]["A"]["macro mean"] == pytest.approx(means["A"])
    assert said["tokens"] == 4 * 4 * 16
    assert said["freedom"] == 5  # A, B, A again and two corruptions, of two seeds each
    assert [step["tokens"] for step in said["worth"]["ladder"]] == [64, 128, 256]


@pytest.mark.parametrize("tokens", [100, 1000])
def test_an_ablation_that_was_cut_off_goes_on_to_the_same_end(
    corpora: Corpora, quick: Quick, tmp_path: Path, tokens: int
) -> None:
    said, whole = quick
    with pytest.raises(CutError):
        ablate(corpora, tmp_path / "cut", QUICK, Cutting(tokens))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("losses.parquet")}
    assert len(before) < len(planned(QUICK))
    assert told(ablate(corpora, tmp_path / "cut", QUICK, silent())) == said
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for path in (whole / "runs").rglob("losses.parquet"):
        again = tmp_path / "cut" / path.relative_to(whole)
        assert again.read_bytes() == path.read_bytes()


def test_other_settings_train_again(corpora: Corpora, tmp_path: Path) -> None:
    protocol = replace(QUICK, corruptions=None, seeds=1)
    first = told(ablate(corpora, tmp_path, protocol, silent()))
    faster = replace(protocol, settings=replace(SMALL, learning_rate=1e-2))
    assert told(ablate(corpora, tmp_path, faster, silent()))["rates"] != first["rates"]
    assert told(ablate(corpora, tmp_path, protocol, silent())) == first


def test_one_seed_decides_nothing(corpora: Corpora, tmp_path: Path) -> None:
    said = told(ablate(corpora, tmp_path, replace(QUICK, corruptions=None, seeds=1), silent()))
    assert said["answer"] == "undecided"
    assert "one seed" in said["sentence"]
    assert (said["sigma"], said["controls"]) == (None, [])
    json.dumps(said, allow_nan=False)


def test_what_makes_the_answer_worth_less_is_told(corpora: Corpora, tmp_path: Path) -> None:
    few = shards(tmp_path / "few", chain(1, 3))  # the first three of A
    settings = replace(SMALL, steps=5)
    asked = replace(corpora, second=few, held_out={"few": few})
    said = told(ablate(asked, tmp_path / "out", replace(QUICK, settings=settings), silent()))
    for warning in (
        "3 of 3 documents of few are in A too",
        "3 of 3 documents of few are in B too",
        "few has 3 documents, too few",
        "tokens are shuffled instead of words",
    ):
        assert any(warning in one for one in said["warnings"]), said["warnings"]
    tokens = sum(map(len, chain(1, 3))) + 3
    assert said["arms"][1]["epochs"] == 320 / tokens
    assert any("more than 4 times" in one for one in said["warnings"]) == (320 / tokens > 4)


@pytest.mark.parametrize(
    ("name", "seen", "answer"),
    [
        (AGAIN, "no difference", "better"),
        (AGAIN, "worse", "undecided"),
        ("duplicates", "worse", "better"),
        ("duplicates", "no difference", "better"),
        ("duplicates", "better", "undecided"),
    ],
)
def test_a_control_that_comes_out_the_wrong_way_leaves_nothing_decided(
    name: str, seen: str, answer: str
) -> None:
    passed = seen == ("no difference" if name == AGAIN else "worse")
    control = {"name": name, "seen": seen, "passed": passed, "missed": "it is odd"}
    verdict = unless_controls_fail(Verdict("better", "B is better"), [control])
    assert verdict.answer == answer
    assert verdict.sentence == ("B is better" if answer == "better" else "not decided: it is odd")


@pytest.mark.parametrize(
    ("answer", "tokens", "after"),
    [("tie", 100.0, "tie"), ("tie", None, "undecided"), ("better", None, "better")],
)
def test_where_nothing_is_learned_there_is_no_tie(
    answer: str, tokens: float | None, after: str
) -> None:
    verdict = unless_nothing_is_learned(Verdict(answer, "as it was"), {"tokens": tokens})
    assert verdict.answer == after
    assert ("more tokens of A make none" in verdict.sentence) == (after == "undecided")


def test_corpora_of_two_tokenizers_are_refused(corpora: Corpora, tmp_path: Path) -> None:
    other = shards(tmp_path / "other", chain(1, 3), vocabulary="v")
    with pytest.raises(ShardError, match=r"other: of another tokenizer than .*plain"):
        ablate(replace(corpora, second=other), tmp_path / "out", QUICK, silent())
    assert not (tmp_path / "out").exists()


def test_something_must_be_held_out(corpora: Corpora, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is held out"):
        ablate(replace(corpora, held_out={}), tmp_path, QUICK, silent())
    held_out = {"macro mean": corpora.first}
    with pytest.raises(InputError, match="write another NAME"):
        ablate(replace(corpora, held_out=held_out), tmp_path, QUICK, silent())


@pytest.mark.slow
def test_controls_that_must_lose_are_found_and_a_corpus_of_the_same_kind_ties(
    corpora: Corpora, tmp_path: Path
) -> None:
    """at this size seeds make a difference of .003, both corruptions one of .03 (25 s of CPU)."""
    settings = TrainSettings(
        steps=90,
        context=32,
        batch=16,
        layers=1,
        width=32,
        heads=2,
        learning_rate=1e-2,
        warmup=9,
        device="cpu",
    )
    alike = replace(corpora, second=shards(tmp_path / "alike", chain(5, 800)))
    protocol = Protocol(settings, margin=0.02, corruptions=CORRUPTIONS)
    said = told(ablate(alike, tmp_path / "output", protocol, silent()))
    seen = {control["name"]: control["seen"] for control in said["controls"]}
    assert seen == {AGAIN: "no difference", "duplicates": "worse", "shuffled words": "worse"}
    assert all(one["ratio"] > 6 for one in said["controls"] if one["name"] != AGAIN)
    assert said["answer"] == "tie", said["sentence"]
    assert said["sentence"].startswith("no difference beyond 0.0")
    assert 0.8 < said["worth"]["share"] < 1.2

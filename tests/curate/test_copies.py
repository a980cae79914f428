"""What a survey decided, decided again for other documents: a real run never contradicts it."""

import json
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate import decided, recipe
from curate.decide import decide
from curate.fates import Decision
from curate.run import Job, run
from curate.sketches import sketches
from curate.stored import stored
from tests.chaos.zygote import Quiet
from tests.verdicts import verdicts

HEAD = "name: first\nstages:\n  - html.Extract\n"
NEAR = "  - minhash.MinHash\n"
EXACT = "  - exact.Exact\n"


def words(low: int, high: int) -> str:
    return f"  - filter: [gopher.word_count: {{low: {low}, high: {high}}}]\n"


def done(folder: Path, name: str, text: str) -> Path:
    inputs = [str(folder / f"in-{part}.jsonl") for part in range(2)]
    job = Job(text, "t.yaml", inputs, folder / name, workers=0)
    run(job, Quiet())
    return folder / name


def documents(folder: Path, texts: list[str]) -> None:
    lines = [json.dumps({"text": text}) for text in texts]
    for part in range(2):
        (folder / f"in-{part}.jsonl").write_text("\n".join(lines[part::2]))


def contradicted(first: Path, real: Path, text: str, output: Path) -> tuple[int, int]:
    """How many documents are decided, and how many of those otherwise than by a real run."""
    decision = decide(stored(first), recipe.parse(text, "other.yaml"))
    decided.write(decision, output)
    truth = verdicts(real)
    known, wrong = 0, 0
    for row in pq.read_table(output / "verdicts.parquet").to_pylist():
        told, said = truth[row["id"]], (row["after"], row["value"], row["bound"])
        if row["missing"] is None:
            known += 1
            wrong += told != said
        elif row["after"] is not None:  # dropped for certain, by this or an earlier reason
            known += 1
            wrong += told[0] is None
    return known, wrong


def without_work(folder: Path) -> Path:
    """The same run after its work folder was deleted."""
    target = folder.with_name(f"{folder.name}-alone")
    shutil.copytree(folder, target, ignore=lambda *_: {"work"})
    return target


def sequence(start: int, end: int) -> str:
    return " ".join(f"word{number}" for number in range(1000 + start, 1000 + end))


def fates(first: Path, text: str) -> tuple[Decision, list[str | None]]:
    """The decision, and what it says of the documents from the longest to the shortest."""
    decision = decide(stored(first), recipe.parse(text, "other.yaml"))
    names = [*decision.fates.reasons, None]
    sizes = dict(zip(decision.run.ids().to_pylist(), range(decision.run.count), strict=True))
    by_size: dict[int, str | None] = {}
    for folder in ("documents", "dropped"):
        for path in (first / folder).iterdir():
            for row in pq.read_table(path).to_pylist():
                place = sizes[row["id"]]
                unknown = bool(decision.fates.undecided[place])
                told = "undecided" if unknown else names[decision.fates.reason[place]]
                by_size[int(row["gopher.word_count"])] = told
    return decision, [by_size[size] for size in sorted(by_size, reverse=True)]


def test_whom_a_newcomer_displaces_is_not_known(tmp_path):
    documents(tmp_path, [sequence(0, 305), sequence(0, 300), sequence(500, 780)])
    texts = [HEAD + words(5, high) + NEAR for high in (302, 310)]
    first, real = (done(tmp_path, name, text) for name, text in zip("ab", texts, strict=True))
    assert contradicted(first, real, texts[1], tmp_path / "d") == (0, 0)
    assert contradicted(without_work(first), real, texts[1], tmp_path / "d") == (0, 0)
    decision, _ = fates(first, texts[1])
    whys = {missing.why for missing, _ in decision.missing()}
    assert "it did not compare 1 documents in the first run that reach it now" in whys
    # The other way round the one that is gone stood for another, which is there again.
    assert contradicted(real, first, texts[0], tmp_path / "d") == (3, 0)
    assert contradicted(without_work(real), first, texts[0], tmp_path / "d") == (1, 0)


def test_a_copy_that_comes_back_displaces_others(tmp_path):
    far = sequence(700, 960)
    twins = [sequence(0, 400), sequence(40, 430), sequence(80, 460)]
    documents(tmp_path, [*twins, far])
    survey = "  - minhash.MinHash: {bands: 60, rows: 3, similarity: 0.77}\n"
    texts = [HEAD + words(5, high) + survey for high in (500, 395)]
    first, real = (done(tmp_path, name, text) for name, text in zip("ab", texts, strict=True))
    assert fates(first, texts[0])[1] == [None, "minhash.duplicate", None, None]
    after = ["gopher.word_count", None, "minhash.duplicate", None]
    assert fates(first, texts[1])[1] == after
    assert contradicted(first, real, texts[1], tmp_path / "d") == (4, 0)
    alone, told = fates(without_work(first), texts[1])
    assert told == ["gopher.word_count", *["undecided"] * 3]
    ((missing, _),) = alone.missing()
    assert missing.advice == "this needs a run, or the first run's work/, which is not there"


def test_a_copy_of_the_same_text_stays_one_whoever_comes_to_it(tmp_path):
    documents(tmp_path, [sequence(0, 300)] * 3 + [sequence(0, 290), sequence(0, 305)])
    texts = [HEAD + words(5, high) + EXACT for high in (302, 310)]
    first, real = (done(tmp_path, name, text) for name, text in zip("ab", texts, strict=True))
    for folder in (first, without_work(first)):
        assert contradicted(folder, real, texts[1], tmp_path / "d") == (2, 0)
        assert decide(stored(folder), recipe.parse(texts[1], "o.yaml")).uncertain_reasons() == 2
        assert contradicted(folder, first, texts[0], tmp_path / "d") == (5, 0)


def test_how_many_copies_there_were_is_not_how_many_there_are(tmp_path):
    documents(tmp_path, [sequence(0, 300), sequence(0, 290), sequence(400, 650)])
    best = f"{words(5, 999)}  - best.Best: {{column: cluster_size, share: 0.5}}\n"
    texts = [HEAD + words(low, 999) + NEAR + best for low in (5, 295)]
    # A run loads kernels on a batch that no survey has seen; they are loaded by another column.
    done(tmp_path, "warm", texts[0].replace("cluster_size", "gopher.word_count"))
    first, real = (done(tmp_path, name, text) for name, text in zip("ab", texts, strict=True))
    assert contradicted(first, first, texts[0], tmp_path / "d") == (3, 0)
    assert contradicted(first, real, texts[1], tmp_path / "d") == (2, 0)
    decision = decide(stored(first), recipe.parse(texts[1], "o.yaml"))
    assert decision.notes == ["minhash.MinHash: cluster_size is still that of the first run"]


def test_tables_of_other_settings_or_of_another_run_in_the_same_folder_are_not_taken(tmp_path):
    documents(tmp_path, [sequence(0, 300), sequence(0, 290), sequence(400, 650)])
    near, far = (f"  - minhash.MinHash: {{bands: {bands}}}\n" for bands in (20, 14))
    done(tmp_path, "a", HEAD + words(5, 999) + near)
    first = done(tmp_path, "a", HEAD + words(5, 999) + far)
    run_ = stored(first)
    found = sketches(run_, 3)
    assert found is not None
    assert sorted(len(rows) for rows in found.rows) == [1, 2]
    tables = list((first / "work" / "pieces").glob("*/survey-0.parquet"))
    assert len(tables) == 4
    found.paths[0].write_bytes(b"PAR1")
    assert sketches(run_, 3) is None


# Random corpora with many twins, and random pairs of recipes


def corpus(rng: random.Random) -> list[str]:
    """Texts in families: twins, some exact, some with other cases, cut off or edited."""
    vocabulary = [["the", "of", "and", "to"][i % 4] if i % 9 == 0 else f"w{i}" for i in range(99)]
    texts = []
    for _ in range(rng.randrange(5, 25)):
        base = [rng.choice(vocabulary) + str(rng.randrange(99)) for _ in range(rng.choice([8, 60]))]
        base += rng.choices(vocabulary, k=rng.randrange(20))
        for _ in range(rng.choice([1, 2, 3, 6])):
            rate = rng.choice([0, 0, 0.02, 0.05, 0.1])
            own = [str(rng.random()) if rng.random() < rate else word for word in base]
            own = own[rng.choice([0, 0, 3]) : rng.choice([99, 99, 50])]
            text = " ".join(own + rng.choices(vocabulary, k=rng.choice([0, 0, 1, 4])))
            texts.append(rng.choice([text, text, text.upper(), text.replace(" ", "\n")]))
            base = rng.choice([base, own])  # chains: each resembles the one before
    return texts


def pair(rng: random.Random) -> tuple[str, str]:
    """Two recipes that differ in bounds, with the same surveys."""
    survey = [
        *("  - exact.Exact\n", "  - exact.Exact: {normalise: words, keep: first}\n"),
        *("  - minhash.MinHash\n", "  - minhash.MinHash: {bands: 30, rows: 3, similarity: 0.6}\n"),
        "  - minhash.MinHash: {bands: 20, rows: 4, verify: none, ngram: 3}\n",
        "  - minhash.MinHash: {bands: 40, rows: 2, verify: sketch, similarity: 0.5, ngram: 2}\n",
        "  - contained.Contained: {ngram: 2, share: 0.7, scale: 2}\n",
    ]
    bounds = [
        lambda: words(rng.choice([0, 9, 40, 55]), rng.choice([62, 66, 70, 99])),
        lambda: f"  - filter: [gopher.mean_word_length: {{low: {rng.choice([0, 4.2, 4.5])}}}]\n",
        lambda: f"  - filter: [gopher.stop_words: {{low: {rng.choice([0, 1, 2])}}}]\n",
        lambda: f"  - c4.Lines: {{min_sentences: 0, min_words: 1, policy: {_bool(rng)}}}\n",
    ]
    shape = [rng.choice(bounds[:3]) if rng.random() < 0.5 else rng.choice(survey) for _ in "12345"]
    shape = [rng.choice(bounds[:3]), *shape, rng.choice(survey)]
    if rng.random() < 0.1:
        shape.insert(1, bounds[3])
    texts = [HEAD + "".join(one if isinstance(one, str) else one() for one in shape) for _ in "12"]
    if rng.random() < 0.2:  # one that was not measured
        place = texts[1].index("  - filter")
        more = "  - filter: [gopher.hash_ratio: {high: 0.1}, gopher.bullet_lines]\n"
        texts[1] = texts[1][:place] + more + texts[1][place:]
    return texts[0], texts[1]


def _bool(rng: random.Random) -> str:
    return rng.choice(["true", "false"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_decided_of_copies_is_what_a_real_run_does(tmp_path, seed):
    compared(tmp_path, seed)


def compared(folder: Path, seed: int) -> tuple[int, int]:
    """How many documents there are, twice with the tables and without, and how many are decided."""
    rng = random.Random(seed)
    documents(folder, corpus(rng))
    texts = pair(rng)
    if rng.random() < 0.3:  # what an earlier run has left in the folder
        done(folder, "a", texts[1])
    runs = [done(folder, name, text) for name, text in zip("ab", texts, strict=True)]
    seen, known = 0, 0
    for one, other in ((0, 1), (1, 0)):
        for first in (runs[one], without_work(runs[one])):
            count, wrong = contradicted(first, runs[other], texts[other], folder / "d")
            assert wrong == 0, (seed, first.name, texts[one], texts[other])
            seen, known = seen + len(verdicts(runs[other])), known + count
    return seen, known

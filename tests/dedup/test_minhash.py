"""Near-duplicates end to end: laws on small texts, the S-curve and verification on real ones."""

import gzip
import hashlib
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash as DatasketchMinHash
from datasketch import MinHashLSH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.dedup.leaders import similarity
from curate.dedup.minhash import PRESETS, MinHash
from curate.errors import RecipeError
from curate.survey import Survey, decided

REAL = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="megabytes of text need compiled code"
)


def identity(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def surveyed(stage, rows):
    ids = pa.array([identity(number) for number, _ in rows], pa.binary(16))
    texts = pa.array([text for _, text in rows], pa.string())
    return stage.survey(pa.RecordBatch.from_arrays([ids, texts], ["id", "text"]))


def decide(stage, folder, *shards, gone=(), memory=1 << 30):
    """What is decided about shards of (number, text)."""
    paths = [folder / f"{i}.parquet" for i in range(len(shards))]
    for path, rows in zip(paths, shards, strict=True):
        pq.write_table(surveyed(stage, rows), path)
    masks = [np.array([number in gone for number, _ in rows], np.bool_) for rows in shards]
    texts = [folder / f"{i}-texts.parquet" for i in range(len(shards))]
    for path, rows in zip(texts, shards, strict=True):
        pq.write_table(pa.table({"text": pa.array([text for _, text in rows], pa.string())}), path)
    return [table.to_pylist() for table in decided(stage, paths, masks, texts, memory)]


def words(first, count):
    return " ".join(f"w{i}" for i in range(first, first + count))


def shingles(text):
    return frozenset(zip(*(text.split()[i:] for i in range(5)), strict=False))


def jaccard(left, right):
    return len(left & right) / len(left | right) if left | right else 0.0


def curve(similarities, bands=14, rows=8):
    return 1 - (1 - similarities**rows) ** bands


def keys(table):
    """The band keys of all documents, one row each; 0 without a signature."""
    names = [name for name in table.column_names if name.startswith("band_")]
    return np.stack([table.column(name).fill_null(0).to_numpy() for name in names], axis=1)


def checks(table):
    """The checks of all documents, one row each; 0 without a signature."""
    raw = [row or bytes(256) for row in table.column("checks").to_pylist()]
    return np.frombuffer(b"".join(raw), np.uint64).reshape(-1, 32)


def test_minhash_is_a_survey():
    assert isinstance(MinHash(), Survey)


WRONG = [{"bands": 0}, {"rows": -1}, {"ngram": 0}, {"similarity": 70}, {"preset": "finweb"}]
WRONG += [{"preset": "dclm", "bands": 14}, {"threshold": 0.8, "rows": 1}, {"threshold": 1.5}]
WRONG += [{"preset": "dclm", "threshold": 0.8}, {"measure": "containment", "verify": "sketch"}]
WRONG += [{"threshold": 0.8, "hashes": 65_536}]
WRONG += [{"scheme": "datasketch", "preset": "nemo"}]
TOO_MUCH = [{"bands": 8193}, {"rows": 10**9}, {"ngram": 1001}]


@pytest.mark.parametrize("settings", [*WRONG, *TOO_MUCH])
def test_settings_that_cannot_work_say_what_would(settings):
    with pytest.raises(RecipeError, match=next(iter(settings))):
        MinHash(**settings)


def test_the_longest_stays_and_the_others_say_so(tmp_path):
    short, long = words(0, 100), words(0, 110)
    one, two = decide(MinHash(), tmp_path, [(1, short), (2, words(500, 50))], [(3, long)])
    assert one[0]["dropped_by"] == "minhash.duplicate"
    assert one[0]["duplicate_of"] == identity(3)
    assert one[0]["value"] == pytest.approx(96 / 106, abs=0.05)
    assert one[0]["bound"] == 0.7
    assert one[0]["cluster_size"] is None
    nothing = {"dropped_by": None, "value": None, "bound": None, "duplicate_of": None}
    assert one[1] == {**nothing, "cluster_size": 1}
    assert two[0] == {**nothing, "cluster_size": 2}


def test_the_first_is_the_smallest_id(tmp_path):
    rows = [(i, words(0, 100)) for i in range(5)]
    smallest = min(identity(i) for i in range(5))
    for keep in ("first", "longest"):
        (table,) = decide(MinHash(keep=keep), tmp_path, rows)
        assert {row["duplicate_of"] for row in table} == {smallest, None}


def test_case_punctuation_and_spaces_make_no_difference(tmp_path):
    text = "The quick brown fox jumps over the lazy dog."
    rows = [(1, text), (2, text.upper().replace(" ", " -- \n"))]
    (table,) = decide(MinHash(), tmp_path, rows)
    assert [row["value"] for row in table if row["dropped_by"]] == [1.0]


def test_short_and_empty_documents_are_nobodys_duplicate(tmp_path):
    rows = [(1, ""), (2, ""), (3, "one two three four"), (4, "one two three four"), (5, None)]
    (table,) = decide(MinHash(), tmp_path, rows)
    assert [row["cluster_size"] for row in table] == [1] * 5


@pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="a million words need compiled code"
)
@pytest.mark.parametrize("preset", ["fineweb", "refinedweb"])
def test_a_word_said_a_million_times_costs_no_more_than_others(preset, tmp_path):
    rows = [(1, "a " * 1_000_000), (2, "a " * 900_000), (3, "a b " * 300_000)]
    (table,) = decide(MinHash(preset=preset), tmp_path, rows)
    assert sorted(row["cluster_size"] or 0 for row in table) == [0, 1, 2]


def test_documents_that_are_gone_neither_stay_nor_count(tmp_path):
    rows = [(1, words(0, 120)), (2, words(0, 115)), (3, words(0, 110))]
    (table,) = decide(MinHash(), tmp_path, rows, gone={1})
    assert [row["duplicate_of"] for row in table] == [None, None, identity(2)]
    assert [row["cluster_size"] for row in table] == [None, 2, None]


def test_no_shards_and_empty_shards_have_empty_decisions(tmp_path):
    for stage in (MinHash(), MinHash(verify="none")):
        assert decide(stage, tmp_path) == []
        assert decide(stage, tmp_path, [], [(1, "a")])[0] == []


@pytest.mark.parametrize("verify", ["text", "sketch", "none"])
def test_only_verification_stops_a_chain(verify, tmp_path):
    # Neighbours share 90 % of their shingles; the ends share none.
    rows = [(i, words(10 * i, 200)) for i in range(25)]
    (table,) = decide(MinHash(verify=verify), tmp_path, rows)
    stays = [row["cluster_size"] for row in table if not row["dropped_by"]]
    assert sum(stays) == 25
    if verify == "none":
        assert stays == [25]
        return
    texts = {identity(number): shingles(text) for number, text in rows}
    for (_, text), row in zip(rows, table, strict=True):
        if row["dropped_by"]:
            true = jaccard(shingles(text), texts[row["duplicate_of"]])
            assert row["value"] == true >= 0.7 if verify == "text" else true > 0.6


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_finds_a_copy_and_no_stranger(preset, tmp_path):
    rows = [(1, words(0, 60)), (2, words(0, 60)), (3, words(900, 60).replace("w", "q"))]
    (table,) = decide(MinHash(preset=preset), tmp_path, rows)
    assert sorted(row["cluster_size"] or 0 for row in table) == [0, 1, 2]


families = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=14
)


def corpus(families):
    """Texts that are pieces of a few sources: copies, overlaps and strangers."""
    return [
        (i, words(1000 * source + 2 * head, 40 - 2 * head - 2 * tail))
        for i, (source, head, tail) in enumerate(families)
    ]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
@given(
    families,
    st.permutations(range(14)),
    st.tuples(st.integers(0, 14), st.integers(0, 14), st.sampled_from([1 << 30, 4096, 64])),
    st.sampled_from(
        [
            MinHash(),
            MinHash(verify="none"),
            MinHash(verify="sketch"),
            MinHash(keep="first", bands=30, rows=3),
            MinHash(measure="containment", similarity=0.9),
        ]
    ),
)
def test_order_sharding_and_memory_change_nothing(tmp_path, families, order, cuts, stage):
    rows = corpus(families)
    (whole,) = decide(stage, tmp_path, rows)
    moved = [rows[i] for i in order if i < len(rows)]
    low, high = sorted(cuts[:2])
    shards = moved[:low], moved[low:high], moved[high:]
    parts = decide(stage, tmp_path, *shards, memory=cuts[2])
    found = {n: row for (n, _), row in zip(moved, [r for p in parts for r in p], strict=True)}
    assert [found[number] for number, _ in rows] == whole


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
@given(families, st.sampled_from([0.5, 0.7, 0.9]), st.sampled_from(["text", "sketch", "none"]))
def test_twice_equals_once_and_every_duplicate_has_one_that_stays(
    tmp_path, families, similarity, verify
):
    rows = corpus(families)
    stage = MinHash(verify=verify, similarity=similarity, bands=30, rows=3)
    (table,) = decide(stage, tmp_path, rows)
    stays = [pair for pair, row in zip(rows, table, strict=True) if not row["dropped_by"]]
    assert {row["duplicate_of"] for row in table} - {None} <= {identity(n) for n, _ in stays}
    assert sum(row["cluster_size"] or 0 for row in table) == len(rows)
    (again,) = decide(stage, tmp_path, stays)
    assert not any(row["dropped_by"] for row in again)


def read_neardup(folder, name):
    """Documents, and the pairs of them whose similarity is at least .3."""
    with gzip.open(folder / "neardup" / f"{name}.docs.jsonl.gz", "rt", encoding="utf-8") as file:
        documents = [json.loads(line) for line in file]
    place = {document["id"]: i for i, document in enumerate(documents)}
    with gzip.open(folder / "neardup" / f"{name}.pairs.tsv.gz", "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t") for line in file]
    left, right = (np.array([place[pair[k]] for pair in pairs]) for k in (0, 1))
    return [document["text"] for document in documents], left, right


@pytest.fixture(scope="module", params=["docver", "web"])
def real(request, shared, plain):
    texts, left, right = read_neardup(shared, request.param)
    sets = [frozenset(plain.shingles(text)) for text in texts]
    exact = np.array([jaccard(sets[i], sets[j]) for i, j in zip(left, right, strict=True)])
    return texts, sets, left, right, exact


@REAL
def test_candidates_of_real_pages_follow_the_s_curve(real):
    texts, _, left, right, exact = real
    rows = list(enumerate(texts))
    found = np.mean(
        [
            ((bands[left] == bands[right]) & (bands[left] != 0)).any(axis=1)
            for seed in range(1, 6)
            for bands in [keys(surveyed(MinHash(seed=seed), rows))]
        ],
        axis=0,
    )
    for low, high, error in ((0.3, 0.5, 0.02), (0.5, 0.7, 0.1), (0.7, 0.8, 0.15), (0.8, 1.1, 0.03)):
        these = (exact >= low) & (exact < high)
        # Pages of one family agree or differ together, so that the middle spreads.
        assert abs(found[these].mean() - curve(exact[these]).mean()) < error


@REAL
def test_similarities_of_real_pages_are_estimated_within_the_stated_error(real):
    texts, _, left, right, exact = real
    sketch = checks(surveyed(MinHash(), list(enumerate(texts))))
    found = np.array([similarity(sketch, i, j) for i, j in zip(left, right, strict=True)])
    theory = np.sqrt(np.mean(exact * (1 - exact)) / 512)
    assert np.sqrt(np.mean((found - exact) ** 2)) < 1.25 * theory


@REAL
def test_what_goes_resembles_what_stays_on_real_pages(real, tmp_path):
    texts, sets, left, right, exact = real
    (table,) = decide(MinHash(), tmp_path, list(enumerate(texts)))
    place = {identity(i): i for i in range(len(texts))}
    gone = {i: place[row["duplicate_of"]] for i, row in enumerate(table) if row["dropped_by"]}
    true = [jaccard(sets[i], sets[j]) for i, j in gone.items()]
    assert [table[i]["value"] for i in gone] == true
    assert min(true) >= 0.7
    # Of pairs that are alike beyond doubt hardly one stays whole.
    missed = [i not in gone and j not in gone for i, j in zip(left, right, strict=True)]
    assert np.mean(np.array(missed)[exact >= 0.85]) < 0.01


def datasketch_candidates(sets, left, right, seed):
    """Which pairs datasketch's index finds."""
    index = MinHashLSH(num_perm=112, params=(14, 8))
    signatures = {}
    for i in {*left.tolist(), *right.tolist()}:
        signatures[i] = DatasketchMinHash(num_perm=112, seed=seed)
        signatures[i].update_batch([" ".join(shingle).encode() for shingle in sets[i]])
        index.insert(i, signatures[i])
    found = {i: set(index.query(signature)) for i, signature in signatures.items()}
    return np.array([j in found[i] for i, j in zip(left, right, strict=True)])


@REAL
def test_as_many_pairs_are_found_as_datasketch_finds(shared, plain):
    texts, left, right = read_neardup(shared, "web")
    sets = [plain.shingles(text) for text in texts]
    theirs, ours = [], []
    for seed in range(1, 9):
        theirs.append(datasketch_candidates(sets, left, right, seed).mean())
        bands = keys(surveyed(MinHash(seed=seed), list(enumerate(texts))))
        ours.append((bands[left] == bands[right]).any(axis=1).mean())
    # One family of pages makes up half of the pairs, so that single seeds differ by a quarter.
    spread = np.sqrt((np.var(theirs) + np.var(ours)) / 8)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * spread
    assert spread < 0.05

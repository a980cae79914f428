"""Repeated substrings against a dictionary of all windows, and laws of what is cut."""

import json
import os
import re
from collections import defaultdict
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.column import View, frozen
from curate.dedup import runs, windows
from curate.dedup.substrings import LITTLE_LEFT, REASON, Substrings
from curate.errors import ModelError, RecipeError, ShardError
from curate.survey import Means, Survey, decided
from tokenizer.vocabulary import Vocabulary

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
SCRATCH = [HealthCheck.function_scoped_fixture]


def identity(number):
    return number.to_bytes(16, "big")


def batch_of(rows):
    ids = pa.array([identity(number) for number, _ in rows], pa.binary(16))
    texts = pa.array([text for _, text in rows], pa.string())
    return pa.RecordBatch.from_arrays([ids, texts], ["id", "text"])


def decide(stage, folder, *shards, gone=(), memory=1 << 20, group=1000):
    """What is decided about shards of (number, text)."""
    surveys, texts = [], []
    for i, rows in enumerate(shards):
        batch = batch_of(rows)
        surveys.append(folder / f"survey-{i}.parquet")
        texts.append(folder / f"text-{i}.parquet")
        pq.write_table(stage.survey(batch), surveys[-1], row_group_size=group)
        pq.write_table(pa.Table.from_batches([batch]), texts[-1], row_group_size=group)
    masks = [np.array([number in gone for number, _ in rows], np.bool_) for rows in shards]
    return [t.to_pylist() for t in decided(stage, surveys, masks, texts, memory)]


# The oracle


def units_of(text, unit):
    """Every unit and its place in the text's bytes."""
    raw = text.encode()
    if unit == "bytes":
        return [(byte, (at, at + 1)) for at, byte in enumerate(raw)]
    found = [(match.group(), match.span()) for match in re.finditer(r"\S+", text)]
    places = np.cumsum([0, *(len(character.encode()) for character in text)]).tolist()
    return [(word, (places[start], places[end])) for word, (start, end) in found]


def whole(raw, start, end):
    """The span without the characters that it cuts in two."""
    while start < end and raw[start] & 0xC0 == 0x80:
        start += 1
    while start < end < len(raw) and raw[end] & 0xC0 == 0x80:
        end -= 1
    return start, end


def plain(stage, rows):
    """What each of these documents loses: a dictionary of all windows of the corpus."""
    cut = {number: units_of(text or "", stage.unit) for number, text in rows}
    seen = defaultdict(list)
    for number, units in sorted(cut.items()):
        for at in range(len(units) - stage.length + 1):
            seen[tuple(unit for unit, _ in units[at : at + stage.length])].append((number, at))
    covered = {number: set() for number in cut}
    for places in seen.values():
        if len(places) > 1:
            for number, at in places[stage.keep == "first" :]:
                covered[number].update(range(at, at + stage.length))
    return {
        number: verdict(stage, dict(rows)[number], cut[number], covered[number]) for number in cut
    }


def verdict(stage, text, units, covered):
    raw, spans = (text or "").encode(), []
    for at in sorted(covered):
        if at - 1 in covered:
            spans[-1][1] = units[at][1][1]
        else:
            spans.append([*units[at][1]])
    if stage.unit == "bytes":
        spans = [whole(raw, *span) for span in spans]
    spans = [span for span in spans if span[0] < span[1]]
    size = sum(end - start for start, end in spans)
    left = len(units) - (size if stage.unit == "bytes" else len(covered))
    row = dict.fromkeys(["dropped_by", "value", "bound", "cut_by"]) | {"cuts": []}
    if size and left < stage.min_left:
        drop = {"dropped_by": LITTLE_LEFT, "value": left, "bound": stage.min_left}
        return row | drop | {"bytes_cut": None}
    cuts = [place for span in spans for place in span]
    return row | {"cuts": cuts, "cut_by": REASON if size else None, "bytes_cut": size}


def sharded(rows, order, cuts):
    """The rows in another order, in shards."""
    moved = [rows[i] for i in order if i < len(rows)]
    ends = [0, *sorted(cuts), len(moved)]
    return [moved[start:end] for start, end in pairwise(ends)]


# Whole windows and parts of them, of which some recur in other company.
PHRASES = ["a b c d e f g h i ", "j k l m n o p q ", "c d e f g h ", "a a a a a a ", "é中 r ", "s "]
PHRASED = st.lists(st.sampled_from(PHRASES), max_size=8).map("".join)
LETTERS = st.text(st.sampled_from("ab"), max_size=40)
WORDS = st.text(st.sampled_from("ab \n"), max_size=60)
WIDE = st.text(st.sampled_from("aé中𝒜\u3000 "), max_size=25)
STAGES = st.one_of(
    st.builds(
        Substrings,
        length=st.integers(1, 7),
        unit=st.just("words"),
        keep=st.sampled_from(["none", "first"]),
        min_left=st.integers(0, 3),
    ),
    st.builds(
        Substrings,
        length=st.integers(7, 12),
        unit=st.just("bytes"),
        keep=st.sampled_from(["none", "first"]),
        min_left=st.integers(0, 3),
    ),
)
EXAMPLES = 5 if JIT_OFF else 60


@settings(suppress_health_check=SCRATCH, max_examples=EXAMPLES, deadline=None)
@given(
    STAGES,
    st.lists(st.one_of(PHRASED, PHRASED, LETTERS, WORDS, WIDE), max_size=8),
    st.permutations(range(8)),
    st.lists(st.integers(0, 8), max_size=2),
    st.sampled_from([800, 4000, 1 << 20]),
    st.integers(1, 3),
)
def test_what_is_cut_is_what_a_dictionary_of_all_windows_says(  # noqa: PLR0913  # a whole run
    tmp_path, stage, texts, order, cuts, memory, group
):
    rows = list(enumerate(texts))
    shards = sharded(rows, order, cuts)
    tables = decide(stage, tmp_path, *shards, memory=memory, group=group)
    found = {
        number: row
        for shard, table in zip(shards, tables, strict=True)
        for (number, _), row in zip(shard, table, strict=True)
    }
    assert found == plain(stage, rows)


def test_substrings_is_a_survey():
    assert isinstance(Substrings(), Survey)


WRONG = [
    {"length": 0},
    {"length": 6, "unit": "bytes"},
    {"length": 10**7},
    {"min_left": -1},
    {"unit": "tokens"},
    {"tokenizer": "gpt2.json"},
]


@pytest.mark.parametrize("given", WRONG)
def test_settings_that_cannot_work_say_what_would(given):
    with pytest.raises(RecipeError, match=next(iter(given))):
        Substrings(**given)


FOOT = "all rights reserved by us"


def test_every_copy_goes_or_all_but_the_first(tmp_path):
    shards = [(2, f"one {FOOT} two"), (3, FOOT)], [(1, f"three\n{FOOT}")]
    two, three, one = chain(*decide(Substrings(length=5, keep="none"), tmp_path, *shards))
    assert [two["cuts"], two["cut_by"], two["bytes_cut"]] == [[4, 29], REASON, 25]
    assert one["cuts"] == [6, 31]
    assert [three["dropped_by"], three["value"], three["bound"]] == [LITTLE_LEFT, 0, 1]
    assert [three["cuts"], three["cut_by"], three["bytes_cut"]] == [[], None, None]
    two, three, one = chain(*decide(Substrings(length=5, keep="first"), tmp_path, *shards))
    assert [one["cuts"], two["cuts"], three["cuts"]] == [[], [4, 29], []]


def test_documents_that_are_gone_are_no_copies(tmp_path):
    rows = [(1, FOOT), (2, FOOT), (3, "other")]
    (table,) = decide(Substrings(length=5, keep="none"), tmp_path, rows, gone={1})
    assert [row["cuts"] for row in table] == [[], [], []]
    (table,) = decide(
        Substrings(length=5, keep="none", min_left=0), tmp_path, [*rows, (4, FOOT)], gone={1}
    )
    assert [row["cuts"] for row in table] == [[], [0, 25], [], [0, 25]]


@pytest.mark.parametrize("unit", ["words", "bytes"])
def test_empty_short_and_no_documents_lose_nothing(unit, tmp_path):
    stage = Substrings(length=9, unit=unit, keep="none")
    assert decide(stage, tmp_path) == []
    nothing, some = decide(
        stage, tmp_path, [], [(1, ""), (2, None), (3, " \n"), (4, "a b"), (5, "a b")]
    )
    assert nothing == []
    assert [row["cuts"] for row in some] == [[]] * 5
    assert not any(row["dropped_by"] for row in some)


@pytest.mark.parametrize(("keep", "cuts"), [("none", [0, 30]), ("first", [3, 30])])
def test_what_overlaps_itself_goes_down_to_its_period(keep, cuts, tmp_path):
    stage = Substrings(length=9, unit="bytes", keep=keep, min_left=0)
    (table,) = decide(stage, tmp_path, [(1, "abc" * 10)])
    assert table[0]["cuts"] == cuts


def test_no_character_is_cut_in_two(tmp_path):
    # é and è share their first byte, ê and ê... their last: eight bytes recur, six are whole.
    rows = [(1, "xéaaaaaaéy"), (2, "zèaaaaaaèw")]
    (table,) = decide(Substrings(length=7, unit="bytes", keep="none"), tmp_path, rows)
    assert [row["cuts"] for row in table] == [[3, 9], [3, 9]]


@settings(suppress_health_check=SCRATCH, max_examples=EXAMPLES, deadline=None)
@given(STAGES, st.lists(st.one_of(PHRASED, PHRASED, LETTERS, WORDS, WIDE), max_size=6))
def test_what_is_left_between_cuts_is_not_cut_again(tmp_path, stage, texts):
    stage = Substrings(stage.length, stage.unit, stage.keep, min_left=0)
    (table,) = decide(stage, tmp_path, [*enumerate(texts)])
    pieces = []
    for text, row in zip(texts, table, strict=True):
        raw, ends = text.encode(), [0, *row["cuts"], len(text.encode())]
        pieces += [
            raw[start:end].decode() for start, end in zip(ends[::2], ends[1::2], strict=True)
        ]
    (again,) = decide(stage, tmp_path, [*enumerate(pieces)])
    assert [row["cuts"] for row in again] == [[]] * len(pieces)
    if stage.keep == "first" and stage.unit == "words":  # no word is lost
        assert {*" ".join(texts).split()} == {*" ".join(pieces).split()}


def test_texts_that_were_not_surveyed_are_refused(tmp_path):
    stage = Substrings(length=2, keep="none")
    for name, text in [("survey", "a b a b"), ("text", "a b c d e f")]:
        batch = pa.RecordBatch.from_arrays(
            [pa.array([b"i" * 16]), pa.array([text])], ["id", "text"]
        )
        table = stage.survey(batch) if name == "survey" else pa.Table.from_batches([batch])
        pq.write_table(table, tmp_path / name)
    with pytest.raises(ShardError, match="not those that were surveyed"):
        decided(stage, [tmp_path / "survey"], [np.zeros(1, np.bool_)], [tmp_path / "text"])


@pytest.mark.skipif(JIT_OFF, reason="a megabyte of one letter needs compiled code")
@pytest.mark.parametrize("keep", ["none", "first"])
def test_a_megabyte_of_one_letter_and_a_line_said_ten_thousand_times(keep, tmp_path):
    line = "this line is said again and again, by everyone and everywhere"
    rows = [(0, "a" * 1_000_000), *((i, f"{i}\n{line}") for i in range(1, 10_001))]
    stage = Substrings(length=40, unit="bytes", keep=keep, min_left=0)
    (table,) = decide(stage, tmp_path, rows, memory=1 << 22)
    first = keep == "first"
    assert table[0]["cuts"] == [int(first), 1_000_000]
    assert sum(row["bytes_cut"] >= len(line) for row in table[1:]) == 10_000 - first


# The kernels, on any bytes


def column_of(*rows):
    offsets = np.cumsum([0, *map(len, rows)])
    return View(frozen(np.frombuffer(b"".join(rows), np.uint8)), frozen(offsets.astype(np.int32)))


RAW = st.lists(
    st.one_of(st.binary(max_size=40), st.text("ab", max_size=40).map(str.encode)), max_size=4
)


def hashes_of(units, shape):
    """Both hashes of every window of every row, and its row and place."""
    lengths = np.diff(units.offsets)
    rows = np.flatnonzero(lengths >= shape.length).astype(np.int32)
    ends = (lengths[rows] - shape.length + 1).astype(np.int32)
    stretches = windows.Stretches(rows, np.zeros(len(rows), np.int32), ends)
    highs, lows = np.empty((2, int(ends.sum())), np.uint64)
    windows.window_hashes(units, shape, stretches, highs, lows)
    return highs.tolist(), lows.tolist(), stretches


@settings(max_examples=EXAMPLES, deadline=None)
@given(RAW, st.integers(1, 12))
def test_hashes_are_polynomials_modulo_a_prime(rows, length):
    shape, prime = windows.shape(length), 2**61 - 1
    highs, lows, _ = hashes_of(windows.byte_units(column_of(*rows)), shape)
    plain = []
    for base in shape.bases.tolist():
        plain.append(
            [
                sum((row[at + i] + 1) * pow(base, length - 1 - i, prime) for i in range(length))
                % prime
                for row in rows
                for at in range(len(row) - length + 1)
            ]
        )
    assert highs == [int(windows.scrambled(np.uint64(value))) for value in plain[0]]
    assert lows == plain[1]


@settings(max_examples=EXAMPLES, deadline=None)
@given(RAW, st.integers(1, 12))
def test_equal_windows_have_one_anchor_and_two_have_it_listed_twice(rows, length):
    shape = windows.shape(length)
    hashes, firsts, begins = windows.anchors(windows.byte_units(column_of(*rows)), shape)
    anchor, listed = {}, hashes.tolist()
    count = defaultdict(int)
    for row, raw in enumerate(rows):
        entry = begins[row]
        for at in range(len(raw) - length + 1):
            while entry + 1 < begins[row + 1] and firsts[entry + 1] <= at:
                entry += 1
            window = raw[at : at + length]
            assert anchor.setdefault(window, listed[entry]) == listed[entry]
            count[window] += 1
    assert all(listed.count(anchor[window]) >= 2 for window in count if count[window] > 1)


@settings(max_examples=EXAMPLES, deadline=None)
@given(RAW)
def test_words_of_any_bytes_are_what_white_space_separates(rows):
    units = windows.word_units(column_of(*rows))
    spaces = re.compile(
        b"(?:[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]"
        b"|\xe2\x81\x9f|\xe3\x80\x80)+"
    )
    words = [word for row in rows for word in spaces.split(row) if word]
    found = [
        row[units.starts[i] : units.ends[i]]
        for row, first, last in zip(rows, units.offsets, units.offsets[1:], strict=False)
        for i in range(first, last)
    ]
    assert found == words
    for hashes in (units.values[: len(words)].tolist(), units.others[: len(words)].tolist()):
        assert len(set(zip(hashes, words, strict=True))) == len(set(hashes)) == len(set(words))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_spans_are_shrunk_to_whole_characters_of_any_bytes(raw, start, end):
    start, end = min(start, end, len(raw)), min(max(start, end), len(raw))
    arrays = [np.array([value], np.int32) for value in (1, start, end)]
    spans = windows.Stretches(*arrays)
    windows.whole_characters(column_of(b"xyz", raw), spans)
    assert (spans.starts[0], spans.ends[0]) == whole(raw, start, end)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20), st.booleans())
def test_keys_that_share_a_half_are_told_apart(keys, cut):
    high, low = np.array(keys, np.uint64).reshape(-1, 2).T.copy()
    halves = [slice(0, len(keys) // 2), slice(len(keys) // 2, None)] if cut else [slice(0, None)]
    made = [runs.run_of(runs.Keys(high[half], low[half])) for half in halves if len(high[half])]
    if not made:
        return
    answers = runs.answered(np.concatenate([entries for entries, _ in made]))
    found, first = [], 0
    for entries, where in made:
        found += answers[first : first + len(entries)][where >> 1].tolist()
        first += len(entries)
    assert found == [int(keys.count(key) > 1) for key in keys]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=5), st.integers(1, 6))
def test_stretches_are_taken_piece_by_piece(given_, most):
    rows, counts = np.array(given_, np.int32).reshape(-1, 2).T.copy()
    left = windows.Stretches(rows, rows * 7, rows * 7 + counts)
    every = windows.places(left).tolist()
    found = []
    while len(left.rows):
        some, left = windows.taken(left, most)
        assert len(windows.places(some)) == most or not len(left.rows)
        found += windows.places(some).tolist()
    assert found == every


# Tokens


def test_tokens_are_cut_as_a_tokenizer_spells_them(tmp_path):
    kinds = [bytes([byte]) for byte in range(256)]
    merges = np.array([[97, 98, 256], [256, 99, 257]], np.int32)
    vocabulary = Vocabulary((*kinds, b"ab", b"abc"), merges, "gpt2")
    vocabulary.save(tmp_path)
    stage = Substrings(length=7, unit="tokens", keep="none", tokenizer=str(tmp_path))
    rows = [(1, "x" + "abc" * 7 + "é"), (2, "abc" * 7 + "è"), (3, "z" + "abc" * 3)]
    assert stage.survey(batch_of(rows)).column("units").to_pylist() == [10, 9, 4]
    (table,) = decide(stage, tmp_path, rows)
    assert [row["cuts"] for row in table] == [[1, 22], [0, 21], []]
    assert stage.files() == {str(tmp_path): tmp_path / "tokenizer.json"}


def test_a_tokenizer_that_normalises_is_refused(tmp_path):
    kinds = tuple(bytes([byte]) for byte in range(256))
    merges = np.zeros((0, 3), np.int32)
    Vocabulary(kinds, merges, "gpt2", normalization="NFC").save(tmp_path)
    stage = Substrings(unit="tokens", tokenizer=str(tmp_path))
    with pytest.raises(ModelError, match="normalises"):
        stage.survey(batch_of([(1, "a")]))


# Work that others do


def test_tasks_are_json_and_need_nothing_but_files(tmp_path):
    stage, folders = Substrings(length=3, keep="first"), iter(range(10_000))

    def run(same, method, tasks):
        results = []
        for task in json.loads(json.dumps(tasks)):
            folder = tmp_path / f"task-{next(folders)}"
            folder.mkdir()
            results.append(getattr(Substrings(length=3, keep="first"), method)(task, folder))
        return json.loads(json.dumps(results))

    batch = batch_of([(1, "a b c"), (2, "x a b c y")])
    pq.write_table(stage.survey(batch), tmp_path / "survey")
    pq.write_table(pa.Table.from_batches([batch]), tmp_path / "text")
    means = Means([tmp_path / "text"], tmp_path, 1000, run)
    (table,) = stage.decide([tmp_path / "survey"], [np.zeros(2, np.bool_)], means)
    assert table.column("cuts").to_pylist() == [[], [2, 7]]

"""Repeated lines, paragraphs and sentences: by hand, by laws, and against a plain twin."""

import gzip
import json
import os
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.column import View, frozen, view
from curate.dedup import repeats
from curate.dedup.lines import Lines
from curate.dedup.segments import UNITS, Rules, segments
from curate.errors import CurateError, RecipeError
from curate.sentences import sentence_count
from curate.survey import MEMORY, Survey, decided
from tests.dedup import units_twin as twin

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
COMPILED = pytest.mark.skipif(JIT_OFF, reason="megabytes of text need compiled code")
FEW = settings(
    max_examples=15 if JIT_OFF else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def identity(number):
    # In the order of the numbers, with something in every byte.
    return (number * (2**116 + 2**61 + 259)).to_bytes(16, "big")


def batch_of(rows):
    """A batch of (id, text) or (id, text, group)."""
    columns = {
        "id": pa.array([identity(row[0]) for row in rows], pa.binary(16)),
        "text": pa.array([row[1] for row in rows], pa.string()),
        "source": pa.array([row[2] if len(row) > 2 else "a" for row in rows], pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


def decide(stage, folder, *shards, gone=(), memory=MEMORY):
    """What is decided about shards of rows."""
    paths = [folder / f"{i}.parquet" for i in range(len(shards))]
    for path, rows in zip(paths, shards, strict=True):
        pq.write_table(stage.survey(batch_of(rows)), path)
    masks = [np.array([row[0] in gone for row in rows], np.bool_) for rows in shards]
    return [table.to_pylist() for table in decided(stage, paths, masks, memory=memory)]


def applied(text, row):
    """The text without what is cut out, "" where the document is dropped."""
    if row["dropped_by"]:
        assert row["cuts"] == [] and row["cut_by"] is None
        return ""
    cuts = row["cuts"]
    assert all(a < b for a, b in pairwise(cuts)), "sorted, disjoint, not empty"
    assert (row["cut_by"] is None) == (cuts == [])
    raw = (text or "").encode()
    ends = [0, *cuts, len(raw)]
    return b"".join(raw[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True)).decode()


def left(stage, folder, *rows, **options):
    """The texts of one shard after the decision."""
    (table,) = decide(stage, folder, list(rows), **options)
    return [applied(row[1], found) for row, found in zip(rows, table, strict=True)]


def texts_left(stage, folder, *texts):
    return left(stage, folder, *enumerate(texts))


# By hand


def test_lines_is_a_survey():
    assert isinstance(Lines(), Survey)


def test_the_line_with_the_smallest_id_stays(tmp_path):
    rows = [(7, "Home\nAbout us\nseven"), (2, "two\nhome")], [(3, "three\nHOME\n")]
    one, two = decide(Lines(), tmp_path, *rows)
    assert [row["cuts"] for row in one + two] == [[0, 5], [], [5, 10]]
    assert [row["cut_by"] for row in one + two] == ["lines.repeated", None, "lines.repeated"]
    assert [row["lines_cut"] for row in one + two] == [1, 0, 1]
    assert not any(row["dropped_by"] for row in one + two)


def test_ccnet_takes_every_copy_of_a_line_the_first_too(tmp_path):
    stage = Lines(normalise="ccnet", keep="none")
    texts = ["Page 1 of 9\nOne、 two.", "one two.\nPage 3 of 8", "Own。"]
    assert texts_left(stage, tmp_path, *texts) == ["", "", "Own。"]
    assert texts_left(stage, tmp_path, "Page 1\nOwn", "page 7\nÉté", "ete") == [
        *("Own", "Été", "ete")
    ]


def test_c4_takes_all_but_one_of_three_sentences_in_a_row(tmp_path):
    stage = Lines(unit="sentences", span=3, normalise="words")
    texts = ["Zero. One. Two? Three!\nFour.", "New. One - two three. Two. THREE. End.", "One two."]
    assert texts_left(stage, tmp_path, *texts) == texts
    texts = [texts[0], "New.\nOne, two? Three! End.", "New. one. two. three.\n\nEnd. More."]
    assert texts_left(stage, tmp_path, *texts) == [*texts[:2], "New.\n\nEnd. More."]


def test_lines_that_enough_documents_have_go_from_all_of_them(tmp_path):
    stage = Lines(copies=3, documents=True, keep="none")
    texts = ["cookies\na\na\na", "b\nCookies", "cookies \nc", "a\nd"]
    assert texts_left(stage, tmp_path, *texts) == ["a\na\na", "b", "c", "a\nd"]


def test_where_documents_are_counted_the_first_keeps_all_of_its_copies(tmp_path):
    stage = Lines(documents=True)
    assert texts_left(stage, tmp_path, "a\na\nb\nb", "a\nc\na") == ["a\na\nb\nb", "c"]
    assert texts_left(Lines(), tmp_path, "a\na\nb\nb", "a\nc\na") == ["a\nb", "c"]


def test_a_copy_is_counted_from_as_many_as_are_asked_for(tmp_path):
    assert texts_left(Lines(copies=3), tmp_path, "a\nb", "a\nb", "c\na") == ["a\nb", "b", "c"]


def test_copies_within_a_value_of_a_column_are_counted_apart(tmp_path):
    rows = [(0, "x\na", "one"), (1, "x\nb", "two"), (2, "x\nc", None), (3, "x\nd", "")]
    rows += [(4, "x\ne", "two"), (5, "x\nf", None)]
    after = ["x\na", "x\nb", "x\nc", "x\nd", "e", "f"]
    assert left(Lines(within="source"), tmp_path, *rows) == after
    assert left(Lines(), tmp_path, *rows) == ["x\na", "b", "c", "d", "e", "f"]


def test_blank_lines_are_no_copies_of_each_other(tmp_path):
    texts = ["a\n\n\nb\n \n", "\nc\n\n\n\nd", "\n\n", ""]
    for unit in ("lines", "paragraphs", "sentences"):
        assert texts_left(Lines(unit=unit, keep="none"), tmp_path, *texts) == texts


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("a\nx\nb", "a\nb"),
        ("a\nx", "a"),
        ("a\nx\n", "a\n"),
        ("x\na", "a"),
        ("\n\nx\n\na", "\n\na"),
        ("a\n\nx\nb", "a\n\nb"),  # the longer gap
        ("a\nx\n\nb", "a\n\nb"),
        ("a\n\nx\n\nx\n\nx\n\nb", "a\n\nb"),
        ("a\n  x\n  b", "a\n  b"),
        ("a\r\nx\r\nb", "a\r\nb"),
    ],
)
def test_a_line_goes_with_its_newline_and_paragraphs_stay_apart(text, after, tmp_path):
    assert texts_left(Lines(), tmp_path, "x", text)[1] == after


def test_a_document_of_which_nothing_is_left_goes(tmp_path):
    (table,) = decide(Lines(), tmp_path, [(1, "a\nb"), (2, "\nb\na\n"), (3, "")])
    gone = {"dropped_by": "lines.words_left", "value": 0.0, "bound": 1.0}
    stays = {"dropped_by": None, "value": None, "bound": None, "cuts": [], "cut_by": None}
    assert table[1] == {**gone, "cuts": [], "cut_by": None, "lines_cut": 2}
    assert table[0] == table[2] == {**stays, "lines_cut": 0}
    (table,) = decide(Lines(min_words=0), tmp_path, [(1, "a\nb"), (2, "\nb\na\n")])
    assert table[1]["cuts"] == [0, 5] and table[1]["dropped_by"] is None


def test_a_document_that_lost_something_goes_if_too_few_words_are_left(tmp_path):
    rows = [(1, "x"), (2, "x\ntwo words"), (3, "x\nthree short words"), (4, "few")]
    (table,) = decide(Lines(min_words=3), tmp_path, rows)
    dropped = [(row["dropped_by"], row["value"], row["bound"]) for row in table]
    assert dropped[1] == ("lines.words_left", 2.0, 3.0)
    assert dropped[0] == dropped[2] == dropped[3] == (None, None, None)


def test_short_units_are_left_alone(tmp_path):
    texts = ["ok\n***\nnext page", "ok\n***\nNext page"]
    assert texts_left(Lines(min_bytes=4), tmp_path, *texts)[1] == "ok\n***"
    assert texts_left(Lines(normalise="words"), tmp_path, *texts)[1] == "***"


def test_documents_that_are_gone_neither_count_nor_lose(tmp_path):
    rows = [(1, "a\nb"), (2, "a\nc"), (3, "a\nd")]
    assert left(Lines(), tmp_path, *rows, gone={1}) == ["a\nb", "a\nc", "d"]
    (table,) = decide(Lines(), tmp_path, rows, gone={1})
    assert [row["lines_cut"] for row in table] == [None, 0, 1]


def test_empty_and_missing_texts_and_shards_have_decisions(tmp_path):
    assert decide(Lines(), tmp_path) == []
    assert decide(Lines(), tmp_path, [], [(1, "a")])[0] == []
    assert texts_left(Lines(min_words=5), tmp_path, "", None, " \n") == ["", "", " \n"]


def test_equal_hashes_are_equal_units(tmp_path):
    stage = Lines()
    for number, text in enumerate(["one", "other"]):
        table = stage.survey(batch_of([(number, f"{text}\n{number}")]))
        keys = pa.array([[7, 100 + number]], pa.list_(pa.uint64()))
        table = table.set_column(table.schema.get_field_index("unit_keys"), "unit_keys", keys)
        pq.write_table(table, tmp_path / f"{number}.parquet")
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    masks = [np.zeros(1, np.bool_)] * 2
    (one,), (other,) = (table.to_pylist() for table in decided(stage, paths, masks))
    assert one["cuts"] == [] and other["cuts"] == [0, 6]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"copies": 1}, "copies: 1; write 2 or more"),
        ({"span": 0}, "span: 0; write 1 or more"),
        ({"min_bytes": 0}, "min_bytes: 0; write 1"),
        ({"min_words": -1}, "min_words: -1; write 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, said):
    with pytest.raises(RecipeError, match=said):
        Lines(**settings)


def test_a_group_that_is_not_there_is_refused():
    with pytest.raises(RecipeError, match=r"within: no column 'dump' here; .*: id, text, source"):
        Lines(within="dump").survey(batch_of([(1, "a")]))


def test_language_matters_only_to_groups_of_languages():
    assert Lines().ignores_language and Lines(within="source").ignores_language
    assert not Lines(within="language").ignores_language


def test_verdicts_of_another_survey_are_refused(tmp_path):
    pq.write_table(Lines().survey(batch_of([(1, "a\nb")])), tmp_path / "survey.parquet")
    gone, rule = np.zeros(1, np.bool_), repeats.Rule(2, True, False)
    assert repeats.spread(tmp_path / "survey.parquet", gone, MEMORY, rule, tmp_path) == 2
    (tmp_path / "judged").write_text("[]")
    task = {"keys": str(tmp_path), "judged": str(tmp_path / "judged"), "shard": 0}
    with pytest.raises(CurateError, match="0 verdicts on 2 keys"):
        repeats.Marker(task, False, 1)


# Units against the plain twin

UNIT = st.sampled_from(["lines", "paragraphs", "sentences"])
NORMALISE = st.sampled_from(["none", "spaces-case", "words", "ccnet"])
SIGNS = st.sampled_from("aB1. \n\n\t\r\x0b\x1c\x85\u2028\xa0？」”!…ÉΣςİ中１、\u0301")
TEXT = st.text(SIGNS | st.characters(codec="utf-8"), max_size=60)


def cut(texts, unit, normalise, span=1, counts=True):
    rules = Rules(UNITS[unit], span, 1, counts)
    return segments(texts, np.zeros(len(texts.offsets) - 1, np.uint64), rules, normalise)


@FEW
@given(st.lists(TEXT, max_size=4), UNIT, NORMALISE)
def test_units_are_those_of_the_plain_twin(plain, texts, unit, normalise):
    found = cut(view(pa.array(texts, pa.string())), unit, normalise)
    normals = []
    for row, text in enumerate(texts):
        mine = slice(found.offsets[row], found.offsets[row + 1])
        places = list(twin.UNITS[unit](text))
        sizes = [len(text[:place].encode()) for pair in places for place in pair]
        assert found.starts[mine].tolist() == sizes[::2]
        assert found.ends[mine].tolist() == sizes[1::2]
        assert found.words[mine].tolist() == [len(text[a:b].split()) for a, b in places]
        normals += [twin.normal(plain, normalise, text[a:b]) for a, b in places]
    # One key for each form, none for the empty one, and one form for each key.
    assert [key == 0 for key in found.keys] == [normal == "" for normal in normals]
    pairs = set(zip(found.keys.tolist(), normals, strict=True))
    assert len(pairs) == len(set(normals)) == len(set(found.keys.tolist()))


@FEW
@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), UNIT, NORMALISE)
def test_units_of_any_bytes_hold_all_that_is_not_white(rows, unit, normalise):
    data = frozen(np.frombuffer(b"".join(rows), np.uint8))
    texts = View(data, frozen(np.cumsum([0, *map(len, rows)]).astype(np.int32)))
    found = cut(texts, unit, normalise, counts=False)
    for row, raw in enumerate(rows):
        mine = slice(found.offsets[row], found.offsets[row + 1])
        ends = [0, *np.stack([found.starts[mine], found.ends[mine]], 1).ravel().tolist(), len(raw)]
        assert sorted(ends) == ends
        gaps = b"".join(raw[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True))
        assert gaps.decode("utf-8").strip() == ""
        alone = cut(View(data, texts.offsets[row : row + 2]), unit, normalise, counts=False)
        assert alone.keys.tolist() == found.keys[mine].tolist()


@FEW
@given(TEXT)
def test_there_are_as_many_sentences_as_are_counted(text):
    texts = view(pa.array([text], pa.string()))
    assert len(cut(texts, "sentences", "none").keys) == sentence_count(
        texts.data, 0, int(texts.offsets[1])
    )


def test_a_span_has_one_key_wherever_it_is():
    texts = view(pa.array(["a\nb\nc\nd", "x\nB\nc", "b"], pa.string()))
    keys = cut(texts, "lines", "spaces-case", span=2).keys
    assert keys[1] == keys[5] and len(set(keys[:3].tolist())) == 3
    assert keys[[3, 6, 7]].tolist() == [0, 0, 0]


# Decisions against the plain twin, and laws

STAGES = st.builds(
    Lines,
    unit=UNIT,
    span=st.sampled_from([1, 1, 2, 3]),
    normalise=NORMALISE,
    copies=st.sampled_from([2, 2, 3]),
    keep=st.sampled_from(["none", "first"]),
    documents=st.booleans(),
    within=st.sampled_from([None, "source"]),
    min_bytes=st.sampled_from([1, 2]),
    min_words=st.just(0),
)
PIECES = ["a", "A", "bb", "b b.", "c.", "D!", "1", "2", "\n", "\n", "\n\n", " ", " ", "é"]
SHORT = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
ROWS = st.lists(st.tuples(SHORT, st.sampled_from(["x", "y", None])), min_size=1, max_size=7)


@FEW
@given(STAGES, ROWS, st.tuples(st.integers(0, 7), st.sampled_from([64, MEMORY])))
def test_decisions_are_those_of_the_plain_twin(plain, tmp_path, stage, rows, split_and_memory):
    split, memory = split_and_memory
    documents = [(9 - i, *row) for i, row in enumerate(rows)]
    tables = decide(stage, tmp_path, documents[:split], documents[split:], memory=memory)
    goes = twin.marked(plain, stage, documents)
    for (number, text, _), row in zip(documents, [*tables[0], *tables[1]], strict=True):
        assert row["lines_cut"] == len(goes[number])
        expected = twin.without(text, twin.places(stage, text), goes[number])
        assert applied(text, row) == expected


@FEW
@given(STAGES, ROWS, st.permutations(range(7)), st.lists(st.integers(0, 7), max_size=3))
def test_order_sharding_and_memory_change_nothing(tmp_path, stage, rows, order, splits):
    documents = [(i, *row) for i, row in enumerate(rows)]
    (whole,) = decide(stage, tmp_path, documents)
    moved = [documents[i] for i in order if i < len(documents)]
    ends = [0, *sorted(splits), len(moved)]
    shards = [moved[a:b] for a, b in pairwise(ends)]
    tables = decide(stage, tmp_path, *shards, memory=200)
    found = {row[0]: got for row, got in zip(moved, chain(*tables), strict=True)}
    assert [found[i] for i in range(len(rows))] == whole


@FEW
@given(STAGES, ROWS)
def test_twice_equals_once(tmp_path, stage, rows):
    if stage.span > 1:
        return  # what comes to stand side by side may be a repetition
    once = left(stage, tmp_path, *((i, *row) for i, row in enumerate(rows)))
    again = [(i, text, row[1]) for i, (text, row) in enumerate(zip(once, rows, strict=True))]
    assert left(stage, tmp_path, *again) == once


@FEW
@given(STAGES, st.integers(0, 5))
def test_without_repeats_nothing_is_cut(tmp_path, stage, count):
    texts = ["".join(f"{chr(97 + 3 * i + j)}.\n\n" for j in range(3)) for i in range(count)]
    assert texts_left(stage, tmp_path, *texts) == texts


@FEW
@given(STAGES, ROWS)
def test_where_the_first_stays_every_unit_is_still_there(plain, tmp_path, stage, rows):
    if stage.keep == "none":
        return
    documents = [(i, *row) for i, row in enumerate(rows)]
    goes = twin.marked(plain, stage, documents)
    (table,) = decide(stage, tmp_path, documents)
    before, after = set(), set()
    for (number, text, group), row in zip(documents, table, strict=True):
        assert len(goes[number]) == row["lines_cut"]
        for place, (a, b) in enumerate(twin.places(stage, text)):
            unit = group if stage.within else "", twin.normal(plain, stage.normalise, text[a:b])
            before.add(unit)
            after |= {unit} if place not in goes[number] else set()
    assert after == before


@COMPILED
def test_a_million_equal_lines_cost_no_square(tmp_path):
    texts = ["the same line\n" * 500_000, *["the same line\n" * 1000] * 500]
    (table,) = decide(Lines(), tmp_path, list(enumerate(texts)), memory=1 << 20)
    assert table[0]["lines_cut"] == 499_999
    assert applied(texts[0], table[0]) == "the same line\n"
    assert all(row["dropped_by"] for row in table[1:])


@COMPILED
def test_real_pages_lose_what_the_plain_twin_takes_from_them(plain, shared, tmp_path):
    with gzip.open(shared / "neardup" / "web.docs.jsonl.gz") as file:
        texts = [json.loads(line)["text"] for line in file]
    documents = [(i, text, "") for i, text in enumerate(texts)]
    for stage in (Lines(normalise="ccnet", keep="none", min_words=0), Lines(min_words=0)):
        goes = twin.marked(plain, stage, documents)
        tables = decide(stage, tmp_path, documents[:300], documents[300:], memory=1 << 20)
        for (number, text, _), row in zip(documents, chain(*tables), strict=True):
            assert row["lines_cut"] == len(goes[number])
            assert applied(text, row) == twin.without(text, twin.places(stage, text), goes[number])

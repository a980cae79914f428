"""Repeated substrings against a dictionary of all windows, and laws of what is cut."""

import os
import re
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.column import View, frozen, view
from curate.dedup import runs, windows
from curate.dedup.substrings import LITTLE_LEFT, REASON, Substrings
from curate.errors import RecipeError, ShardError
from curate.survey import Survey, decided

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
SCRATCH = [HealthCheck.function_scoped_fixture]


def identity(number):
    return number.to_bytes(16, "big")


def decide(stage, folder, *shards, gone=(), memory=1 << 20, group=1000):
    """What is decided about shards of (number, text)."""
    surveys, texts = [], []
    for i, rows in enumerate(shards):
        ids = pa.array([identity(number) for number, _ in rows], pa.binary(16))
        column = pa.array([text for _, text in rows], pa.string())
        batch = pa.RecordBatch.from_arrays([ids, column], ["id", "text"])
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
    return {number: verdict(stage, dict(rows)[number], cut[number], covered[number]) for number in cut}


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
EXAMPLES = 5 if JIT_OFF else 300


@settings(suppress_health_check=SCRATCH, max_examples=EXAMPLES, deadline=None)
@given(
    STAGES,
    st.lists(st.one_of(LETTERS, WORDS, WIDE), max_size=8),
    st.permutations(range(8)),
    st.lists(st.integers(0, 8), max_size=2),
    st.sampled_from([1, 700, 3000, 1 << 20]),
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

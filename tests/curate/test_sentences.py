"""Sentences against a twin made of regular expressions."""

import os
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.sentences import sentence_count

few = settings(
    max_examples=20 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 500, deadline=None
)

CLUSTER = re.compile("[.?!…。！？][.?!…。！？\"')\\]’”»」』）]*")


def twin(line: str) -> int:
    cuts = [0]
    for found in CLUSTER.finditer(line):
        at_end = found.end() == len(line) or line[found.end()].isspace()
        if at_end or re.search("[。！？]", found.group()):
            cuts.append(found.end())
    ends = [*cuts[1:], len(line)]
    return sum(1 for a, b in zip(cuts, ends, strict=True) if line[a:b].strip())


def counted(line: str) -> int:
    data = np.frombuffer(line.encode(), np.uint8)
    return sentence_count(data, 0, len(data))


def test_sentences_counted_by_hand():
    assert counted("One. Two? Three!") == 3
    assert counted('He said "No." Then he left') == 2
    assert counted("Version 2.0.1 of example.com") == 1
    assert counted("Wait... what?!") == 2
    assert counted("一。二！三") == 3
    assert counted("") == 0
    assert counted("   ") == 0
    assert counted(".") == 1


@few
@given(st.text(st.sampled_from("ab .?!\"')]。！…”»）é\u3000\t4")))
def test_sentences_are_those_of_the_twin(line):
    assert counted(line) == twin(line)


@few
@given(st.text(st.sampled_from('ab.!。" \n\r\u2028\x85\x1f\x1e'), max_size=30))
def test_a_line_break_ends_a_sentence(text):
    assert counted(text) == sum(map(twin, text.splitlines()))


@few
@given(st.binary())
def test_no_bytes_fail(data):
    assert 0 <= sentence_count(np.frombuffer(data, np.uint8), 0, len(data)) <= len(data)

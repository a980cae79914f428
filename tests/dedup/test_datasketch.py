"""Signatures bit for bit as the library makes them, on any text."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash as Theirs
from datasketch.lsh import _optimal_param
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.column import frozen, view
from curate.dedup.datasketch import sha1_32, signatures
from curate.dedup.minhash import MinHash, banding

SCHEMES = {"datasketch": "affine32", "datasketch-legacy": "legacy"}


def theirs(shingles, scheme, hashes, seed):
    signature = Theirs(hashes, seed=seed, scheme=SCHEMES[scheme])
    signature.update_batch([" ".join(shingle).encode() for shingle in shingles])
    return signature.hashvalues.astype(np.uint64).tolist()


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_sha1_is_that_of_the_standard(content):
    data = frozen(np.frombuffer(b"." + content, np.uint8))
    found = sha1_32(data, 1, len(data), np.empty(80, np.uint32))
    assert int(found) == int.from_bytes(hashlib.sha1(content).digest()[:4], "little")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=80), max_size=4), st.integers(1, 4), st.sampled_from([*SCHEMES]))
def test_signatures_of_any_text_are_those_of_the_library(plain, texts, ngram, scheme):
    found = signatures(view(pa.array(texts, pa.string())), ngram, 24, 7, scheme)
    for text, row in zip(texts, found.tolist(), strict=True):
        assert row == theirs(plain.shingles(text, ngram), scheme, 24, 7)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_survey_keeps_the_librarys_signatures_and_bands_by_them(scheme, plain):
    texts = ["a b c d e f g h", "A b, c d e f g H!", "x y", "k l m n o p q r"]
    ids = pa.array([bytes([i]) * 16 for i in range(4)], pa.binary(16))
    stage = MinHash(scheme=scheme, seed=3)
    batch = pa.RecordBatch.from_arrays([ids, pa.array(texts)], ["id", "text"])
    assert stage.survey(batch.slice(0, 0)).schema == stage.survey(batch).schema
    table = stage.survey(batch)
    kept = table.column("signature").to_pylist()
    assert kept[2] is None
    for place in (0, 1, 3):
        values = np.frombuffer(kept[place], np.uint32).tolist()
        assert values == theirs(plain.shingles(texts[place]), scheme, 112, 3)
    bands = [table.column(name).to_pylist() for name in stage.columns]
    assert all(band[0] == band[1] != band[3] and band[2] is None for band in bands)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_bands_of_a_threshold_are_those_of_the_library(threshold):
    assert banding(threshold, 64) == _optimal_param(threshold, 64, 0.5, 0.5)
    stage = MinHash(threshold=threshold, hashes=64)
    assert (stage.bands, stage.rows) == banding(threshold, 64)
    assert json.loads(json.dumps(stage.columns))[0] == "band_0"

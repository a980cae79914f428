"""What kernels ask of a processor is what its plain twin says."""

import numpy as np
import pytest

from curate import vectors
from curate.kernel import helper

NUMBERS = np.random.default_rng(26)


@helper
def bits_of(words, out):
    for k in range(len(words)):
        out[k, 0] = vectors.trailing_zeros(words[k])
        out[k, 1] = vectors.leading_zeros(words[k])
        out[k, 2] = vectors.ones(words[k])


@helper
def looks_at(data, numbers, words, key, out):
    vectors.prefetch(words, 0)
    for k in range(len(out)):
        place = np.uint64(k)
        out[k, 0] = vectors.bytes_below(data, place, -64)
        out[k, 1] = vectors.bytes_below(data, place, 0)
        out[k, 2] = vectors.least_of_32(numbers, place)
        out[k, 3] = vectors.alike_of_8(words, place, key, ~np.uint64(0xFF))


def test_bits_are_counted_as_python_counts_them():
    words = np.concatenate(
        [NUMBERS.integers(0, 1 << 63, 200, np.uint64), np.uint64([0, 1, ~0 % 2**64])]
    )
    words >>= NUMBERS.integers(0, 64, len(words), np.uint64)
    out = np.empty((len(words), 3), np.int64)
    bits_of(words, out)
    for word, found in zip(words.tolist(), out.tolist(), strict=True):
        written = f"{word:064b}"
        assert found == [
            64 - len(written.rstrip("0")),
            64 - len(written.lstrip("0")),
            written.count("1"),
        ]


@pytest.mark.parametrize("seed", range(3))
def test_looks_at_many_numbers_are_those_at_each(seed):
    draw = np.random.default_rng(seed)
    data = draw.integers(0, 256, 200, np.uint8)
    numbers = draw.integers(0, 1 << 32, 200, np.uint32)
    words = draw.integers(0, 1 << 10, 200, np.uint64) | np.uint64(1 << 60)
    key = np.uint64(1 << 60 | 0x1FF)
    out = np.empty((100, 4), np.uint64)
    looks_at(data, numbers, words, key, out)
    for k, found in enumerate(out.tolist()):
        signed = data[k : k + 64].view(np.int8).tolist()
        assert found[0] == sum(1 << i for i, byte in enumerate(signed) if byte < -64)
        assert found[1] == sum(1 << i for i, byte in enumerate(signed) if byte < 0)
        assert found[2] == min(numbers[k : k + 32].tolist())
        alike = [word >> 8 == int(key) >> 8 for word in words[k : k + 8].tolist()]
        assert found[3] == sum(1 << i for i, same in enumerate(alike) if same)

"""What a decision needs is told, or refused with where and how much, before it begins."""

import pytest

from curate import room
from curate.errors import DiskError, InputError, RecipeError
from curate.room import Needs, free_memory, memory_share, require
from curate.sizes import parse, shown


def test_there_is_memory_and_workers_share_half_of_it():
    free = free_memory()
    assert free > 1 << 20
    assert (
        room.LEAST <= memory_share(8) <= memory_share(1) <= max(room.LEAST, free // 2 + (1 << 30))
    )


def test_a_limit_of_the_group_of_processes_counts(tmp_path, monkeypatch):
    limit, used = tmp_path / "max", tmp_path / "current"
    limit.write_text("1000000\n")
    used.write_text("400000\n")
    monkeypatch.setattr(room, "_GROUPS", ((str(limit), str(used)),))
    assert free_memory() == 600_000
    limit.write_text("max\n")  # no limit
    assert free_memory() > 600_000


def test_what_is_not_there_is_refused_with_what_is(tmp_path):
    told = require("decide x", Needs(1 << 20, 3 << 30), tmp_path)
    assert "needs at most 1.0 MiB of memory and 3.0 GiB of disk" in told
    with pytest.raises(DiskError, match=rf"needs 1,024.0 TiB of disk at {tmp_path}, and .* free"):
        require("decide x", Needs(0, 1 << 50), tmp_path)
    with pytest.raises(InputError, match=r"needs 1,024.0 TiB of memory, and .* free"):
        require("decide x", Needs(1 << 50, 0), tmp_path)


@pytest.mark.parametrize(("given", "count"), [("512", 512), ("64k", 65536), ("2G", 2 << 30)])
def test_sizes_are_read_as_they_are_written(given, count):
    assert parse(given, "--memory") == count


@pytest.mark.parametrize("given", ["", "0", "-1", "4 G", "G", "1.5G", "²G", "lots"])
def test_what_is_no_size_says_what_is(given):
    with pytest.raises(RecipeError, match=r"--memory .*: write a number of bytes, such as 512M"):
        parse(given, "--memory")


def test_sizes_are_shown_with_the_unit_that_fits():
    assert [*map(shown, (0, 1023, 1 << 10, 3 << 19))] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.5 MiB",
    ]

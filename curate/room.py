"""How much memory and disk there are, and whether what a decision needs is among it."""

import shutil
from pathlib import Path
from typing import NamedTuple

from curate.errors import DiskError, InputError
from curate.sizes import shown

LEAST, MOST = 64 << 20, 4 << 30
# (limit, in use) of the group of processes that this one is in, as Linux tells them.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


class Needs(NamedTuple):
    """Bytes that a decision takes at most: of the driver's memory, and of the disk."""

    memory: int
    disk: int

    def __str__(self) -> str:
        return f"{shown(self.memory)} of memory and {shown(self.disk)} of disk"


def free_memory() -> int:
    """Bytes of memory that this process could still have, by the machine and by its limits."""
    found: list[int] = []
    lines = _read("/proc/meminfo").splitlines()
    found += [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    for limit, used in _GROUPS:
        most, now = _read(limit).strip(), _read(used).strip()
        if most.isdigit() and now.isdigit():
            found.append(int(most) - int(now))
    return max(0, min(found, default=MOST))


def memory_share(workers: int) -> int:
    """Bytes for each task of a decision, unless the user says how many: half of what is free."""
    return max(LEAST, min(MOST, free_memory() // 2 // max(1, workers)))


def require(label: str, needs: Needs, folder: Path) -> str:
    """What a decision needs and what there is, in a line.

    Raises DiskError or InputError if that is less.
    """
    disk, memory = shutil.disk_usage(folder).free, free_memory()
    if needs.disk > disk:
        raise DiskError(
            f"{label}: needs {shown(needs.disk)} of disk at {folder}, and {shown(disk)} are free; "
            "make room there and run the same command again: finished work is kept"
        )
    if needs.memory > memory:
        raise InputError(
            f"{label}: needs {shown(needs.memory)} of memory, and {shown(memory)} are free; run "
            "the same command again where there is more: finished work is kept"
        )
    return f"{label}: needs at most {needs}; {shown(memory)} and {shown(disk)} are free"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""

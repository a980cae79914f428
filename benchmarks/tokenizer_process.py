"""One process of a benchmark: on one core and one thread, with its time, memory and figures."""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.inputs import ROOT

ONE_THREAD = {
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
LOOK_SECONDS = 0.1


class Run(NamedTuple):
    """Seconds of clock and processor, peak memory of all its processes, and what it wrote."""

    wall: float
    cpu: float
    peak_bytes: int
    figures: dict[str, Any]
    problem: str = ""


def run(command: list[str], result: Path | None = None, most: int = 36_000) -> Run:
    """Run a command for so many seconds of processor; `figures` are the JSON that it leaves."""
    core = max(os.sched_getaffinity(0))
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            ["prlimit", f"--cpu={most}", "taskset", "-c", str(core), *command],
            env={**os.environ, **ONE_THREAD},
            cwd=ROOT,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            peak = max(peak, resident(process.pid))
            time.sleep(LOOK_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        problem = "" if process.returncode == 0 else last_line(said.read())
        problem = f"more than {most} s" if process.returncode == -signal.SIGXCPU else problem
    figures = json.loads(result.read_text()) if result and result.is_file() else {}
    wall, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    # Not ru_maxrss: what forks has its own memory counted as that of the child.
    return Run(wall, cpu, peak, figures, problem)


def last_line(said: str) -> str:
    """What a failed process said last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), (lines or ["failed"])[-1])


def resident(pid: int) -> int:
    """Bytes in memory of a process and of all that it started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    total, waiting = 0, [*children.get(pid, [])]
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        total += memory(one, "VmRSS")
    # Of the first process the peak is known, however short.
    return max(memory(pid, "VmHWM"), total + memory(pid, "VmRSS"))


def memory(pid: int, what: str) -> int:
    """One of the sizes that the kernel tells of a process, in bytes; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = (int(line.split()[1]) for line in lines if line.startswith(what))
    return 1024 * next(found, 0)

"""Kill, damage and change a run at random, and compare every finished one with an undisturbed run.

    python -m tests.chaos.harness --kills 200 --seed 7

The seed gives the whole schedule, so that a failure can be played again.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crawl import write_crawl

RECIPE = Path(__file__).with_name("chaos.yaml")
# What may differ between runs: times, and the folder of pieces.
APART = {"run.json", "report.html", "work"}


def digest(folder: Path) -> dict[str, str]:
    """Every file of an output folder that must be the same in every run."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in APART
    }


class Zygote:
    """The warm process and its runs."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(self, request: dict[str, Any], kill_after: float | None = None) -> int:
        """The exit code of a run; negative for the signal that ended it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        pid = json.loads(self._process.stdout.readline())["pid"]
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(json.loads(self._process.stdout.readline())["exit"])

    def close(self) -> None:
        """Let the process end, and close the pipes to it."""
        assert self._process.stdin
        self._process.stdin.close()
        with self._process:
            pass


@dataclass
class Chaos:
    """One seeded history of kills, damage and comparisons."""

    folder: Path
    seed: int
    mutant: str | None = None
    kills: int = 0
    rounds: int = 0
    damages: int = 0
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._zygote = Zygote()
        self._crawl = self.folder / "crawl"
        self._output = self.folder / "output"
        self._report = self.folder / "report.json"
        self._recipe = self.folder / "chaos.yaml"
        self._recipe.write_text(RECIPE.read_text())
        write_crawl(self._crawl, files=4, pages=16)

    def run(self, kills: int) -> None:
        """Disturb runs until so many kills have hit, comparing whenever one finishes."""
        self._baseline()
        while self.kills < kills and not self.violations:
            self._round()
        for another_input in (True, False):  # at least once each, whatever the dice said
            self._finish()
            self._change(another_input)
        self._finish()
        self._zygote.close()

    def _request(self, output: Path, kill_at: int = 0, mutant: str | None = None) -> dict[str, Any]:
        inputs = [str(path) for path in sorted(self._crawl.iterdir())]
        self._random.shuffle(inputs)
        return {
            "recipe": str(self._recipe),
            "inputs": inputs,
            "output": str(output),
            "kill_at": kill_at,
            "report": str(self._report),
            "mutant": mutant,
        }

    def _baseline(self) -> None:
        """An undisturbed run of the true program."""
        clean = self.folder / "clean"
        shutil.rmtree(clean, ignore_errors=True)
        started = time.monotonic()
        code = self._zygote.run(self._request(clean))
        self._seconds = time.monotonic() - started
        assert code == 0, f"the undisturbed run ended with {code}"
        self._operations = json.loads(self._report.read_text())["operations"]
        self._expected = digest(clean)

    def _round(self) -> None:
        dice = self._random.random()
        if dice < 0.55:
            # Early ones more often: a run that finds most of its work done has few operations.
            at = round(self._operations ** self._random.random())
            self._end(self._zygote.run(self._request(self._output, at, self.mutant)))
        elif dice < 0.85:
            after = self._random.uniform(0.0, self._seconds)
            request = self._request(self._output, 0, self.mutant)
            self._end(self._zygote.run(request, kill_after=after))
        else:
            self._change(self._random.random() < 0.5)
            self._finish()
        if self._random.random() < 0.3:
            self._damage()

    def _finish(self) -> None:
        """Let a run finish, and compare."""
        self._end(self._zygote.run(self._request(self._output, 0, self.mutant)))

    def _end(self, code: int) -> None:
        if code == -signal.SIGKILL:
            self.kills += 1
            return
        self.rounds += 1
        if code != 0:
            self.violations.append(f"round {self.rounds}: exit code {code}")
            return
        found = digest(self._output)
        for name in sorted(found.keys() | self._expected.keys()):
            if found.get(name) != self._expected.get(name):
                self.violations.append(f"round {self.rounds}: {name} differs")
        leftovers = [path for path in self._output.rglob("*") if ".tmp" in path.name]
        self.violations += [f"round {self.rounds}: {path} was left" for path in leftovers]

    def _damage(self) -> None:
        """Flip, cut or remove one committed file."""
        files = [path for path in self._output.rglob("*") if path.is_file()]
        files = [path for path in files if path.name != "lock"]
        if not files:
            return
        path = self._random.choice(sorted(files))
        content = path.read_bytes()
        kind = self._random.choice(["flip", "cut", "remove"])
        if kind == "flip" and content:
            at = self._random.randrange(len(content))
            with path.open("r+b") as file:  # in place: hard links are damaged too
                file.seek(at)
                file.write(bytes([content[at] ^ 0xFF]))
        elif kind == "cut":
            os.truncate(path, len(content) // 2)
        else:
            path.unlink()
        self.damages += 1

    def _change(self, another_input: bool) -> None:
        """Another input or another recipe: stale work must not be used again."""
        if another_input:
            path = self._random.choice(sorted(self._crawl.iterdir()))
            before = path.stat()
            other = write_crawl(self.folder / "other", 5 + self._random.randint(0, 3), 16)[-1]
            path.write_bytes(other.read_bytes())
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            words = self._random.randint(20, 120)
            text = RECIPE.read_text().replace("low: 50", f"low: {words}")
            self._recipe.write_text(text)
        self._baseline()


def main() -> None:
    """Run one history and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutant")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        chaos = Chaos(Path(folder), arguments.seed, arguments.mutant)
        chaos.run(arguments.kills)
    print(
        f"seed {arguments.seed}: {chaos.kills} kills, {chaos.damages} damages, {chaos.rounds} "
        f"finished rounds compared in {time.monotonic() - started:.0f} s: "
        f"{len(chaos.violations)} violations"
    )
    for violation in chaos.violations:
        print(violation)
    sys.exit(bool(chaos.violations))


if __name__ == "__main__":
    main()

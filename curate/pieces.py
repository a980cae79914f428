"""The pieces of work of one run: those that are there, those that are made, and what they took."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from curate.errors import CurateError, InputError, LawError
from curate.pool import Pool, check
from curate.store import WorkFolder, describe
from curate.survey import Task

Manifest = dict[str, Any]


class Events(Protocol):
    """Who watches a run: told when a phase begins, how it goes on, and when it ends."""

    def begin(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, counts: dict[str, int]) -> None: ...

    def say(self, text: str) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass
class Pieces:
    """Pieces of work by their keys, and who makes those that are missing."""

    work: WorkFolder
    pool: Pool
    events: Events
    units: int = 0  # pieces that were asked for
    reused: int = 0  # of them, those that were there
    seconds: dict[str, float] = field(default_factory=dict)  # by step, when they were made

    def make(self, tasks: list[Task], phase: str, total: int, unit: str) -> None:
        """Run the tasks whose piece is not there, and publish each as it ends."""
        missing = []
        for key, task in {task["key"]: task for task in tasks}.items():
            self.units += 1
            if self.work.find(key) is None:
                missing.append({**task, "scratch": str(self.work.scratch(key))})
        self.reused += len({task["key"] for task in tasks}) - len(missing)
        if missing:
            self.events.begin(phase, total, unit)
            self._run_and_publish(missing)
            self.events.end()
        for task in tasks:
            self.spend(task["key"])

    def _run_and_publish(self, missing: list[Task]) -> None:
        failed: list[CurateError] = []
        for task, result in self.pool.run(missing, lambda _, counts: self.events.advance(counts)):
            try:
                self.work.publish(task["key"], Path(task["scratch"]), check(result))
            except InputError as error:  # the others are finished first, and need not be redone
                failed.append(error)
        if failed:
            raise InputError("; ".join(map(str, failed)))

    def entry(self, path: Path) -> dict[str, Any]:
        """The size and the digest of a file, from its piece's manifest if it is of one."""
        piece = self.work.find(path.parent.name)
        entry: dict[str, Any] = piece["files"][path.name] if piece else describe(path)
        return entry

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, in hex."""
        return str(self.entry(path)["sha256"])

    def spend(self, key: str) -> None:
        """Add the time that a piece took when it was made."""
        for label, seconds in self.find(key)["seconds"].items():
            self.seconds[label] = self.seconds.get(label, 0.0) + seconds

    def find(self, key: str) -> Manifest:
        """The manifest of a piece that is there."""
        piece = self.work.find(key)
        if piece is None:
            raise LawError(f"{self.work.path(key)}: gone while the run went on")
        return piece

"""What a person sees while a run goes on: speed, kept and dropped, time left."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

QUIET_SECONDS = 10.0
UNFOLDED = 10_000  # columns


def console(stderr: bool = False) -> Console:
    """A console that folds lines for a terminal alone: a file or a pipe gets them whole."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=UNFOLDED)


def show(what: RenderableType) -> None:
    """Print it; a line of text, such as one with a path, is left to the terminal to fold."""
    console().print(what, crop=False, soft_wrap=isinstance(what, Text))


def printable(text: str) -> str:
    """Text with the control characters that could steer a terminal shown as escapes."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1]
        for letter in text
    )


def tell(text: str) -> None:
    """Print a line for people who also read errors."""
    console(stderr=True).print(line(text), crop=False, soft_wrap=True)


def line(text: str) -> Text:
    """A line that is never folded or shortened, so that a path or a URL in it can be copied."""
    return Text(text, no_wrap=True, overflow="ignore")


class _Rates(ProgressColumn):
    """Documents/s, MB/s, kept and dropped; or what the phase says of itself."""

    def render(self, task: Task) -> Text:
        documents, kept, size = (task.fields[name] for name in ("documents", "kept", "bytes"))
        seconds = max(task.elapsed or 0.0, 1e-9)
        parts = [f"{documents / seconds:,.0f} documents/s"] if documents else []
        if size:
            parts.append(f"{size / seconds / 1e6:,.1f} MB/s")
        if documents:
            parts.append(f"kept {kept:,}, dropped {documents - kept:,}")
        if tokens := task.fields.get("tokens"):
            parts.append(f"{tokens:,} tokens")
        if said := task.fields.get("said"):
            parts.append(said)
        return Text("  ".join(parts))


@dataclass
class Watcher:
    """Shows a bar on a terminal, and a line every ten seconds where there is none."""

    console: Console
    _bar: Progress = field(init=False)
    _task: int | None = None
    _phase: str = ""
    _unit: str = ""
    _total: int = 0
    _said: str = ""
    _counts: dict[str, int] = field(default_factory=dict)
    _began: float = 0.0
    _spoke: float = 0.0

    def __post_init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _Rates(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""
        self.console.print(Text(text), soft_wrap=True)

    def begin(self, phase: str, total: int, unit: str) -> None:
        """A phase of so many bytes or documents begins."""
        self._phase, self._total, self._unit, self._said = phase, total, unit, ""
        self._counts = {"documents": 0, "kept": 0, "bytes": 0}
        self._began = self._spoke = time.monotonic()
        self._task = self._bar.add_task(phase, total=total or None, **self._counts)  # type: ignore[arg-type]  # fields of our own

    def advance(self, counts: dict[str, int]) -> None:
        """So much more has been done."""
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        if self._task is not None:
            done = self._counts.get(self._unit, 0)
            self._bar.update(self._task, completed=done, said=self._said, **self._counts)  # type: ignore[arg-type]  # fields of our own
        now = time.monotonic()
        if not self.console.is_terminal and now - self._spoke > QUIET_SECONDS:
            self._spoke = now
            self.note(f"{self._phase}: {self._line(now)}")

    def say(self, text: str) -> None:
        """What stands beside the bar and in the lines of this phase, until it is said anew."""
        self._said = text

    def end(self) -> None:
        """The phase is over; one line of it stays."""
        now = time.monotonic()
        self.note(f"{self._phase}: {self._line(now)}")
        if self._task is not None:
            self._bar.remove_task(self._task)  # type: ignore[arg-type]  # rich's own TaskID
        self._task = None

    def _line(self, now: float) -> str:
        seconds = max(now - self._began, 1e-9)
        documents, kept, size = (self._counts[name] for name in ("documents", "kept", "bytes"))
        parts = [f"{seconds:.1f} s"]
        if documents:
            parts.append(f"{documents:,} documents ({documents / seconds:,.0f}/s)")
        if size:
            parts.append(f"{size / seconds / 1e6:,.1f} MB/s")
        if documents:
            parts.append(f"kept {kept:,}, dropped {documents - kept:,}")
        done = self._counts.get(self._unit, 0)
        if self._unit in ("tokens", "steps"):
            parts.append(f"{done:,} of {self._total:,} {self._unit}")
        if self._said:
            parts.append(self._said)
        if 0 < done < self._total:
            parts.append(f"{seconds / done * (self._total - done):.0f} s left")
        return ", ".join(parts)

"""The only file that knows Ray: units over workers, or a plain loop for none.

Ray only schedules. Tasks and results are small dicts of paths, recipe text and counts; text never
passes through the object store.
"""

import json
import logging
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from curate.errors import CurateError, RayError
from curate.sockets import listeners

Task = dict[str, Any]
Result = dict[str, Any]
Advance = Callable[[Task, dict[str, int]], None]

ATTEMPTS = 3
POLL_SECONDS = 0.25

# A local Ray: nothing on the network and nothing sent home. Without the first line Ray 2.60
# listens on all interfaces (measured); `_loopback_only` checks that it holds.
LOCAL = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # The raylet aborts if its agent needs more than 15 s, which happens on a loaded machine.
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_task_oom_retries": "2",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Workman(Protocol):
    """Does tasks; what it needs for that is opened once."""

    def run(self, task: Task, progress: Callable[[dict[str, int]], None]) -> Result: ...


class Pool(Protocol):
    """Runs tasks and yields each with its result, in the order in which they end."""

    def run(self, tasks: Iterable[Task], advance: Advance) -> Iterator[tuple[Task, Result]]: ...


@contextmanager
def pool_of(
    make: Callable[[], Workman], workers: int, address: str | None = None
) -> Iterator[Pool]:
    """A pool of workers that `make` makes; it goes through Ray, so it names what it calls."""
    if workers == 0:
        yield Loop(make())
        return
    with started(workers, address) as ray:
        yield RayPool(ray, workers, make)


class Loop:
    """Tasks one after another in this process."""

    def __init__(self, worker: Workman) -> None:
        self._worker = worker

    def run(self, tasks: Iterable[Task], advance: Advance) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in the order given."""
        for task in tasks:
            yield task, self._worker.run(task, partial(advance, task))


class RemoteWorker:
    """A worker in a Ray actor; it tells its progress through a small file."""

    def __init__(self, make: Callable[[], Workman]) -> None:
        self._worker = make()

    def ready(self) -> bool:
        """True, once the actor runs."""
        return True

    def run(self, task: Task) -> Result:
        """The result of the worker's own `run`."""
        total: dict[str, int] = {}
        path = Path(task["scratch"]).with_suffix(".progress")

        def note(counts: dict[str, int]) -> None:
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
            path.write_text(json.dumps(total))

        return self._worker.run(task, note)


class RayPool:
    """Tasks over actors; a lost actor is replaced and its task tried again."""

    def __init__(self, ray: Any, workers: int, make: Callable[[], Workman]) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(RemoteWorker)
        self._make = make
        self._workers = workers
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Task, int]] = {}
        self._starting: dict[Any, Any] = {}

    def run(self, tasks: Iterable[Task], advance: Advance) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they end."""
        waiting: deque[tuple[Task, int]] = deque((task, 0) for task in tasks)
        seen: dict[str, dict[str, int]] = {}
        while waiting or self._busy:
            self._hire(len(waiting))
            while waiting and self._idle:
                task, attempt = waiting.popleft()
                actor = self._idle.pop()
                scratch = f"{task['scratch']}-{attempt}" if attempt else task["scratch"]
                Path(scratch).mkdir(parents=True, exist_ok=True)
                task = {**task, "scratch": scratch}
                self._busy[actor.run.remote(task)] = (actor, task, attempt)
            for task, attempt, result in self._ended():
                if result is None:
                    waiting.append((task, attempt + 1))
                else:
                    yield task, result
            for _, task, _ in self._busy.values():
                _advance(task, seen, advance)

    def _hire(self, wanted: int) -> None:
        """Start as many actors as there is work for, up to the number of workers."""
        have = len(self._idle) + len(self._busy) + len(self._starting)
        for _ in range(min(self._workers - have, wanted - len(self._idle))):
            actor = self._actor.remote(self._make)
            self._starting[actor.ready.remote()] = actor

    def _ended(self) -> Iterator[tuple[Task, int, Result | None]]:
        """The tasks that ended; None is the result of one whose actor was lost."""
        references = [*self._busy, *self._starting]
        done, _ = self._ray.wait(references, num_returns=1, timeout=POLL_SECONDS)
        for reference in done:
            if reference in self._starting:
                actor = self._starting.pop(reference)
                if self._get(reference) is not None:
                    self._idle.append(actor)
                continue
            actor, task, attempt = self._busy.pop(reference)
            result = self._get(reference)
            if result is not None:
                self._idle.append(actor)
            elif attempt + 1 >= ATTEMPTS:
                raise RayError(
                    f"{task['source']}: its worker died {ATTEMPTS} times; run with --workers 0 to "
                    "see why, or give the machine more memory"
                )
            yield task, attempt, result

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError):
            return None


def _advance(task: Task, seen: dict[str, dict[str, int]], advance: Advance) -> None:
    """Pass on what a remote worker has noted since the last look."""
    key = task["scratch"]
    try:
        total = json.loads(Path(key).with_suffix(".progress").read_text())
    except (OSError, ValueError):  # not there yet, or being written
        return
    before = seen.get(key, {})
    seen[key] = total
    advance(task, {name: count - before.get(name, 0) for name, count in total.items()})


@contextmanager
def started(workers: int, address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`, or started on this machine alone."""
    if address is None:
        _keep_local()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray  # noqa: PLC0415  # takes a second, which a run without Ray should not pay

    folder = Path(tempfile.mkdtemp(prefix="curate-"))  # short: Ray's socket paths have a limit
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=80 << 20,
                _temp_dir=str(folder),
            )
            _loopback_only()
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        yield ray
    except (ConnectionError, ray.exceptions.RaySystemError) as error:
        raise RayError(f"Ray does not start: {error}; --workers 0 runs without it") from error
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _keep_local() -> None:
    """Tell Ray to stay on this machine; it listens to that once, while it is imported."""
    told = all(os.environ.get(name) == value for name, value in LOCAL.items())
    if "ray" in sys.modules and not told:
        settings = " ".join(f"{name}={value}" for name, value in LOCAL.items())
        raise RayError(
            "Ray was imported before it was told to listen on loopback only; set these in the "
            f"environment of the process, or use --workers 0: {settings}"
        )
    os.environ.update(LOCAL)


def _loopback_only() -> None:
    """Refuse a Ray whose processes listen on anything but the loopback interface."""
    open_to_all = [address for address in listeners(os.getpid()) if not address.is_loopback]
    if open_to_all:
        raise RayError(
            f"Ray listens on {', '.join(map(str, sorted(set(map(str, open_to_all)))))}, not on "
            "loopback only; stopped. --workers 0 runs without Ray"
        )


def check(result: Result) -> Result:
    """The result, or the error that the worker met, raised here."""
    if "error" in result:
        kinds = {kind.__name__: kind for kind in CurateError.__subclasses__()}
        raise kinds.get(result["error"], CurateError)(result["message"])
    return result

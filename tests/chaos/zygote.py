"""A warm process that forks one run after another, so that a kill costs half a second, not three.

Reads requests as JSON lines, answers with the child's pid at once and with its end later. A run
is killed before its n-th operation on the output folder: Python's audit events for open, rename,
link, remove, mkdir and rmdir are counted, so the product needs no hooks for the harness.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from curate import progress  # noqa: F401  # imported before the fork, as all that a run needs
from curate.errors import CurateError
from curate.run import Job, run
from tests.chaos.mutants import MUTANTS
from tests.crawl import write_crawl

COUNTED = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}


class Quiet:
    """Events that nobody watches."""

    def begin(self, phase: str, total: int, unit: str) -> None: ...

    def advance(self, counts: dict[str, int]) -> None: ...

    def say(self, text: str) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None: ...


def child(request: dict) -> int:
    """One run; the exit code says how it ended."""
    operations = 0
    folder = request["output"]

    def count(event: str, arguments: tuple) -> None:
        nonlocal operations
        if event not in COUNTED or folder not in str(arguments[0]):
            return
        operations += 1
        if operations == request["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    if request.get("mutant"):
        MUTANTS[request["mutant"]]()
    recipe = Path(request["recipe"])
    job = Job(recipe.read_text(), recipe.name, request["inputs"], Path(folder), workers=0)
    try:
        outcome = run(job, Quiet())
    except CurateError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    report = {"operations": operations, "units": outcome.units, "reused": outcome.reused}
    Path(request["report"]).write_text(json.dumps(report))
    return 0


def warm() -> None:
    """Load all kernels once, so that no fork has to."""
    with tempfile.TemporaryDirectory() as folder:
        crawl = [str(path) for path in write_crawl(Path(folder) / "crawl", files=1, pages=4)]
        recipe = Path(__file__).with_name("chaos.yaml").read_text()
        run(Job(recipe, "chaos.yaml", crawl, Path(folder) / "output", workers=0), Quiet())


def main() -> None:
    """Serve requests until the input ends."""
    warm()
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            code = 70
            try:
                code = child(request)
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(json.dumps({"pid": process}), flush=True)
        _, status = os.waitpid(process, 0)
        print(json.dumps({"exit": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()

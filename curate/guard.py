"""How a command ends: errors of ours in one line and their exit code, interruptions likewise."""

import signal
import sys
from collections.abc import Callable
from typing import Any

from curate.errors import CurateError, DiskError, RecipeError
from curate.progress import printable


def guarded(command: Callable[[], Any]) -> None:
    """Run a command, and leave the process as users of a command expect."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        command()
    except (OSError, UnicodeEncodeError) as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        print(f"curate: {printable(str(error))}", file=sys.stderr)
        sys.exit(DiskError.exit_code)
    except CurateError as error:
        print(f"curate: {printable(str(error))}", file=sys.stderr)
        if isinstance(error, RecipeError):
            print("curate plan RECIPE checks a recipe without running it", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _terminated(number: int, frame: object) -> None:
    del frame
    print("terminated; the same command goes on from here", file=sys.stderr)
    sys.exit(128 + number)

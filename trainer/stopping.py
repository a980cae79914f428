"""SIGTERM and SIGINT during a training: they are heeded once its step is done and saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """The signal that has come, if one has."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Note the next signal; only the main thread can. One that is ignored stays so."""
        if threading.current_thread() is threading.main_thread():
            heeded = [one for one in SIGNALS if signal.getsignal(one) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._noted) for number in heeded}

    def forget(self) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            # None is a handler that Python did not set and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def obey(self) -> None:
        """Let the signal do what it would have done when it came."""
        self.forget()
        signal.raise_signal(self.number or signal.SIGTERM)  # another process's was noted

    def _noted(self, number: int, frame: object) -> None:
        del frame
        self.number = number
        self.forget()  # a second one is heeded at once


@contextmanager
def listening() -> Iterator[Stop]:
    """A place where signals are noted rather than obeyed."""
    stop = Stop()
    stop.listen()
    try:
        yield stop
    finally:
        stop.forget()

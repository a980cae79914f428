"""The one clock that ours and its peers are timed with; it needs nothing but Python."""

import time
from collections.abc import Callable

ROUNDS, SECONDS = 5, 0.4


def speed(read: Callable[[int], object], tokens_each: int) -> float:
    """The best of several rounds, in million tokens a second of CPU, all threads together.

    Others may be at work on the machine; what they take is no reader's fault.
    """
    best, calls = 0.0, 0
    for _ in range(ROUNDS):
        first, began, spent = calls, time.process_time(), 0.0
        while spent < SECONDS:
            read(calls)
            calls += 1
            spent = time.process_time() - began
        best = max(best, (calls - first) * tokens_each / spent)
    return best / 1e6

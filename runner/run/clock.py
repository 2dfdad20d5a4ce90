"""Time, as a run sees it."""

from __future__ import annotations

import random
import time
from threading import Event


class Clock:
    """The real time. Tests use one that never sleeps."""

    def now(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970, as this machine believes."""
        return time.time()

    def wait(self, over: Event, seconds: float) -> bool:
        """Sleep until `over` is set, at most `seconds`; True: it is set."""
        return over.wait(seconds)

    def jitter(self) -> float:
        """A random factor from 0 to 1."""
        return random.random()

"""When to try again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from runner.errors import Unavailable
from runner.run.clock import Clock

T = TypeVar("T")

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 2.0
PATIENCE_SECONDS = 10.0  # a restart of the API takes a few seconds; what takes longer is for the next call
FEWEST_ATTEMPTS = 3  # even when they take longer than that


def growing(count: int, first: float, longest: float) -> float:
    """The wait after `count` waits before it, in seconds: twice the one before, up to `longest`."""
    return min(first * 2.0 ** min(count, 16), longest)


class Retry:
    """The attempts at one call: exponential waits with full jitter, until time or patience is over."""

    def __init__(self, clock: Clock, *, until: float, over: Event | None = None) -> None:
        self._clock = clock
        self._until = until
        self._over = over or Event()
        self._began = clock.now()
        self._failures = 0

    def again(self, *, patient: bool = False) -> bool:
        """After a failed attempt: wait, and say whether to try again. `patient`: as long as there is time."""
        seconds = self._clock.jitter() * growing(self._failures, FIRST_SECONDS, LONGEST_SECONDS)
        self._failures += 1
        now = self._clock.now()
        if now + seconds >= self._until:
            return False
        if not patient and self._failures >= FEWEST_ATTEMPTS and now - self._began > PATIENCE_SECONDS:
            return False
        return not self._clock.wait(self._over, seconds)


def persistently(call: Callable[[], T], clock: Clock, *, until: float) -> T:
    """What the call returns, tried again where it raises Unavailable. Raises the last one, and every other error."""
    retry = Retry(clock, until=until)
    while True:
        try:
            return call()
        except Unavailable:
            if not retry.again():
                raise

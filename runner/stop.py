"""Ending a run early."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Asks a run to begin nothing new.

    A plain flag and no Event: an Event has a lock, and a signal handler that interrupts its holder would wait for ever.
    """

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A Stop that SIGTERM and Ctrl-C request. The second signal does what it did before.

    Only the main thread can have handlers; elsewhere nothing requests the Stop. That is so in the HTTP function too:
    its requests run in threads, and its server sets the handlers of the worker process itself after it imported us.
    There SIGTERM lets running requests end, the budget bounds them, and what is killed is taken up by the next tick.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        restore()

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()

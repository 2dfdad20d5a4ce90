"""Ending a run early."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Shutdown:
    """Asks a run to begin nothing new.

    A plain flag and no Event: an Event has a lock, and a signal handler that interrupts its holder would wait for ever.
    """

    def __init__(self) -> None:
        self._requested = False

    @property
    def requested(self) -> bool:
        """Whether to begin nothing new."""
        return self._requested

    def request(self) -> None:
        """Begin nothing new from now on."""
        self._requested = True


class WorkerShutdown(Shutdown):
    """Requested when the server process that we run in is told to end, as Cloud Run does 10 s before it kills.

    Requests run in threads, which can set no signal handlers. But the handler that gunicorn has set for SIGTERM is a
    method of its worker, and clears the worker's `alive`. Under a server of another kind nothing requests this.
    """

    def __init__(self) -> None:
        super().__init__()
        self._worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)

    @property
    def requested(self) -> bool:
        """Whether the worker is on its way out."""
        return not getattr(self._worker, "alive", True)


@contextmanager
def shutdown_on_signals() -> Iterator[Shutdown]:
    """A Shutdown that SIGTERM and Ctrl-C request. The second signal does what it did before.

    Only the main thread can have handlers; elsewhere nothing requests the Shutdown.
    """
    shutdown = Shutdown()
    if threading.current_thread() is not threading.main_thread():
        yield shutdown
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(_number: int, _frame: FrameType | None) -> None:
        shutdown.request()
        restore()

    for number in before:
        signal.signal(number, request)
    try:
        yield shutdown
    finally:
        restore()

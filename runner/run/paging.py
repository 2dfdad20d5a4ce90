"""Reading page by page, each page as large as the database gives it in about two seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from runner.errors import StatementTimeout, Unavailable
from runner.run.clock import Clock
from runner.run.retry import Retry
from runner.run.shutdown import Shutdown
from runner.run.step_size import StepSize


class Page(Protocol):
    """One page of an answer; `cursor` asks for the next one, None: this was the last."""

    @property
    def cursor(self) -> str | None: ...


PageT = TypeVar("PageT", bound=Page)


class Paging:
    """Reads pages of up to `rows` contacts at first; later ones adapt."""

    def __init__(self, rows: int, clock: Clock, shutdown: Shutdown) -> None:
        self._step_size = StepSize(rows)
        self._clock = clock
        self._shutdown = shutdown

    @property
    def seconds(self) -> float:
        """What the next page will probably take."""
        return self._step_size.seconds

    def read(self, ask: Callable[[int], PageT], *, until: float) -> PageT:
        """Read one page, and try again until the clock shows `until`: with half the rows after a statement timeout.

        Raises RunnerError when the page cannot be read.
        """
        retry = Retry(self._clock, until=until)
        while True:
            rows = self._step_size.rows
            started = self._clock.now()
            try:
                page = ask(rows)
            except Unavailable as error:
                slow = isinstance(error, StatementTimeout)
                if slow:
                    self._step_size.halve(rows, self._clock.now() - started)
                if self._shutdown.requested or not retry.again(patient=slow):
                    raise
            else:
                if page.cursor is not None:  # a full page; the last one says nothing about the size
                    self._step_size.learn(rows, rows, self._clock.now() - started)
                return page

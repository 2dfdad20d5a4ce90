"""Reading page by page, each page as large as the database gives it in about two seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from runner.clock import Clock
from runner.errors import StatementTimeout, Unavailable
from runner.pace import Pace
from runner.retry import Retry
from runner.stop import Stop


class Page(Protocol):
    """One page of an answer; `cursor` asks for the next one, None: this was the last."""

    @property
    def cursor(self) -> str | None: ...


PageT = TypeVar("PageT", bound=Page)


class Pages:
    """Reads pages of up to `rows` contacts at first; later ones adapt."""

    def __init__(self, rows: int, clock: Clock, stop: Stop) -> None:
        self._pace = Pace(rows)
        self._clock = clock
        self._stop = stop

    @property
    def seconds(self) -> float:
        """What the next page will probably take."""
        return self._pace.seconds

    def read(self, ask: Callable[[int], PageT], *, until: float) -> PageT:
        """Ask for a page of so many rows, until the clock shows `until`: again after what passes, for less after a
        statement timeout. Raises RunnerError when it cannot be read.
        """
        retry = Retry(self._clock, until=until)
        while True:
            rows = self._pace.rows
            started = self._clock.now()
            try:
                page = ask(rows)
            except Unavailable as error:
                slow = isinstance(error, StatementTimeout)
                if slow:
                    self._pace.halve(rows, self._clock.now() - started)
                if self._stop.requested or not retry.again(patient=slow):
                    raise
            else:
                if page.cursor is not None:  # a full page; the last one says nothing about the size
                    self._pace.learn(rows, rows, self._clock.now() - started)
                return page

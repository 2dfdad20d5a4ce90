"""How large a step is."""

from __future__ import annotations

from threading import Lock

TARGET_SECONDS = 2.0
FLOOR_ROWS = 500
CEILING_ROWS = 1_000_000
GROWTH_AT_MOST = 4  # times the size before


class StepSize:
    """The number of contacts to ask a step for, learnt from the steps so far. Shared by the workers of a run.

    Several steps of one size end side by side: only the first of them changes it, so four that time out halve it once,
    and four that are quick let it grow once.
    """

    def __init__(self, rows: int) -> None:
        self._lock = Lock()
        self._rows = rows
        self._floor = min(FLOOR_ROWS, rows)
        self._seconds = 0.0

    @property
    def rows(self) -> int:
        """Contacts to ask the next step for."""
        return self._rows

    @property
    def seconds(self) -> float:
        """What the next step will probably take."""
        return self._seconds

    @property
    def slowest(self) -> bool:
        """Whether steps cannot become smaller."""
        return self._rows <= self._floor

    def learn(self, asked: int, contacts: int, seconds: float) -> None:
        """A step that was asked for `asked` contacts generated recipients from `contacts` of them."""
        with self._lock:
            self._seconds = seconds
            if asked != self._rows or contacts * 2 < asked:
                return  # an older size, or a step that ran out of contacts and so says nothing about the size
            target = int(contacts * TARGET_SECONDS / max(seconds, 0.001))
            self._rows = min(max(min(target, GROWTH_AT_MOST * asked), self._floor), CEILING_ROWS)

    def halve(self, asked: int, seconds: float) -> None:
        """A step that was asked for `asked` contacts ran into the statement timeout."""
        with self._lock:
            self._seconds = seconds / 2
            self._rows = min(self._rows, max(asked // 2, self._floor))

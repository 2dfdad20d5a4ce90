"""The time that one run may take."""

from __future__ import annotations

from runner.run.clock import Clock

REPORT_SHARE = 0.1  # of the time is kept for the report,
REPORT_SECONDS = 5.0  # but no more than this
STEP_SECONDS = 10.0  # the longest step: the 8 s that the database allows a statement, and the way there and back
READ_SECONDS = 15.0  # the longest wait for any answer


class Deadline:
    """Counts from when it is made. All times are those of the clock, in seconds."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._started = clock.now()
        self.ends = self._started + seconds
        self.steps_end = self.ends - min(seconds * REPORT_SHARE, REPORT_SECONDS)

    def allows(self, seconds: float) -> bool:
        """Whether a step that takes this long would end in time."""
        return self._clock.now() + seconds < self.steps_end

    def timeout(self) -> float:
        """How long to wait for an answer now: what is left, and one step more."""
        return min(READ_SECONDS, max(0.0, self.ends - self._clock.now()) + STEP_SECONDS)

    def report_ends(self) -> float:
        """Until when the report may be tried again: there is always a little time for it."""
        return max(self.ends, self._clock.now() + REPORT_SECONDS)

    def milliseconds(self) -> int:
        """The time since the run began."""
        return round((self._clock.now() - self._started) * 1000)

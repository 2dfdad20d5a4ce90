"""The progress of a run on a terminal: a line for each campaign that is being generated, updated in place."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO
from uuid import UUID

from runner import database
from runner.commands.status import number
from runner.commands.terminal import bar, duration, printable, share, short
from runner.errors import RunnerError
from runner.health import Health, OpenLaunch, health_parameters
from runner.run.clock import Clock
from runner.settings import Settings

INTERVAL_SECONDS = 1.0
ANSWER_SECONDS = 5.0
LINGER_SECONDS = 1.0
LONGEST_NAME = 32

_UP_AND_CLEAR = "\x1b[{}F\x1b[J"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"  # what does not fit into a line is cut off by the terminal itself

_logger = logging.getLogger(__name__)


@contextmanager
def shown(settings: Settings, organization_id: UUID | None) -> Iterator[None]:
    """Show the progress on stderr, which must be a terminal, while the block runs, and take it away at its end.

    What is written to `sys.stderr` meanwhile stands above it. A database that does not answer leaves the lines as they
    were: the run has more to say about that.
    """
    screen = Screen(sys.stderr)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(settings, organization_id, screen, over), daemon=True)
    sys.stderr, before = screen, sys.stderr
    watcher.start()
    try:
        yield
    finally:
        over.set()
        sys.stderr = before
        screen.close()
        watcher.join(LINGER_SECONDS)  # it may be waiting for an answer, which nobody will see


def _watch(settings: Settings, organization_id: UUID | None, screen: Screen, over: threading.Event) -> None:
    clock = Clock()
    speed = Speed()
    try:
        while not over.wait(INTERVAL_SECONDS):
            try:
                health = database.shared(settings).call(
                    "campaign_runner_health",
                    health_parameters(settings, organization_id),
                    Health,
                    timeout=ANSWER_SECONDS,
                )
            except RunnerError:
                continue
            screen.draw(lines(health, speed.measured(health, clock.now())))
    except Exception:
        _logger.exception("The progress cannot be shown.")


class Speed:
    """How fast each campaign goes, in contacts a second over its present pass, as far as it was watched."""

    def __init__(self) -> None:
        self._first: dict[tuple[UUID, str], tuple[int, float]] = {}
        self._last: dict[tuple[UUID, str], int] = {}

    def measured(self, health: Health, now: float) -> dict[UUID, float]:
        """The speeds at this moment. One that was not seen to move yet has none."""
        speeds = {}
        for campaign in health.generating.campaigns:
            this_pass, done = (campaign.campaign_id, campaign.state), campaign.contacts_done
            if done < self._last.get(this_pass, 0):  # it began again
                del self._first[this_pass]
            self._last[this_pass] = done
            first, since = self._first.setdefault(this_pass, (done, now))
            if done > first and now > since:
                speeds[campaign.campaign_id] = (done - first) / (now - since)
        return speeds


def lines(health: Health, speeds: Mapping[UUID, float]) -> list[str]:
    """What is shown: a line for each campaign, the number of others, and what is due."""
    generating = health.generating
    shown = [line(campaign, speeds.get(campaign.campaign_id)) for campaign in generating.campaigns]
    return [*shown, f"{number(health.due)} due, {number(generating)} of them under way"] if shown else []


def line(campaign: OpenLaunch, speed: float | None) -> str:
    """One campaign: how far its pass is, how long it still takes, how fast it goes; then what may be cut off."""
    parts = []
    if campaign.percent is not None:
        parts.append(f"{campaign.percent:3} % {bar(campaign.percent)}")
    if speed is not None:
        if campaign.contacts_total is not None:
            parts.append(f"{duration((campaign.contacts_total - campaign.contacts_done) / speed)} left")
        parts.append(f"{speed:,.0f}/s")
    done = share(campaign.contacts_done, campaign.contacts_total, estimated=campaign.is_total_estimated)
    parts += [
        short(campaign.name, LONGEST_NAME),
        campaign.state,
        f"{done} contacts",
        f"{campaign.recipients_inserted:,} recipients",
    ]
    return "  ".join(parts)


class Screen:
    """A stream with lines below it that are drawn anew in place. Safe to write to from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # a signal handler may write while we do
        self._lines: list[str] = []
        self._drawn = 0  # of them, above the cursor
        self._partial = False  # the last text did not end its line
        self._closed = False

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, as many as the terminal has room for, in the place of the last ones."""
        with self._lock:
            if self._closed:
                return
            rows = max(1, os.get_terminal_size(self._stream.fileno()).lines - 2)
            self._lines = [printable(line) for line in lines[-rows:]]
            self._redraw()

    def write(self, text: str) -> int:
        """Write text above the lines."""
        with self._lock:
            self._redraw(text)
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person watches."""
        return self._stream.isatty()

    def close(self) -> None:
        """Take the lines away. Text may still be written."""
        with self._lock:
            self._lines = []
            self._redraw()
            self._closed = True

    def _redraw(self, text: str = "") -> None:
        clear = _UP_AND_CLEAR.format(self._drawn) if self._drawn else ""
        self._partial = not text.endswith("\n") if text else self._partial
        # Below a text that has not ended yet they would become part of it.
        lines = "" if self._partial else "".join(f"{line}\n" for line in self._lines)
        self._drawn = lines.count("\n")
        self._stream.write(clear + text + (f"{_CUT}{lines}{_WRAP}" if lines else ""))
        self._stream.flush()

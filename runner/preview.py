"""One dry run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from runner import log
from runner.budget import Budget
from runner.clock import Clock
from runner.errors import StatementTimeout, Unavailable
from runner.models import CampaignError, CampaignOutcome, PreviewAnswer, RunReport, RunResult
from runner.pace import Pace
from runner.retry import Retry
from runner.settings import Settings
from runner.stop import Stop

if TYPE_CHECKING:
    from runner.database import Database

_logger = logging.getLogger(__name__)


class Preview:
    """Finds out what a run would do, page by page, and writes nothing."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        run_id: UUID,
        organization_id: UUID | None,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._organization_id = organization_id
        self._clock = clock
        self._stop = stop
        self._pace = Pace(settings.step_rows)
        self._budget = Budget(clock, settings.run_time_budget_seconds)

    def execute(self) -> RunReport:
        """Read every page that the budget allows for, and at least one. Raises RunnerError when one cannot be read."""
        with log.bound(run_id=self._run_id, organization_id=self._organization_id, dry_run=True):
            campaigns: list[CampaignOutcome] = []
            errors: list[CampaignError] = []
            cursor: str | None = None
            complete, pages = False, 0
            while not pages or (self._budget.allows(self._pace.seconds) and not self._stop.requested):
                page = self._page(cursor)
                campaigns += page.campaigns
                errors += page.errors
                cursor, pages = page.cursor, pages + 1
                if cursor is None:
                    complete = True
                    break
            report = RunReport(self._run_id, RunResult.of(campaigns, errors), complete=complete)
            log.summary(_logger, report, self._budget.milliseconds(), pages=pages)
            return report

    def _page(self, cursor: str | None) -> PreviewAnswer:
        retry = Retry(self._clock, until=self._budget.ends)
        while True:
            rows = self._pace.rows
            started = self._clock.now()
            try:
                page = self._database.preview(
                    self._organization_id, cursor=cursor, max_rows=rows, timeout=self._budget.timeout()
                )
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

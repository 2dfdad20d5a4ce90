"""One dry run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from runner import log
from runner.budget import Budget
from runner.clock import Clock
from runner.models import CampaignError, CampaignOutcome, PreviewAnswer, RunReport, RunResult
from runner.pages import Pages
from runner.settings import Settings
from runner.stop import Stop

if TYPE_CHECKING:
    from runner.database import Database

_logger = logging.getLogger(__name__)


class DryRun:
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
        self._stop = stop
        self._pages = Pages(settings.step_rows, clock, stop)
        self._budget = Budget(clock, settings.run_time_budget_seconds)

    def execute(self) -> RunReport:
        """Read every page that the budget allows for, and at least one. Raises RunnerError when one cannot be read."""
        with log.bound(run_id=self._run_id, organization_id=self._organization_id, dry_run=True):
            campaigns: list[CampaignOutcome] = []
            errors: list[CampaignError] = []
            cursor: str | None = None
            complete, pages = False, 0
            while not pages or (self._budget.allows(self._pages.seconds) and not self._stop.requested):
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
        def ask(rows: int) -> PreviewAnswer:
            return self._database.preview(
                self._organization_id, cursor=cursor, max_rows=rows, timeout=self._budget.timeout()
            )

        return self._pages.read(ask, until=self._budget.ends)

"""One dry run."""

from __future__ import annotations

import logging
from uuid import UUID

from runner import log
from runner.database import INTERFACE, Database, limits
from runner.run.clock import Clock
from runner.run.deadline import Deadline
from runner.run.paging import Paging
from runner.run.results import CampaignError, CampaignOutcome, PreviewPage, RunReport, RunResult
from runner.run.shutdown import Shutdown
from runner.settings import Settings

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
        shutdown: Shutdown,
    ) -> None:
        self._database = database
        self._settings = settings
        self._run_id = run_id
        self._organization_id = organization_id
        self._shutdown = shutdown
        self._paging = Paging(settings.step_rows, clock, shutdown)
        self._deadline = Deadline(clock, settings.run_time_budget_seconds)

    def execute(self) -> RunReport:
        """Read every page for which there is time, and at least one. Raises RunnerError when one cannot be read."""
        with log.bound(run_id=self._run_id, organization_id=self._organization_id, dry_run=True):
            campaigns: list[CampaignOutcome] = []
            errors: list[CampaignError] = []
            cursor: str | None = None
            complete, pages = False, 0
            while not pages or (self._deadline.allows(self._paging.seconds) and not self._shutdown.requested):
                page = self._page(cursor)
                campaigns += page.campaigns
                errors += page.errors
                cursor, pages = page.cursor, pages + 1
                if cursor is None:
                    complete = True
                    break
            report = RunReport(self._run_id, RunResult.of(campaigns, errors), complete=complete)
            log.summary(_logger, report, self._deadline.milliseconds(), pages=pages)
            return report

    def _page(self, cursor: str | None) -> PreviewPage:
        def ask(rows: int) -> PreviewPage:
            parameters = {
                "p_organization_id": self._organization_id,
                **limits(self._settings, rows),
                "p_cursor": cursor,
                "p_interface": INTERFACE,
            }
            timeout = self._deadline.timeout()
            return self._database.call("campaign_runner_preview", parameters, PreviewPage, timeout=timeout)

        return self._paging.read(ask, until=self._deadline.ends)

"""One run: the steps, then the report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from runner import log
from runner.budget import Budget
from runner.clock import Clock
from runner.crew import Crew
from runner.errors import RunnerError, Unavailable
from runner.models import ReportAnswer, RunReport, StepAnswer
from runner.pace import Pace
from runner.retry import Retry
from runner.settings import Settings
from runner.stop import Stop

if TYPE_CHECKING:
    from runner.database import Database

_logger = logging.getLogger(__name__)


class Run:
    """Launches what is due."""

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
        self._concurrency = settings.run_concurrency
        self._budget = Budget(clock, settings.run_time_budget_seconds)
        self._crew = Crew(self._step, pace=Pace(settings.step_rows), budget=self._budget, clock=clock, stop=stop)

    def execute(self) -> RunReport:
        """Run, and return what was done. Raises RunnerError when nothing could be done."""
        with log.bound(run_id=self._run_id, organization_id=self._organization_id):
            self._crew.work(self._concurrency)
            answer = ReportAnswer.of() if self._was_idle() else self._reported()
            report = RunReport(self._run_id, answer.result, complete=self._crew.complete, warnings=answer.warnings)
            self._log(report)
            return report

    def _step(self, rows: int) -> StepAnswer:
        return self._database.step(self._run_id, self._organization_id, max_rows=rows, timeout=self._budget.timeout())

    def _was_idle(self) -> bool:
        """Whether there was nothing to do, for certain: an attempt whose answer was lost may have done something."""
        last = self._crew.last
        return self._crew.attempts == 1 and last is not None and last.nothing_left and not last.to_report

    def _reported(self) -> ReportAnswer:
        """What the ledger says that this run did; or the error that ended it, when it did nothing."""
        error = self._crew.error
        if error is not None and not isinstance(error, Unavailable) and self._crew.attempts == 1:
            raise error  # the database refused the only step: there is nothing to report
        try:
            answer = self._report()
        except RunnerError as unreported:
            # Why the run ended says more than that the report failed too; but after steps that took effect, only the
            # report knows what they did, and the caller should know that it is missing.
            raise (error if error is not None and not self._crew.steps else unreported) from unreported
        log.warnings(_logger, answer.warnings)
        if error is None:
            return answer
        achieved = bool(answer.campaigns or answer.errors)
        if not achieved and (not self._crew.steps or not isinstance(error, Unavailable)):
            raise error
        _logger.error("The run ended early: %s", error)
        return answer

    def _report(self) -> ReportAnswer:
        retry = Retry(self._clock, until=self._budget.report_ends())
        while True:
            try:
                return self._database.report(self._run_id, timeout=self._budget.timeout())
            except Unavailable:
                # When no step was ever answered, waiting was tried before: do not keep the caller any longer.
                if not self._crew.steps or not retry.again():
                    raise

    def _log(self, report: RunReport) -> None:
        log.outcomes(_logger, report.result)
        if self._crew.held:
            _logger.info("%d due campaigns are held by others and left to them.", self._crew.held)
        log.summary(_logger, report, self._budget.milliseconds(), steps=self._crew.steps, contacts=self._crew.contacts)

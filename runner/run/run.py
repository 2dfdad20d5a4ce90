"""One run: the steps, then the report."""

from __future__ import annotations

import logging
from uuid import UUID

from runner import log
from runner.database import INTERFACE, Database, impaired, limits
from runner.errors import Impaired, RunnerError, Unavailable
from runner.run.clock import Clock
from runner.run.deadline import Deadline
from runner.run.results import ReportResult, RunReport, StepResult
from runner.run.retry import Retry
from runner.run.shutdown import Shutdown
from runner.run.step_size import StepSize
from runner.run.workers import Workers
from runner.settings import Settings

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
        shutdown: Shutdown,
    ) -> None:
        self._database = database
        self._settings = settings
        self._run_id = run_id
        self._organization_id = organization_id
        self._clock = clock
        self._concurrency = settings.run_concurrency
        self._deadline = Deadline(clock, settings.run_time_budget_seconds)
        self._workers = Workers(
            self._step, step_size=StepSize(settings.step_rows), deadline=self._deadline, clock=clock, shutdown=shutdown
        )

    def execute(self) -> RunReport:
        """Run, and return what was done. Raises RunnerError when nothing could be done."""
        with log.bound(run_id=self._run_id, organization_id=self._organization_id):
            self._workers.work(self._concurrency)
            answer = ReportResult.of() if self._was_idle() else self._reported()
            report = RunReport(
                self._run_id,
                answer.result,
                complete=self._workers.complete,
                warnings=answer.warnings,
                names=answer.names,
            )
            self._log(report)
            return report

    def _step(self, rows: int) -> StepResult:
        parameters = {
            "p_run_id": self._run_id,
            "p_organization_id": self._organization_id,
            **limits(self._settings, rows),
            "p_interface": INTERFACE,
        }
        result = self._database.call("campaign_runner_step", parameters, StepResult, timeout=self._deadline.timeout())
        if result.unrecorded is not None:
            # The launches of the step are committed, and the report names them.
            raise impaired(result.unrecorded) or Impaired(
                f"The database refuses to record failures (SQLSTATE {result.unrecorded[:5]!r})."
            )
        return result

    def _was_idle(self) -> bool:
        """Whether there was nothing to do, for certain: an attempt whose answer was lost may have done something."""
        last = self._workers.last
        return self._workers.attempts == 1 and last is not None and last.nothing_left and not last.to_report

    def _reported(self) -> ReportResult:
        """What the ledger says that this run did; or the error that ended it, when it did nothing."""
        error = self._workers.error
        if error is not None and not isinstance(error, Unavailable) and self._workers.attempts == 1:
            raise error  # the database refused the only step: there is nothing to report
        try:
            answer = self._report()
        except RunnerError as unreported:
            # Raise the error of the run, which says more. After an answered step, raise the error of the report: the
            # caller must learn that outcomes are missing.
            raise (error if error is not None and not self._workers.steps else unreported) from unreported
        log.warnings(_logger, answer.warnings)
        if error is None:
            return answer
        achieved = bool(answer.campaigns or answer.errors)
        if not achieved and (not self._workers.steps or not isinstance(error, Unavailable)):
            raise error
        _logger.error("The run ended early: %s", error)
        return answer

    def _report(self) -> ReportResult:
        retry = Retry(self._clock, until=self._deadline.report_ends())
        while True:
            try:
                return self._database.call(
                    "campaign_runner_report", {"p_run_id": self._run_id}, ReportResult, timeout=self._deadline.timeout()
                )
            except Unavailable:
                # When no step was ever answered, waiting was tried before: do not keep the caller any longer.
                if not self._workers.steps or not retry.again():
                    raise

    def _log(self, report: RunReport) -> None:
        log.outcomes(_logger, report.result)
        if self._workers.held:
            _logger.info("%d due campaigns are held by others and left to them.", self._workers.held)
        log.summary(
            _logger, report, self._deadline.milliseconds(), steps=self._workers.steps, contacts=self._workers.contacts
        )

"""One run, from the settings to the result."""

from __future__ import annotations

from uuid import UUID, uuid4

from runner import database, log
from runner.run.clock import Clock
from runner.run.dry_run import DryRun
from runner.run.parameters import Parameters, parse_organization_id
from runner.run.results import RunReport, RunResult
from runner.run.run import Run
from runner.run.shutdown import Shutdown
from runner.settings import Settings


def run_campaign_automation(organization_id: str | UUID | None = None, *, dry_run: bool = False) -> RunResult:
    """Launch the campaigns that are due, of one organization or (None) of all of them.

    `dry_run`: return what a run would do, and write nothing. Settings come from the environment. A campaign that could
    not be launched raises nothing, but stands in `errors` of the result. Raises a `runner.errors.RunnerError`:
    InvalidRequest or OrganizationNotFound for the argument, InvalidSettings or InvalidProject for the configuration,
    Unavailable when the database cannot be used.
    """
    settings = Settings.load()
    log.configure(settings.log_level)
    parameters = Parameters(
        organization_id=None if organization_id is None else parse_organization_id(organization_id), dry_run=dry_run
    )
    return automate(settings, parameters).result


def automate(
    settings: Settings, parameters: Parameters, *, run_id: UUID | None = None, shutdown: Shutdown | None = None
) -> RunReport:
    """Run, or for a dry run preview, under a run id of the caller's or a new one; `shutdown` ends it early.

    The report that it returns is not `complete` when work is left. Raises RunnerError, as `run_campaign_automation`.
    """
    kind = DryRun if parameters.dry_run else Run
    run = kind(
        database.shared(settings),
        settings,
        run_id=run_id or uuid4(),
        organization_id=parameters.organization_id,
        clock=Clock(),
        shutdown=shutdown or Shutdown(),
    )
    return run.execute()

"""One run, from the settings to the result."""

from __future__ import annotations

from uuid import UUID, uuid4

from runner import log
from runner.budget import Budget
from runner.clock import Clock
from runner.models import FreedCampaign, RunReport, RunResult
from runner.parameters import Parameters, parse_organization_id
from runner.retry import persistently
from runner.settings import Settings
from runner.stop import Stop


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


def free_campaigns(settings: Settings, campaign_id: UUID | None) -> tuple[FreedCampaign, ...]:
    """Have this campaign, or (None) every one that waits after a failure, tried again by the next run.

    Returns those that waited. Raises RunnerError.
    """
    from runner import database

    clock = Clock()
    budget = Budget(clock, settings.run_time_budget_seconds)

    def free() -> tuple[FreedCampaign, ...]:
        return database.shared(settings).retry(campaign_id, timeout=budget.timeout()).freed

    return persistently(free, clock, until=budget.ends)


def automate(
    settings: Settings, parameters: Parameters, *, run_id: UUID | None = None, stop: Stop | None = None
) -> RunReport:
    """Run, or for a dry run preview, under a run id of the caller's or a new one; `stop` ends it early.

    The report that it returns is not `complete` when work is left. Raises RunnerError, as `run_campaign_automation`.
    """
    from runner import database  # not above: it takes longer to import than all the rest
    from runner.dry_run import DryRun
    from runner.run import Run

    kind = DryRun if parameters.dry_run else Run
    run = kind(
        database.shared(settings),
        settings,
        run_id=run_id or uuid4(),
        organization_id=parameters.organization_id,
        clock=Clock(),
        stop=stop or Stop(),
    )
    return run.execute()

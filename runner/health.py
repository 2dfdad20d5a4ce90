"""How the runner is: what is due, under way, or waits for somebody; and whether it is called at all."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from runner.budget import Budget
from runner.clock import Clock
from runner.retry import persistently
from runner.settings import Settings

PATIENCE_SECONDS = 5.0  # a monitor waits about ten


class Count(BaseModel):
    """`is_capped`: there are more, which were not counted."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    count: int = Field(ge=0, strict=True)
    is_capped: StrictBool


class Campaign(BaseModel):
    """A campaign that a list names; `organization_id` None: it belongs to none."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    organization_id: UUID | None
    name: StrictStr


class DueCampaign(Campaign):
    """A campaign that waits for a run; `scheduled_at` None: it is a time that no calendar of ours has."""

    scheduled_at: datetime | None


class GeneratingCampaign(Campaign):
    """A campaign whose audience is being generated (or, in a second pass, reconciled).

    `contacts_done` of `contacts_total` have been judged by this pass; the total and `percent` are None where nobody
    knows, and the total of a large organization is an estimate. `since`: when the launch was opened.
    """

    state: StrictStr
    contacts_done: int = Field(ge=0, strict=True)
    contacts_total: int | None = Field(ge=0, strict=True)
    is_total_estimated: StrictBool
    percent: int | None = Field(ge=0, le=100, strict=True)
    recipients_inserted: int = Field(ge=0, strict=True)
    since: datetime
    worked_at: datetime | None


class WaitingCampaign(Campaign):
    """A campaign that waits after a failure; `next_attempt_at` None: for a person."""

    attempts: int = Field(ge=0, strict=True)
    next_attempt_at: datetime | None
    last_error: StrictStr | None


class UnscheduledCampaigns(Count):
    """Those with the status `scheduled` and no `scheduled_at`, and the first of them."""

    campaigns: tuple[Campaign, ...]


class GeneratingCampaigns(Count):
    """Those under way, the first of them."""

    campaigns: tuple[GeneratingCampaign, ...]


class WaitingCampaigns(Count):
    """Those that wait, and the first of them."""

    campaigns: tuple[WaitingCampaign, ...]


class PastRun(BaseModel):
    """A run that did something; `closed_at` and the duration are None until it is reported."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run_id: UUID
    opened_at: datetime
    closed_at: datetime | None
    launched: int = Field(ge=0, strict=True)
    failed: int = Field(ge=0, strict=True)
    duration_seconds: float | None


class Health(BaseModel):
    """The answer of `campaign_runner_health`, and of `GET /health`.

    `oldest_due` is the campaign that has waited longest for a run, for `oldest_due_seconds`; None: none waits. One that
    is being worked on, or waits after a failure, does not count. `due` counts every campaign that is due.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    checked_at: datetime
    last_tick_at: datetime | None
    last_run_ended_at: datetime | None
    oldest_due_seconds: int | None = Field(strict=True)
    oldest_due: DueCampaign | None
    due: Count
    unscheduled: UnscheduledCampaigns
    generating: GeneratingCampaigns
    held: WaitingCampaigns
    needs_attention: WaitingCampaigns
    backing_off: WaitingCampaigns
    runs: tuple[PastRun, ...]

    def is_late(self, minutes: int) -> bool:
        """Whether a campaign has waited for a run for longer than this."""
        return self.oldest_due_seconds is not None and self.oldest_due_seconds > minutes * 60

    @property
    def needs_somebody(self) -> bool:
        """Whether a campaign waits for a person."""
        return any(each.count for each in (self.held, self.needs_attention, self.unscheduled))


def read_health(settings: Settings, organization_id: UUID | None = None) -> Health:
    """Ask the database how the runner is, for one organization or (None) for all. Raises RunnerError."""
    from runner import database

    clock = Clock()
    budget = Budget(clock, PATIENCE_SECONDS)

    def ask() -> Health:
        return database.shared(settings).health(organization_id, timeout=budget.timeout())

    return persistently(ask, clock, until=budget.ends)

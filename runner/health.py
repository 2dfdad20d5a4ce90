"""How the runner is: what is due, under way, or waits for somebody; and whether it is called at all."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from runner.database import system_user
from runner.query import query
from runner.settings import Settings

PATIENCE_SECONDS = 5.0  # a monitor waits about ten


class Count(BaseModel):
    """`is_capped`: there are more, which were not counted."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    count: int = Field(ge=0, strict=True)
    is_capped: StrictBool


class Campaign(BaseModel):
    """A campaign that a list names.

    `organization_id` None: it belongs to no organization; `organization_name` None: the project has no such names.
    `scheduled_at` None: it has no time, or one that no calendar of ours has.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    organization_id: UUID | None
    organization_name: StrictStr | None
    name: StrictStr
    scheduled_at: datetime | None


class OpenLaunch(Campaign):
    """A campaign whose launch has begun, or was refused before it began, and is not over.

    `contacts_done` of `contacts_total` have been evaluated by the present pass (an audience is generated, and a large
    one reconciled in a second pass). The total and `percent` are None where they are not known, and the total of a
    large organization is an estimate. `since`: when the launch was opened; `stalled_since`: when a step last worked on
    it, where that was more than two minutes ago.

    `failed_with` is the SQLSTATE of the last failure, `last_error` its meaning, and `detail` the words of the source
    that refused. `next_attempt_at` None: the next run tries the launch, or, in a list that waits for a person, none.
    """

    state: StrictStr
    since: datetime
    late_seconds: int | None = Field(strict=True)
    contacts_done: int = Field(ge=0, strict=True)
    contacts_total: int | None = Field(ge=0, strict=True)
    is_total_estimated: StrictBool
    percent: int | None = Field(ge=0, le=100, strict=True)
    recipients_inserted: int = Field(ge=0, strict=True)
    worked_at: datetime | None
    stalled_since: datetime | None
    attempts: int = Field(ge=0, strict=True)
    next_attempt_at: datetime | None
    failed_with: StrictStr | None
    last_error: StrictStr | None
    detail: StrictStr | None


class UnscheduledCampaigns(Count):
    """Those with the status `scheduled` and no `scheduled_at`, and the first of them."""

    campaigns: tuple[Campaign, ...]


class OpenLaunches(Count):
    """The launches in one condition, and the first of them."""

    campaigns: tuple[OpenLaunch, ...]


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

    `oldest_due` is the ready campaign that has waited longest for a run, for `oldest_due_seconds`; None: none waits.
    `due` counts every campaign that is due. `upcoming` are the next ten.

    The open launches: `generating` are under way; `backing_off` failed, and are tried again by themselves; `held` (too
    late) and `needs_attention` wait for a person; `taken_over` were set to `sending` by a person in the middle of the
    launch.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    checked_at: datetime
    is_read_only: StrictBool
    last_tick_at: datetime | None
    last_run_ended_at: datetime | None
    oldest_due_seconds: int | None = Field(strict=True)
    oldest_due: Campaign | None
    due: Count
    unscheduled: UnscheduledCampaigns
    upcoming: tuple[Campaign, ...]
    generating: OpenLaunches
    held: OpenLaunches
    needs_attention: OpenLaunches
    backing_off: OpenLaunches
    taken_over: OpenLaunches
    runs: tuple[PastRun, ...]

    def is_late(self, minutes: int) -> bool:
        """Whether a campaign has waited for a run for longer than this."""
        return self.oldest_due_seconds is not None and self.oldest_due_seconds > minutes * 60

    def is_well(self, minutes: int) -> bool:
        """Whether every due campaign is being launched: none is late by more than this, failed, held or taken over.

        In a read-only database none is.
        """
        stuck = (self.held, self.needs_attention, self.backing_off, self.taken_over)
        is_stuck = any(each.count for each in stuck) or (self.is_read_only and self.due.count > 0)
        return not is_stuck and not self.is_late(minutes)


def read_health(settings: Settings, organization_id: UUID | None = None, *, with_details: bool = False) -> Health:
    """Ask the database how the runner is, for one organization or (None) for all. Raises RunnerError.

    `with_details`: with the words of the source that refused a campaign, which may hold row data.
    """
    return query(
        settings,
        "campaign_runner_health",
        health_parameters(settings, organization_id, with_details=with_details),
        Health,
        seconds=PATIENCE_SECONDS,
    )


def health_parameters(
    settings: Settings, organization_id: UUID | None, *, with_details: bool = False
) -> dict[str, Any]:
    """The parameters of `campaign_runner_health`."""
    return {"p_organization_id": organization_id, **system_user(settings), "p_with_details": with_details}

"""`history`: the launches of one campaign, from the ledger."""

from __future__ import annotations

from uuid import UUID

import click
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from runner.commands.console import explained, load_settings
from runner.commands.status import told_error
from runner.commands.terminal import duration, moment, pairs, printable, wrapped
from runner.errors import CampaignNotFound
from runner.query import query
from runner.settings import Settings


class LaunchRecord(BaseModel):
    """One launch in the ledger. Times are ISO 8601; what is not known, or not yet, is None."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    launch_id: int = Field(ge=1, strict=True)
    name: StrictStr  # of the campaign, as it was then
    organization_id: UUID
    state: StrictStr  # opened, generating, reconciling; launched or abandoned: it is over
    condition: StrictStr  # what it is at, see campaign_runner.condition()
    run_id: UUID | None  # the run that launched it
    system_user_id: UUID | None  # in whose name
    scheduled_at: StrictStr | None
    opened_at: StrictStr
    closed_at: StrictStr | None
    duration_seconds: float | None
    late_seconds: float | None
    generates: StrictBool | None  # False: recipients were there before, and stayed as they were
    contacts: int | None  # of the organization, which were judged
    recipients_inserted: int | None  # of an open launch: up to now
    recipient_count: int | None
    recipients_before: int | None  # where recipients were there before: how many when the launch began,
    pending_before: int | None  # and how many of these were pending
    excluded: dict[StrictStr, int] | None
    unmatched: dict[StrictStr, tuple[StrictStr, ...]] | None  # names in the rules that kept no contact out
    attempts: int = Field(ge=0, strict=True)  # those that failed
    next_attempt_at: StrictStr | None
    waits_for_a_person: StrictBool
    failed_with: StrictStr | None  # the SQLSTATE of the last failure, until the launch makes progress
    error: StrictStr | None  # of the last attempt that failed,
    detail: StrictStr | None  # and the words of the source that refused


class CampaignState(BaseModel):
    """A campaign as it is now."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: StrictStr
    status: StrictStr


class History(BaseModel):
    """The answer of `campaign_runner_history`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign: CampaignState | None  # None: it was deleted, or never was
    launches: tuple[LaunchRecord, ...]  # the newest first
    is_cut: StrictBool  # there are older ones


@click.command(
    "history",
    epilog="""\b
Examples:
  python -m runner history 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11
  python -m runner history 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11 --limit 1 --json

\b
Exit codes:
  0  done
  1  there is no such campaign, and there was no launch of one
  2  wrong usage
  3  the database could not be asked""",
)
@click.argument("campaign_id", type=click.UUID)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show no more launches.")
@click.option("--json", "as_json", is_flag=True, help="Print the launches as JSON.")
@click.pass_context
def command(context: click.Context, campaign_id: UUID, limit: int, as_json: bool) -> None:
    """Show each launch of a campaign, the newest first.

    Who, when, how late, whom it left out, what went wrong. A campaign that was deleted since is shown too.
    """
    with explained(context):
        found = read_history(load_settings(), campaign_id, limit=limit)
        click.echo(found.model_dump_json(indent=2) if as_json else to_text(found))


def read_history(settings: Settings, campaign_id: UUID, *, limit: int) -> History:
    """Read up to `limit` launches of the campaign, the newest first.

    Raises CampaignNotFound where there is neither such a campaign nor a launch of one, and any other RunnerError where
    the database cannot be asked.
    """
    parameters = {"p_campaign_id": campaign_id, "p_max_launches": limit}
    seconds = settings.run_time_budget_seconds
    found = query(settings, "campaign_runner_history", parameters, History, seconds=seconds)
    if found.campaign is None and not found.launches:
        raise CampaignNotFound()
    return found


def to_text(found: History) -> str:
    """The launches for a person."""
    if found.campaign is not None:
        lines = wrapped(f"{found.campaign.name}: {found.campaign.status}")
    else:
        lines = wrapped(f"{found.launches[0].name}: deleted; the ledger remembers it")
    if not found.launches:
        lines += ["", "It was never launched."]
    for launch in found.launches:
        lines += ["", *_launch(launch, found.campaign)]
    if found.is_cut:
        lines += ["", f"These are the newest {len(found.launches)}; --limit shows more."]
    return "\n".join(lines)


def _launch(launch: LaunchRecord, campaign: CampaignState | None) -> list[str]:
    facts = {
        "schedule": moment(launch.scheduled_at),
        "opened": moment(launch.opened_at),
        "late by": None if launch.late_seconds is None else duration(launch.late_seconds),
        "recipients": _recipients(launch),
        "contacts": None if launch.contacts is None else f"{launch.contacts:,}",
        "excluded": ", ".join(f"{reason} {number:,}" for reason, number in sorted((launch.excluded or {}).items())),
        **{f"unmatched {rule}": ", ".join(names) for rule, names in sorted((launch.unmatched or {}).items()) if names},
        "failures": launch.attempts or None,
        "last error": launch.error and told_error(launch.error),
        "in its words": launch.detail,
        "in the name of": launch.system_user_id,
        "run": launch.run_id,
    }
    shown = [(f"  {name}", str(fact)) for name, fact in facts.items() if fact not in (None, "")]
    return [*wrapped(outcome(launch, campaign)), *pairs(shown)]


def outcome(launch: LaunchRecord, campaign: CampaignState | None) -> str:
    """What became of a launch, or what it is at."""
    if launch.state == "abandoned":
        return f"abandoned at {moment(launch.closed_at)}: the campaign was deleted"
    if launch.closed_at is not None:
        return f"{launch.state} at {moment(launch.closed_at)}, after {duration(launch.duration_seconds or 0.0)}"
    status = "deleted" if campaign is None else printable(campaign.status)
    if launch.condition == "taken_over":
        return (
            f"{launch.state}: taken over. A person set the campaign to sending before its audience was complete. Set "
            "the campaign to scheduled, and the runner goes on"
        )
    if launch.condition == "resting":
        return f"{launch.state}: rests, as the campaign is {status} or not due. The runner goes on when it is due"
    if launch.waits_for_a_person:
        return f"{launch.state}: waits for a person"
    if launch.next_attempt_at is not None:
        return f"{launch.state}: is tried again at {moment(launch.next_attempt_at)}"
    if launch.condition == "failing":
        return f"{launch.state}: is tried again by the next call"
    return f"{launch.state}: under way"


def _recipients(launch: LaunchRecord) -> str | None:
    if launch.recipient_count is None:
        return None if launch.recipients_inserted is None else f"{launch.recipients_inserted:,} written up to now"
    if launch.generates is False:
        pending = "" if launch.pending_before is None else f", {launch.pending_before:,} of them pending"
        return f"{launch.recipient_count:,}, all from before the launch{pending}"
    return f"{launch.recipient_count:,}, of which {launch.recipients_inserted:,} inserted"

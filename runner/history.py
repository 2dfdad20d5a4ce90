"""The launches of one campaign, from the ledger."""

from __future__ import annotations

from uuid import UUID

from runner.answers import CampaignState, History, LaunchRecord
from runner.budget import READ_SECONDS
from runner.clock import Clock
from runner.errors import CampaignNotFound
from runner.retry import persistently
from runner.settings import Settings
from runner.terminal import duration, moment, pairs, printable, wrapped


def history(settings: Settings, campaign_id: UUID, *, limit: int) -> History:
    """Read up to `limit` launches of the campaign, the newest first.

    Raises CampaignNotFound where there is neither such a campaign nor a launch of one, and any other RunnerError where
    the database cannot be asked.
    """
    from runner import database

    def ask() -> History:
        return database.shared(settings).history(campaign_id, limit=limit, timeout=READ_SECONDS)

    clock = Clock()
    found = persistently(ask, clock, until=clock.now() + settings.run_time_budget_seconds)
    if found.campaign is None and not found.launches:
        raise CampaignNotFound()
    return found


def as_text(found: History) -> str:
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
        "last error": launch.error,
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

"""The launches of one campaign, from the ledger."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from runner.answers import History, LaunchRecord
from runner.budget import READ_SECONDS
from runner.clock import Clock
from runner.errors import CampaignNotFound
from runner.retry import persistently
from runner.settings import Settings
from runner.terminal import moment, printable


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
        lines = [f"{printable(found.campaign.name)}: {printable(found.campaign.status)}"]
    else:
        lines = [f"{printable(found.launches[0].name)}: deleted; the ledger remembers it"]
    if not found.launches:
        lines += ["", "It was never launched."]
    for launch in found.launches:
        lines += ["", *_launch(launch)]
    if found.is_cut:
        lines += ["", f"These are the newest {len(found.launches)}; --limit shows more."]
    return "\n".join(lines)


def _launch(launch: LaunchRecord) -> list[str]:
    lines = [_outcome(launch)]
    facts = {
        "schedule": moment(launch.scheduled_at),
        "opened": moment(launch.opened_at),
        "late by": _duration(launch.late_seconds),
        "recipients": _recipients(launch),
        "contacts": launch.contacts,
        "excluded": ", ".join(f"{reason} {number}" for reason, number in sorted((launch.excluded or {}).items())),
        **{f"unmatched {rule}": ", ".join(names) for rule, names in sorted((launch.unmatched or {}).items()) if names},
        "failures": launch.attempts or None,
        "last error": launch.error,
        "in the name of": launch.system_user_id,
        "run": launch.run_id,
    }
    shown = {name: printable(str(fact)) for name, fact in facts.items() if fact not in (None, "")}
    width = max(map(len, shown))
    return lines + [f"  {name.ljust(width)}  {fact}" for name, fact in shown.items()]


def _outcome(launch: LaunchRecord) -> str:
    if launch.closed_at is not None:
        return f"{launch.state} at {moment(launch.closed_at)}, after {_duration(launch.duration_seconds)}"
    if launch.waits_for_a_person:
        return f"{launch.state}: waits for a person"
    if launch.next_attempt_at is not None:
        return f"{launch.state}: is tried again at {moment(launch.next_attempt_at)}"
    return f"{launch.state}: under way"


def _recipients(launch: LaunchRecord) -> str | None:
    if launch.recipient_count is None:
        return None if launch.recipients_inserted is None else f"{launch.recipients_inserted} written up to now"
    if launch.generates is False:
        pending = "" if launch.pending_before is None else f", {launch.pending_before} of them pending"
        return f"{launch.recipient_count}, all from before the launch{pending}"
    return f"{launch.recipient_count}, of which {launch.recipients_inserted} inserted"


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))

"""The health of the runner, for people: what `python -m runner status` shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from runner.health import Count, Health, WaitingCampaigns

Table = tuple[Sequence[str], list[Sequence[str]]]  # the head, and the rows

GENERATING = ("GENERATING", "ID", "STATE", "DONE", "CONTACTS", "INSERTED", "SINCE")
UNSCHEDULED = ("SCHEDULED WITHOUT A TIME", "ID")
WAITING = ("ID", "ATTEMPTS", "NEXT ATTEMPT", "LAST ERROR")  # after the name of the list
RUNS = ("LAST RUNS", "RUN", "LAUNCHED", "FAILED", "TOOK")


def summary(health: Health, max_lateness_minutes: int) -> list[str]:
    """The lines that say how things are."""
    late = f" (too late: over {max_lateness_minutes} min)" if health.is_late(max_lateness_minutes) else ""
    oldest = "none"
    if health.oldest_due is not None and health.oldest_due_seconds is not None:
        oldest = (
            f"{duration(health.oldest_due_seconds)}{late}, {health.oldest_due.name} {health.oldest_due.campaign_id}"
        )
    return [
        f"Last tick:          {_ago(health, health.last_tick_at)}",
        f"Last run ended:     {_ago(health, health.last_run_ended_at)}",
        f"Due:                {number(health.due)}",
        f"Longest free wait:  {oldest}",
        f"Without a time:     {number(health.unscheduled)}",
        f"Generating:         {number(health.generating)}",
        f"Backing off:        {number(health.backing_off)}",
        f"Held, too late:     {number(health.held)}",
        f"Needs attention:    {number(health.needs_attention)}",
    ]


def tables(health: Health) -> list[Table]:
    """The lists that are not empty."""
    generating: list[Sequence[str]] = [
        (
            campaign.name,
            str(campaign.campaign_id),
            campaign.state,
            "?" if campaign.percent is None else f"{campaign.percent} %",
            share(campaign.contacts_done, campaign.contacts_total, estimated=campaign.is_total_estimated),
            f"{campaign.recipients_inserted:,}",
            _ago(health, campaign.since),
        )
        for campaign in health.generating.campaigns
    ]
    unscheduled: list[Sequence[str]] = [(c.name, str(c.campaign_id)) for c in health.unscheduled.campaigns]
    runs: list[Sequence[str]] = [
        (
            _ago(health, run.opened_at),
            str(run.run_id),
            str(run.launched),
            str(run.failed),
            "not reported" if run.duration_seconds is None else f"{run.duration_seconds:g} s",
        )
        for run in health.runs
    ]
    every: list[Table] = [
        (("NEEDS ATTENTION", *WAITING), _waiting(health, health.needs_attention)),
        (("HELD, TOO LATE", *WAITING), _waiting(health, health.held)),
        (UNSCHEDULED, unscheduled),
        (("BACKING OFF", *WAITING), _waiting(health, health.backing_off)),
        (GENERATING, generating),
        (RUNS, runs),
    ]
    return [(head, rows) for head, rows in every if rows]


def number(count: Count) -> str:
    """A count, with a plus where it ended early."""
    return f"{count.count}{'+' if count.is_capped else ''}"


def share(done: int, total: int | None, *, estimated: bool) -> str:
    """So many of so many, as far as anybody knows."""
    return f"{done:,}" if total is None else f"{done:,} of {'about ' if estimated else ''}{total:,}"


def duration(seconds: float) -> str:
    """A length of time in one unit that suits it, rounded down."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _ago(health: Health, moment: datetime | None) -> str:
    return "never" if moment is None else f"{duration((health.checked_at - moment).total_seconds())} ago"


def _waiting(health: Health, waiting: WaitingCampaigns) -> list[Sequence[str]]:
    return [
        (
            campaign.name,
            str(campaign.campaign_id),
            str(campaign.attempts),
            "-"
            if campaign.next_attempt_at is None
            else f"in {duration((campaign.next_attempt_at - health.checked_at).total_seconds())}",
            campaign.last_error or "",
        )
        for campaign in waiting.campaigns
    ]

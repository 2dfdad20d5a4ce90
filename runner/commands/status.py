"""`status`: what is under way, what failed and why, and what comes next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import click

from runner.commands.console import explained, load_settings
from runner.commands.terminal import bar, duration, moment, pairs, printable, share, wrapped
from runner.health import Campaign, Count, Health, OpenLaunch, PastRun, read_health

NOT_WELL = 1
_HOW_TO_GO_ON = re.compile(
    r"( Correct the cause, or edit the campaign, and the runner tries it again\.)?"
    r"( `python -m runner \w+` (shows|names) [^.]*\.)?$"
)


@click.command(
    "status",
    epilog="""\b
Examples:
  python -m runner status
  python -m runner status --organization-id 0b7c0f0e-5b0e-4c3e-9d57-1f6f3b1a2c3d
  python -m runner status --json

\b
Exit codes:
  0  every due campaign is being launched
  1  one is not: it failed, needs a person, or has waited for a run for longer than HEALTH_MAX_LATENESS_MINUTES
  2  wrong usage
  3  the database could not be asked, or refused: a setting is wrong""",
)
@click.option(
    "--organization-id", type=click.UUID, help="Only the campaigns of this organization. The runs are those of all."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON: GET /health, with details.")
@click.pass_context
def command(context: click.Context, organization_id: UUID | None, as_json: bool) -> None:
    """Show what is under way, what failed, and what comes next.

    Also what waits for a person, and the last runs. With the words of the trigger, constraint or server that refused,
    which may hold row data. GET /health shows the same without these words.
    """
    with explained(context):
        settings = load_settings()
        now = read_health(settings, organization_id, with_details=True)
    minutes = settings.health_max_lateness_minutes
    click.echo(now.model_dump_json(indent=2) if as_json else to_text(now, minutes))
    context.exit(0 if now.is_well(minutes) else NOT_WELL)


def to_text(health: Health, max_lateness_minutes: int) -> str:
    """How things are. An empty section is one line."""
    waiting = (
        ("Need attention", health.needs_attention, True),
        ("Held, too late", health.held, True),
        ("Taken over", health.taken_over, False),
        ("Failing", health.backing_off, False),
    )
    lines = _summary(health, max_lateness_minutes)
    for name, launches, needs_a_person in waiting:
        shown = [(each, _stuck(health, each, waits_for_a_person=needs_a_person)) for each in launches.campaigns]
        lines += _section(name, launches, shown)
    if any(launches.count for _, launches, _ in waiting):
        lines += ["", "Remedies: python -m runner doctor"]
    elif health.due.count:
        lines += ["", "If due campaigns stay after the next call: python -m runner doctor"]
    under_way = [(each, _under_way(health, each)) for each in health.generating.campaigns]
    lines += _section("Under way", health.generating, under_way)
    lines += _section(
        "Without a time", health.unscheduled, [(each, [whose(each)]) for each in health.unscheduled.campaigns]
    )
    lines += ["", f"Next:{'' if health.upcoming else ' none'}"]
    for campaign in health.upcoming:
        lines += _block(campaign, [coming(health, campaign), whose(campaign)])
    lines += ["", f"Last runs:{'' if health.runs else ' none'}"]
    for run in health.runs:
        lines += _run(health, run)
    return "\n".join(lines)


def coming(health: Health, campaign: Campaign) -> str:
    """When a campaign comes, and how long from now."""
    if campaign.scheduled_at is None:
        return "at a time far from now"
    wait = (campaign.scheduled_at - health.checked_at).total_seconds()
    return f"at {moment(campaign.scheduled_at)}, in {duration(wait)}"


def whose(campaign: Campaign) -> str:
    """The organization of a campaign."""
    name = printable(campaign.organization_name or "")
    return f"of {name} {campaign.organization_id}" if name else f"of organization {campaign.organization_id}"


def number(count: Count) -> str:
    """A count, with a plus where it ended early."""
    return f"{count.count:,}{'+' if count.is_capped else ''}"


def stuck_because(health: Health, launch: OpenLaunch, *, waits_for_a_person: bool) -> str:
    """Since when, how often, and when it is tried again: one sentence."""
    said = [f"due for {duration(launch.late_seconds)}" if launch.late_seconds is not None else "due"]
    if launch.attempts and launch.failed_with != "CR002":  # to be held is no failure
        said.append(f"{launch.attempts} failed attempt{'s' if launch.attempts > 1 else ''}")
    if launch.next_attempt_at is not None:
        wait = (launch.next_attempt_at - health.checked_at).total_seconds()
        said.append(f"tried again in {duration(wait)}" if wait > 0 else "tried again by the next call")
    elif launch.failed_with == "CR403":
        said.append("tried again once the system user is a member with such a role")
    elif waits_for_a_person:
        said.append("not tried again by itself")
    return ", ".join(said)


def refusal(launch: OpenLaunch, error: str | None, guards: Iterable[str] = ()) -> list[str]:
    """Why the launch failed, what refused, and the words of the source, where these say more."""
    if error is None:
        return []
    said = [told_error(error), *guards]
    if launch.detail is not None and launch.detail != launch.last_error:
        said.append(f"In the words of the source: {launch.detail}")
    return said


def told_error(error: str) -> str:
    """An error without the sentences that say how to go on, where the command says it."""
    return _HOW_TO_GO_ON.sub("", error)


def _summary(health: Health, max_lateness_minutes: int) -> list[str]:
    read_only = [("Database", "read-only: nothing can be launched")] if health.is_read_only else []
    oldest = "none"
    if health.oldest_due is not None and health.oldest_due_seconds is not None:
        late = f" (too late: over {max_lateness_minutes} min)" if health.is_late(max_lateness_minutes) else ""
        due = health.oldest_due
        oldest = f"{duration(health.oldest_due_seconds)}{late}, {due.name} {due.campaign_id}"
    return pairs(
        [
            *read_only,
            ("Last call", _ago(health, health.last_tick_at)),
            ("Last run ended", _ago(health, health.last_run_ended_at)),
            ("Due", number(health.due)),
            ("Waits for a run", oldest),
        ]
    )


def _section(name: str, count: Count, shown: Sequence[tuple[Campaign, Sequence[str]]]) -> list[str]:
    if not count.count:
        return ["", f"{name}: none"]
    lines = ["", f"{name}: {number(count)}"]
    for campaign, paragraphs in shown:
        lines += _block(campaign, paragraphs)
    if count.count > len(shown):
        lines.append(f"  … and {count.count - len(shown):,} more")
    return lines


def _block(campaign: Campaign, paragraphs: Iterable[str]) -> list[str]:
    name = wrapped(campaign.name or "(without a name)", 2)
    return [*name, f"    {campaign.campaign_id}", *(line for text in paragraphs for line in wrapped(text, 4))]


def _stuck(health: Health, launch: OpenLaunch, *, waits_for_a_person: bool) -> list[str]:
    lines = [whose(launch), stuck_because(health, launch, waits_for_a_person=waits_for_a_person)]
    return [*lines, *refusal(launch, launch.last_error)]


def _under_way(health: Health, launch: OpenLaunch) -> list[str]:
    done = share(launch.contacts_done, launch.contacts_total, estimated=launch.is_total_estimated)
    percent = "" if launch.percent is None else f"{launch.percent} % {bar(launch.percent)} "
    late = "" if launch.late_seconds is None else f", {duration(launch.late_seconds)} late"
    lines = [
        f"{percent}{launch.state}",
        f"{done} contacts, {launch.recipients_inserted:,} recipients written",
        f"since {_ago(health, launch.since)}{late}",
        whose(launch),
    ]
    lines += refusal(launch, launch.last_error)
    if launch.stalled_since is not None:
        lines.append(f"stalled: no step has worked on it since {_ago(health, launch.stalled_since)}")
    return lines


def _run(health: Health, run: PastRun) -> list[str]:
    outcome = f"{run.launched:,} launched, {run.failed:,} failed"
    took = "not reported: it is under way, or was ended"
    if run.duration_seconds is not None:
        took = f"took {duration(run.duration_seconds)}"
    return [f"  {run.run_id}", *wrapped(f"began {_ago(health, run.opened_at)}, {outcome}, {took}", 4)]


def _ago(health: Health, moment: datetime | None) -> str:
    return "never" if moment is None else f"{duration((health.checked_at - moment).total_seconds())} ago"

"""The findings of `doctor` about the campaigns: what the health says, with the remedies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from runner.commands.findings import guards
from runner.commands.findings.facts import Facts, Guard
from runner.commands.findings.finding import Finding, found
from runner.commands.findings.system_user import membership_statement
from runner.commands.status import coming, refusal, stuck_because, whose
from runner.commands.terminal import counted, duration, moment
from runner.errors import InvalidProject, RunnerError
from runner.health import Health, OpenLaunch, read_health
from runner.settings import Settings

UNREPORTED_SECONDS = 3600.0  # no run takes longer

_LOCKED = ("CR004", "55P03")


def campaign_findings(facts: Facts, settings: Settings, problems: Collection[str] = ()) -> Iterator[Finding]:
    """What the health says, as GET /health and `status` do. `problems`: the checks that found one before."""
    if facts.system_user is False:
        return  # the health is refused for this, and the finding stands above
    try:
        health = read_health(settings, with_details=True)
    except RunnerError as error:
        if facts.grants and isinstance(error, InvalidProject):
            return  # the grants that are missing stand above
        yield Finding(
            "campaigns", "problem", f"The campaigns could not be looked at. {error}", "Correct what stands above."
        )
        return
    if health.is_well(settings.health_max_lateness_minutes):
        yield Finding("campaigns", "ok", _well(health, problems))
    yield from _stuck(facts, health, settings)
    if health.is_late(settings.health_max_lateness_minutes) and health.oldest_due is not None:
        late = duration(health.oldest_due_seconds or 0)
        yield found(
            "late", f"{health.oldest_due.name} {health.oldest_due.campaign_id} has waited for a run for {late}."
        )
    for run in health.runs:
        age = (health.checked_at - run.opened_at).total_seconds()
        if run.closed_at is None and age > UNREPORTED_SECONDS:
            yield found("unreported", f"The run {run.run_id}, opened at {moment(run.opened_at)}, was never reported.")


def _well(health: Health, problems: Collection[str]) -> str:
    if health.due.count:
        said = [f"{counted(health.due.count, 'campaign')} due, for the next call; none failed, is held or late."]
        if problems:
            said.append(f"The next call may launch none: see {', '.join(problems)}.")
    else:
        said = ["None is due; none failed, is held or late."]
        if health.upcoming:
            upcoming = health.upcoming[0]
            said.append(f"Next: {upcoming.name} {upcoming.campaign_id}, {coming(health, upcoming)}.")
        # No index leads to a campaign of another status.
        said.append("Campaigns of another status, such as paused, are not looked at: python -m runner campaigns")
    return " ".join(said)


def _stuck(facts: Facts, health: Health, settings: Settings) -> Iterator[Finding]:
    lists = {
        "taken_over": health.taken_over,
        "needs_attention": health.needs_attention,
        "held": health.held,
        "failing": health.backing_off,
    }
    known = facts.guards or ()
    for launch in health.generating.campaigns:
        if launch.last_error is not None:
            yield found("hindered", _told(health, "hindered", launch, guards.refusing(known, launch), known))
    for kind, launches in lists.items():
        for launch in launches.campaigns:
            refusing = guards.refusing(known, launch) if kind in ("failing", "needs_attention") else ()
            trouble = _trouble(kind, launch, refusing, facts)
            yield found(
                trouble,
                _told(health, kind, launch, refusing, known),
                advice=guards.advice(refusing, known, launch) if refusing else "",
                statement=_statement(trouble, launch, refusing, settings),
                campaign_id=launch.campaign_id,
            )
        if launches.count > len(launches.campaigns):
            more = launches.count - len(launches.campaigns)
            yield Finding("campaigns", "problem", f"{more:,} more of this kind.", "See: python -m runner status")


def _statement(trouble: str, launch: OpenLaunch, refusing: Sequence[Guard], settings: Settings) -> str:
    if trouble == "unprivileged":
        return guards.missing_grant(launch) or ""
    if trouble != "no_member":
        return guards.statements(refusing)
    return membership_statement(launch.organization_id, settings, is_member=False)


def _trouble(kind: str, launch: OpenLaunch, refusing: Sequence[Guard], facts: Facts) -> str:
    if launch.failed_with == "CR403" and kind == "needs_attention":
        lacking = facts.memberships.named if facts.memberships else ()
        return "see_memberships" if any(each.id == launch.organization_id for each in lacking) else "no_member"
    if launch.failed_with in _LOCKED and kind == "failing":
        return "locked"
    if kind in ("failing", "needs_attention"):
        # The statement that stands under tables keeps the constraint.
        if _stands_under_tables(launch, refusing, facts):
            return "see_tables"
        if re.search(r"in campaign_runner_exclusions\b", launch.detail or ""):
            return "refused_by_exclusions"
        if refusing:
            return "refused_by_guard"
        if guards.missing_grant(launch):
            return "unprivileged"
    return kind


def _stands_under_tables(launch: OpenLaunch, refusing: Sequence[Guard], facts: Facts) -> bool:
    unfilled = re.search(r"table (\w+), column (\w+)", launch.last_error or "")
    if unfilled:
        column = f"column public.{unfilled[1]}.{unfilled[2]} "
        return any(each.lack.startswith(column) for each in facts.requirements or ())
    told = [f"{each.lack} {each.remedy}" for each in facts.requirements or () if each.severity == "error"]
    return any(each.name in text for each in refusing for text in told) if refusing else bool(told)


def _told(health: Health, kind: str, launch: OpenLaunch, refusing: Sequence[Guard], known: Sequence[Guard]) -> str:
    who = f"{launch.name} {launch.campaign_id} {whose(launch)}"
    if kind == "taken_over":
        written = f"{launch.recipients_inserted:,} recipients were written"
        return f"{who}: a person set the campaign to sending before its audience was complete; {written}, and stay."
    since = stuck_because(health, launch, waits_for_a_person=kind in ("needs_attention", "held"))
    return " ".join(
        [f"{who}: {since}.", *refusal(launch, guards.error(refusing, launch), guards.descriptions(refusing, known))]
    )

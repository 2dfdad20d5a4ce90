"""Campaigns that are scheduled in vain, or were launched and are to be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from runner.commands.findings import guards, names
from runner.commands.findings.facts import Closed, Facts
from runner.commands.findings.finding import Finding, found
from runner.commands.terminal import counted


def schedule_findings(facts: Facts) -> Iterator[Finding]:
    """One for each kind, with the first campaigns of the kind."""
    lacks = (
        ("unscheduled", facts.schedules, "scheduled without a time"),
        ("no_organization", facts.tenants, "scheduled without an organization"),
        (
            "never_due",
            facts.closed,
            "scheduled and never due, as a campaign or its organization is deleted, archived or closed",
        ),
        ("recipients", facts.recipients, "scheduled with recipients that no launch wrote"),
        ("nobody", facts.nobody, "launched in the last 7 days without a recipient to mail"),
        ("dropped", facts.dropped, "launched in the last 7 days with recipients that a trigger dropped"),
        ("unmatched", facts.unmatched, "launched in the last 7 days past an exclusion that matched nothing"),
    )
    is_wrong = False
    for trouble, lack, what in lacks:
        if lack is not None and lack.lacking:
            is_wrong = True
            number = f"{'At least ' if lack.is_cut else ''}{counted(lack.lacking, 'campaign')}"
            columns = lack.columns if isinstance(lack, Closed) else None
            first = " of the first one" if lack.lacking > 1 else ""
            because = f" ({', '.join(columns)}{first})" if columns else ""
            named = names.campaigns(lack)
            yield found(
                trouble,
                f"{number} {what}{because}: {named}.",
                campaign_id=lack.named[0].id,
                advice=_advice_on_nobody(lack.named[0].because or "", lack.named[0].id),
                statement=guards.statements(guards.triggers(facts.guards or (), "public.campaign_recipients"))
                or "it is gone by now.",
                reopening=lack.statement if isinstance(lack, Closed) else None,
            )
    if not is_wrong and all(lack is not None for _, lack, _ in lacks):
        yield Finding(
            "schedules",
            "ok",
            "Each scheduled campaign has a time and an organization. Launches alone wrote recipients.",
        )


def _advice_on_nobody(because: str, campaign_id: UUID) -> str:
    if "project:" in because:
        return (
            "See why your function leaves contacts out: "
            "select pg_get_functiondef('public.campaign_runner_exclusions'::regproc);"
        )
    if "no contacts" in because:
        return "Import the contacts, or correct the organization_id of the campaign."
    if because.endswith(" deleted") and "," not in because:
        return "Each contact has a deleted_at: no rule makes a deleted contact a recipient."
    return f"Correct the rules or the contacts (names that match no contact: python -m runner preview {campaign_id})."

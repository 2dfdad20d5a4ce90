"""The campaigns with their ids, for people who look for one."""

from __future__ import annotations

from uuid import UUID

from runner.answers import CampaignList
from runner.budget import READ_SECONDS
from runner.clock import Clock
from runner.retry import persistently
from runner.settings import Settings
from runner.terminal import listing, moment

HEAD = ("CAMPAIGN", "STATUS", "SCHEDULED AT", "ID")


def campaigns(settings: Settings, organization_id: UUID | None, status: str | None, *, limit: int) -> CampaignList:
    """Read up to `limit` campaigns, of one organization or (None) of all, of one status or (None) of any.

    Raises RunnerError where the database cannot be asked.
    """
    from runner import database

    clock = Clock()
    return persistently(
        lambda: database.shared(settings).campaigns(organization_id, status, limit=limit, timeout=READ_SECONDS),
        clock,
        until=clock.now() + settings.run_time_budget_seconds,
    )


def as_text(found: CampaignList) -> str:
    """The campaigns for a person."""
    if not found.campaigns:
        return "There are no such campaigns."
    rows = [(c.name, c.status, moment(c.scheduled_at), str(c.campaign_id)) for c in found.campaigns]
    more = f"\n\nThese are the first {len(rows):,}; --limit shows more." if found.is_cut else ""
    return listing(HEAD, rows) + more

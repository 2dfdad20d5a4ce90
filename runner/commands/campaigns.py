"""`campaigns`: the campaigns with their ids, for people who look for one."""

from __future__ import annotations

from uuid import UUID

import click
from pydantic import BaseModel, ConfigDict, StrictBool, StrictStr

from runner.commands.console import explained, load_settings
from runner.commands.terminal import listing, moment, short, width
from runner.query import query

HEAD = ("CAMPAIGN", "STATUS", "SCHEDULED AT", "ID, ORGANIZATION")


class ListedCampaign(BaseModel):
    """A campaign as it is now. Times are ISO 8601."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    organization_id: UUID | None
    organization_name: StrictStr | None
    name: StrictStr
    status: StrictStr
    scheduled_at: StrictStr | None


class CampaignList(BaseModel):
    """The answer of `campaign_runner_campaigns`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaigns: tuple[ListedCampaign, ...]  # the latest schedule first, those without one at the end
    is_cut: StrictBool  # there are more


@click.command(
    "campaigns",
    epilog="""\b
Examples:
  python -m runner campaigns
  python -m runner campaigns --status scheduled --limit 100
  python -m runner campaigns --json | jq -r '.campaigns[].campaign_id'

\b
Exit codes:
  0  done
  2  wrong usage
  3  the database could not be asked""",
)
@click.option("--organization-id", type=click.UUID, help="Only the campaigns of this organization.")
@click.option("--status", "campaign_status", help="Only the campaigns with this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show no more campaigns.")
@click.option("--json", "as_json", is_flag=True, help="Print the campaigns as JSON.")
@click.pass_context
def command(
    context: click.Context, organization_id: UUID | None, campaign_status: str | None, limit: int, as_json: bool
) -> None:
    """List the campaigns with their ids.

    The campaigns with the latest schedule come first.
    """
    parameters = {"p_organization_id": organization_id, "p_status": campaign_status, "p_max_campaigns": limit}
    with explained(context):
        settings = load_settings()
        seconds = settings.run_time_budget_seconds
        found = query(settings, "campaign_runner_campaigns", parameters, CampaignList, seconds=seconds)
        click.echo(found.model_dump_json(indent=2) if as_json else to_text(found))


def to_text(found: CampaignList) -> str:
    """The campaigns for a person."""
    if not found.campaigns:
        return "There are no such campaigns."
    rows = [(c.name, c.status, moment(c.scheduled_at), _whose(c)) for c in found.campaigns]
    more = f"\n\nThese are the first {len(rows):,}; --limit shows more." if found.is_cut else ""
    return listing(HEAD, rows) + more


def _whose(campaign: ListedCampaign) -> str:
    """The id, and as much of the organization's name as fits beside it on a line of its own."""
    room = max(width() - len(str(campaign.campaign_id)) - 3, 0)
    return f"{campaign.campaign_id} {short(campaign.organization_name or '', room)}".rstrip()

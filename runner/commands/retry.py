"""`retry`: have the next run try a campaign again that failed."""

from __future__ import annotations

from uuid import UUID

import click
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from runner.commands.console import explained, load_settings
from runner.commands.history import outcome, read_history
from runner.commands.terminal import counted, listing, wrapped
from runner.query import query
from runner.settings import Settings

NOTHING_WAITS = 1

HEAD = ("CAMPAIGN", "FAILED", "ID")


class FreedCampaign(BaseModel):
    """A campaign that waited, for its next attempt or for a person, and does so no more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    organization_id: UUID
    name: StrictStr
    attempts: int = Field(ge=0, strict=True)  # those that failed
    error: StrictStr  # of the last one


class RetryResult(BaseModel):
    """The answer of `campaign_runner_retry`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    freed: tuple[FreedCampaign, ...]


@click.command(
    "retry",
    epilog="""\b
Examples:
  python -m runner retry 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11
  python -m runner retry --all
  python -m runner retry --all --json

\b
Exit codes:
  0  done
  1  the campaign waits for nothing: it has not failed, or there is no such campaign
  2  wrong usage
  3  the database could not be asked""",
)
@click.argument("campaign_id", type=click.UUID, required=False)
@click.option("--all", "every", is_flag=True, help="Every campaign that waits.")
@click.option("--json", "as_json", is_flag=True, help="Print the campaigns as JSON.")
@click.pass_context
def command(context: click.Context, campaign_id: UUID | None, every: bool, as_json: bool) -> None:
    """Have the next run try a campaign again that failed.

    A campaign that failed waits for its next attempt, longer each time. After ten failed attempts it waits for a
    person. A campaign that was held because it was too late also waits for a person. The next run holds it again,
    unless you give it a new scheduled_at.
    """
    if (campaign_id is None) != every:
        raise click.UsageError("Name a campaign, or give --all.")
    with explained(context):
        settings = load_settings()
        parameters, seconds = {"p_campaign_id": campaign_id}, settings.run_time_budget_seconds
        freed = query(settings, "campaign_runner_retry", parameters, RetryResult, seconds=seconds).freed
        reason = "" if freed or campaign_id is None or as_json else _why_it_does_not_wait(settings, campaign_id)
    if as_json:
        click.echo(RetryResult(freed=freed).model_dump_json(indent=2))
    else:
        if freed:
            click.echo(listing(HEAD, [(c.name, str(c.attempts), str(c.campaign_id)) for c in freed]) + "\n")
        click.echo("\n".join(wrapped(reason or f"{counted(len(freed), 'campaign')} will be tried by the next run.")))
    context.exit(0 if freed or every else NOTHING_WAITS)


def _why_it_does_not_wait(settings: Settings, campaign_id: UUID) -> str:
    """Why there was nothing to retry. Raises CampaignNotFound where there is no such campaign."""
    found = read_history(settings, campaign_id, limit=1)
    name = found.campaign.name if found.campaign is not None else found.launches[0].name
    if not found.launches:
        status = found.campaign.status if found.campaign is not None else "deleted"
        return f"{name} waits for nothing: it has the status {status}, and no launch of it has failed."
    return f"{name} waits for nothing. Its last launch: {outcome(found.launches[0], found.campaign)}."

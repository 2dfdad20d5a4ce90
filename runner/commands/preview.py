"""`preview`: who would get one campaign, and why the others not."""

from __future__ import annotations

import json
from typing import Self
from uuid import UUID

import click
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, model_validator

from runner import database
from runner.commands.console import explained, load_settings
from runner.commands.terminal import Progress, counted, moment, table, wrapped
from runner.database import limits
from runner.run.clock import Clock
from runner.run.deadline import READ_SECONDS
from runner.run.paging import Paging
from runner.run.shutdown import Shutdown
from runner.settings import Settings

NAMES_SHOWN = 20  # of each list, to a person; in JSON there are all

_KEYS = {"campaign_id", "name", "status", "scheduled_at", "recipient_count", "contacts", "excluded", "sample"}


class UnmatchedNames(BaseModel):
    """What the rules of a campaign name, and no contact of its organization has."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    include_emails: tuple[StrictStr, ...]
    include_tags: tuple[StrictStr, ...]
    exclude_tags: tuple[StrictStr, ...]
    exclude_countries: tuple[StrictStr, ...]
    emails_not_looked_up: int = Field(ge=0, strict=True)  # beyond the first 10,000


class LooksWrong(BaseModel):
    """What looks wrong in the first contacts of an organization, by their ids: numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contacts: int = Field(ge=0, strict=True)  # that were looked at
    addresses: int = Field(ge=0, strict=True)  # which several contacts share
    mobiles: int = Field(ge=0, strict=True)  # which several contacts without an address share
    malformed: int = Field(ge=0, strict=True)  # addresses
    unknown: int = Field(ge=0, strict=True)  # contacts without is_subscribed


class OpenLaunch(BaseModel):
    """A launch of a campaign that has begun and is not over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: StrictStr
    inserted: int = Field(ge=0, strict=True)  # recipients that it has written up to now
    waits_because: StrictStr | None  # of this error; None: the next run goes on with it


class CampaignPreview(BaseModel):
    """Whom one campaign would have as recipients if it were launched now.

    `recipient_count` and the numbers of `excluded` add up to `contacts`, those of the organization, but for the
    `outsiders`: recipients that are none of its contacts, which a launch leaves alone.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    name: StrictStr
    status: StrictStr
    scheduled_at: StrictStr | None  # ISO 8601; None too where it lies in no finite time
    has_schedule: StrictBool
    recipient_count: int = Field(ge=0, strict=True)
    contacts: int = Field(ge=0, strict=True)
    excluded: dict[StrictStr, int]
    sample: tuple[StrictStr, ...]  # addresses of the first recipients, by their ids
    unmatched: UnmatchedNames
    looks_wrong: LooksWrong | None  # None: the index that the look needs is missing
    outsiders: int = Field(ge=0, strict=True)
    generates: StrictBool  # False: recipients were there before any launch, and stay as they are
    pages: int = Field(ge=1, strict=True)  # in which the contacts were read, one after the other
    system_user_exists: StrictBool
    obstacles: tuple[StrictStr, ...]  # why it could not be launched at this moment
    launch: OpenLaunch | None


class CampaignPreviewPage(BaseModel):
    """One page of `campaign_runner_preview_campaign`; the last one, without a `cursor`, has the preview."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contacts: int = Field(ge=0, strict=True)  # judged up to now
    preview: CampaignPreview | None
    cursor: StrictStr | None

    @model_validator(mode="after")
    def _the_last_page_has_the_preview(self) -> Self:
        if (self.preview is None) == (self.cursor is None):
            raise ValueError("neither a preview nor a cursor, or both")
        return self


@click.command(
    "preview",
    epilog="""\b
Examples:
  python -m runner preview 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11
  python -m runner preview 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11 --json | jq .recipient_count

\b
Exit codes:
  0  done
  1  there is no such campaign
  2  wrong usage
  3  the database could not be asked""",
)
@click.argument("campaign_id", type=click.UUID)
@click.option("--json", "as_json", is_flag=True, help="Print the preview as JSON.")
@click.pass_context
def command(context: click.Context, campaign_id: UUID, as_json: bool) -> None:
    """Show who would get a campaign, and why the others not.

    As if it were launched now; it may have any status: look at a draft before you schedule it. Nothing is written. The
    audience is found by the function of the database that a launch asks, so a launch at this moment has just these
    recipients.
    """
    with explained(context, interrupted="interrupted; nothing was written."):
        found = read_preview(load_settings(), campaign_id)
        click.echo(to_json(found) if as_json else to_text(found))


def read_preview(settings: Settings, campaign_id: UUID) -> CampaignPreview:
    """Read whom the campaign would have as recipients if it were launched now; on a terminal, with progress on stderr.

    Raises CampaignNotFound, and any other RunnerError where the database cannot be asked.
    """
    clock, progress = Clock(), Progress()
    pages = Paging(settings.step_rows, clock, Shutdown())
    cursor: str | None = None
    began = clock.now()

    def ask(rows: int) -> CampaignPreviewPage:
        parameters = {"p_campaign_id": campaign_id, **limits(settings, rows), "p_cursor": cursor}
        function = "campaign_runner_preview_campaign"
        return database.shared(settings).call(function, parameters, CampaignPreviewPage, timeout=READ_SECONDS)

    try:
        while True:
            page = pages.read(ask, until=clock.now() + settings.run_time_budget_seconds)
            if page.preview is not None:
                return page.preview
            cursor = page.cursor
            rate = page.contacts / max(clock.now() - began, 0.001)
            progress.show(f"{page.contacts:,} contacts evaluated, {rate:,.0f} a second …")
    finally:
        progress.clear()


def warnings(found: CampaignPreview) -> list[str]:
    """What somebody who is about to schedule the campaign should know, a sentence or two each."""
    said = list(found.obstacles)
    if not found.system_user_exists:
        said.append("SYSTEM_USER_ID names nobody: insert the system user into public.profiles.")
    if found.status == "scheduled" and not found.has_schedule:
        said.append("It is scheduled, but without a time: set scheduled_at, or it is never due.")
    if found.status not in ("draft", "scheduled"):
        said.append(f"Its status is {found.status}: no run launches the campaign until its status is scheduled.")
    if not found.generates and found.status != "sending":  # those of a sending campaign are on their way
        said.append(
            "It has recipients from before, so a launch generates none and keeps those. Delete them to have the "
            "audience generated."
        )
    elif found.launch is not None and found.launch.inserted:
        said.append(
            f"A launch is half done, with {found.launch.inserted} recipients written; the next run goes on with it, if "
            "the campaign is scheduled and due."
        )
    if found.launch is not None and found.launch.waits_because is not None:
        said.append(f"Its launch failed and waits: {found.launch.waits_because}")
    if found.outsiders:
        said.append(
            f"{found.outsiders} recipients are no contacts of the organization: a launch leaves them alone, and they "
            "are counted."
        )
    if found.looks_wrong is not None:
        said += _looks_wrong(found.looks_wrong, found.contacts)
    if not found.recipient_count:
        said.append("Nobody gets it: a launch would set it to sending without a recipient.")
    if found.unmatched.emails_not_looked_up:
        said.append(
            f"Of include_emails the last {found.unmatched.emails_not_looked_up} were not looked up one by one. The "
            "numbers are right all the same."
        )
    return said


def _looks_wrong(wrong: LooksWrong, contacts: int) -> list[str]:
    where = (
        f"in all {contacts:,} contacts" if wrong.contacts == contacts else f"in the first {wrong.contacts:,} contacts"
    )
    said = []
    if wrong.malformed:
        said.append(f"{counted(wrong.malformed, 'address')} malformed, {where}: each is mailed as it is.")
    if wrong.unknown:
        unknown = f"{counted(wrong.unknown, 'contact')} without is_subscribed"
        said.append(f"{unknown}, {where}: each counts as subscribed.")
    if wrong.mobiles:
        shared = f"{counted(wrong.mobiles, 'mobile number')} of several contacts without an address"
        said.append(f"{shared}, {where}: each of these gets the campaign.")
    return said


def to_json(found: CampaignPreview) -> str:
    """The preview for a program."""
    kept = found.model_dump(mode="json", include=_KEYS)
    unmatched = found.unmatched.model_dump(mode="json", exclude={"emails_not_looked_up"})
    rest = {"generates": found.generates, "unmatched": unmatched, "warnings": warnings(found), "pages": found.pages}
    return json.dumps({**kept, **rest}, indent=2)


def to_text(found: CampaignPreview) -> str:
    """The preview for a person."""
    schedule = f"for {moment(found.scheduled_at)}" if found.scheduled_at else "without a time"
    lines = [
        *wrapped(found.name or "(without a name)"),
        f"  {found.campaign_id}",
        *wrapped(f"{found.status}, {schedule}", 2),
        *wrapped(f"{found.recipient_count:,} recipients, of {found.contacts:,} contacts.", 2),
    ]
    if found.excluded:
        reasons = sorted(found.excluded.items(), key=lambda reason: (-reason[1], reason[0]))
        lines += ["", table(("LEFT OUT BECAUSE", "CONTACTS"), [(reason, f"{number:,}") for reason, number in reasons])]
    if found.sample:
        lines += ["", "Some of the recipients:", *(line for address in found.sample for line in wrapped(address, 2))]
    for rule, names in found.unmatched.model_dump(exclude={"emails_not_looked_up"}).items():
        if names:
            shown = ", ".join(name or "''" for name in names[:NAMES_SHOWN])
            more = f", and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
            lines += ["", *wrapped(f"No contact matches, in {rule}: {shown}{more}")]
    for warning in warnings(found):
        lines += ["", *wrapped(f"Warning: {warning}")]
    if found.pages > 1:
        lines += [
            "",
            *wrapped(
                f"The contacts were read in {found.pages} parts, one after the other. A contact that changed meanwhile "
                "is counted as at the moment of its part."
            ),
        ]
    return "\n".join(lines)

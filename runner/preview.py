"""The preview of one campaign: who would get it, and why the others not."""

from __future__ import annotations

import json
from uuid import UUID

from runner.answers import CampaignPreview, CampaignPreviewAnswer, LooksWrong
from runner.budget import READ_SECONDS
from runner.clock import Clock
from runner.pages import Pages
from runner.settings import Settings
from runner.stop import Stop
from runner.terminal import Progress, counted, moment, table, wrapped

NAMES_SHOWN = 20  # of each list, to a person; in JSON there are all

_KEYS = {"campaign_id", "name", "status", "scheduled_at", "recipient_count", "contacts", "excluded", "sample"}


def preview(settings: Settings, campaign_id: UUID) -> CampaignPreview:
    """Read whom the campaign would have as recipients if it were launched now; on a terminal, with progress on stderr.

    Raises CampaignNotFound, and any other RunnerError where the database cannot be asked.
    """
    from runner import database

    clock, progress = Clock(), Progress()
    pages = Pages(settings.step_rows, clock, Stop())
    cursor: str | None = None
    began = clock.now()

    def ask(rows: int) -> CampaignPreviewAnswer:
        return database.shared(settings).preview_campaign(
            campaign_id, cursor=cursor, max_rows=rows, timeout=READ_SECONDS
        )

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
    if found.status not in ("draft", "scheduled", "paused"):
        said.append(f"Its status is {found.status}: it is launched only when somebody schedules it again.")
    if not found.generates:
        said.append(
            "It has recipients from before, so a launch generates none and keeps those. Delete them to have the "
            "audience generated."
        )
    elif found.launch is not None and found.launch.inserted:
        said.append(
            f"A launch is half done, with {found.launch.inserted} recipients written; the next run goes on with it, if "
            "the campaign is due."
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


def as_json(found: CampaignPreview) -> str:
    """The preview for a program."""
    kept = found.model_dump(mode="json", include=_KEYS)
    unmatched = found.unmatched.model_dump(mode="json", exclude={"emails_not_looked_up"})
    rest = {"generates": found.generates, "unmatched": unmatched, "warnings": warnings(found), "pages": found.pages}
    return json.dumps({**kept, **rest}, indent=2)


def as_text(found: CampaignPreview) -> str:
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

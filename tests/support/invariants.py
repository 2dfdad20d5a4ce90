"""The promises, checked from the tables, when nothing runs. Where people edited, their record names the uncertain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.edits import Edits

Connection = psycopg.Connection[Any]
Answer = Mapping[str, Any]  # the body of a run's answer


@dataclass
class Violations:
    """What was found, a sentence each. Empty: every promise was kept."""

    lost: list[str] = field(default_factory=list)  # a campaign, an outcome, or an edit
    duplicated: list[str] = field(default_factory=list)  # a launch, a recipient, or two twins among them
    partial: list[str] = field(default_factory=list)  # an audience that is not the whole one, or more than that
    blamed: list[str] = field(default_factory=list)  # a campaign, for what was not its fault
    unfinished: list[str] = field(default_factory=list)  # a launch

    def all(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.duplicated, *self.partial, *self.blamed, *self.unfinished]

    def add(self, others: Violations) -> None:
        """Those that were found another time."""
        self.lost += others.lost
        self.duplicated += others.duplicated
        self.partial += others.partial
        self.blamed += others.blamed
        self.unfinished += others.unfinished


def violations(
    database: Connection,
    *,
    due: Collection[UUID],
    kept: Mapping[UUID, Collection[UUID]] | None = None,
    answers: Mapping[UUID, Answer] | None = None,
    edits: Edits | None = None,
) -> Violations:
    """Look for violations.

    `due`: the campaigns that were due once each, and must have been launched. `kept`: of those, the ones that had
    recipients before, with the contacts. `answers`: the bodies of the answers 200, by the run's id. `edits`: what
    people edited while the runs went on. They changed no rules of a launched campaign, and no contact in `kept`.
    """
    edits = edits or Edits()
    found = Violations(lost=[*edits.refused], duplicated=[*edits.overruled])
    tables = oracle.read(database)
    statuses = {campaign["id"]: campaign["status"] for campaign in tables["campaigns"]}
    recipients = Counter((row["campaign_id"], row["contact_id"]) for row in tables["campaign_recipients"])
    found.duplicated += [
        f"{contact} is {n} times in {campaign}" for (campaign, contact), n in recipients.items() if n > 1
    ]

    for campaign in due:
        if statuses.get(campaign) != "sending":
            found.lost.append(f"{campaign} is {statuses.get(campaign)}")
    touched = edits.touched(tables)
    for campaign, status in statuses.items():
        if status != "sending":
            continue
        if campaign not in due:
            found.duplicated.append(f"{campaign} was not due, and was launched")
        there = {contact for its_campaign, contact in recipients if its_campaign == campaign}
        verdicts = oracle.audience(tables, campaign)
        kept_ones = (kept or {}).get(campaign)
        audience = set(kept_ones) if kept_ones else oracle.recipients(verdicts)
        # Everybody is certain where the last pass came after the last edit, and where recipients were there before.
        uncertain = set() if kept_ones or campaign in edits.rescheduled else touched
        missing, extra = audience - there - uncertain, there - audience - uncertain
        if missing or extra:
            found.partial.append(f"{campaign} lacks {len(missing)} recipients and has {len(extra)} too many")
        found.duplicated += [f"{campaign} has {n} recipients at one address" for n in _twins(tables, verdicts, there)]

    deleted = len(edits.deleted(tables))
    deletions = {campaign: 0 if campaign in edits.rescheduled else deleted for campaign in due}
    _check_ledger(database, found, deletions, Counter(campaign for campaign, _ in recipients))
    _check_reports(database, found, answers or {})
    return found


def _twins(tables: oracle.Tables, verdicts: oracle.Verdicts, recipients: Collection[UUID]) -> list[int]:
    """For each address of several recipients, their number. One that is not eligible any more gets no mail.

    No editor changes an address to that of another contact, or makes a contact eligible again without its twins, so
    that no launch could take both for the only one.
    """
    addresses = Counter(
        oracle.folded(contact["email"])
        for contact in tables["contacts"]
        if contact["id"] in recipients and verdicts.get(contact["id"]) in (None, "duplicate_address")
    )
    return [n for address, n in addresses.items() if address and n > 1]


def _check_ledger(
    database: Connection, found: Violations, due: Mapping[UUID, int], recipients: Mapping[UUID, int]
) -> None:
    """`due`: the campaigns, with the number of contacts that were perhaps deleted after their launch."""
    launches = records.rows(database, "select * from campaign_runner.launches")
    launched = Counter(launch["campaign_id"] for launch in launches if launch["state"] == "launched")
    payloads = records.rows(database, "select payload from public.activity_events")
    events = Counter(UUID(event["payload"]["campaign_id"]) for event in payloads)
    for name, counted in (("launches in the ledger", launched), ("events", events)):
        found.duplicated += [f"{campaign} has {n} {name}" for campaign, n in counted.items() if n > 1]
        found.lost += [f"{campaign} is not among the {name}" for campaign in due if campaign not in counted]
    for launch in launches:
        campaign = launch["campaign_id"]
        if launch["state"] != "launched":
            found.unfinished.append(f"{campaign} has a launch that is {launch['state']}")
        elif not 0 <= launch["recipient_count"] - recipients[campaign] <= due.get(campaign, 0):
            found.partial.append(f"{campaign} has not the number of recipients that the ledger says")
        if launch["attempts"]:
            found.blamed.append(f"{campaign}: {launch['last_error']}")
    errors = records.rows(database, "select campaign_id, error from campaign_runner.run_errors")
    found.blamed += [f"{error['campaign_id']}: {error['error']}" for error in errors]


def _check_reports(database: Connection, found: Violations, answers: Mapping[UUID, Answer]) -> None:
    """Every launch stands in the report of the run that made it, and in its answer if there was one."""
    launches = records.rows(database, "select * from campaign_runner.launches where run_id is not null")
    runs = {launch["run_id"] for launch in launches} | set(answers)
    for run in runs:
        made = sorted(str(launch["campaign_id"]) for launch in launches if launch["run_id"] == run)
        report = Automation(database, run_id=run).report()
        for name, body in (("report", report), ("answer", answers.get(run))):
            if body is not None and sorted(c["campaign_id"] for c in body["campaigns"]) != made:
                found.lost.append(f"the {name} of run {run} does not name just the {len(made)} launches that it made")

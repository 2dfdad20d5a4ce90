"""The promises, checked from the tables alone, when nothing runs and nobody has edited since the runs began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from tests.support import oracle, records
from tests.support.automation import Automation

Connection = psycopg.Connection[Any]
Answer = Mapping[str, Any]  # the body of a run's answer


@dataclass
class Violations:
    """What was found, a sentence each. Empty: every promise was kept."""

    lost: list[str] = field(default_factory=list)  # a campaign or an outcome
    duplicated: list[str] = field(default_factory=list)  # a launch, or a recipient
    partial: list[str] = field(default_factory=list)  # an audience that is not the whole one, or more than that
    blamed: list[str] = field(default_factory=list)  # a campaign, for what was not its fault

    def all(self) -> list[str]:
        """All of them."""
        return [*self.lost, *self.duplicated, *self.partial, *self.blamed]

    def add(self, others: Violations) -> None:
        """Those that were found another time."""
        self.lost += others.lost
        self.duplicated += others.duplicated
        self.partial += others.partial
        self.blamed += others.blamed


def violations(
    database: Connection,
    *,
    due: Collection[UUID],
    kept: Mapping[UUID, Collection[UUID]] | None = None,
    answers: Mapping[UUID, Answer] | None = None,
) -> Violations:
    """Look for violations.

    `due`: the campaigns that were due once each, and must have been launched. `kept`: of those, the ones that had
    recipients before, with the contacts. `answers`: the bodies of the answers 200, by the run's id.
    """
    found = Violations()
    tables = oracle.read(database)
    statuses = {campaign["id"]: campaign["status"] for campaign in tables["campaigns"]}
    recipients = Counter((row["campaign_id"], row["contact_id"]) for row in tables["campaign_recipients"])
    found.duplicated += [
        f"{contact} is {n} times in {campaign}" for (campaign, contact), n in recipients.items() if n > 1
    ]

    for campaign in due:
        if statuses.get(campaign) != "sending":
            found.lost.append(f"{campaign} is {statuses.get(campaign)}")
    for campaign, status in statuses.items():
        there = {contact for its_campaign, contact in recipients if its_campaign == campaign}
        if status == "sending":
            audience = (kept or {}).get(campaign) or oracle.recipients(oracle.audience(tables, campaign))
            missing, extra = set(audience) - there, there - set(audience)
            if missing or extra:
                found.partial.append(f"{campaign} lacks {len(missing)} recipients and has {len(extra)} too many")
        if status == "sending" and campaign not in due:
            found.duplicated.append(f"{campaign} was not due, and was launched")

    _check_ledger(database, found, due, Counter(campaign for campaign, _ in recipients))
    _check_reports(database, found, answers or {})
    return found


def _check_ledger(
    database: Connection, found: Violations, due: Collection[UUID], recipients: Mapping[UUID, int]
) -> None:
    launches = records.rows(database, "select * from campaign_runner.launches")
    launched = Counter(launch["campaign_id"] for launch in launches if launch["state"] == "launched")
    payloads = records.rows(database, "select payload from public.activity_events")
    events = Counter(UUID(event["payload"]["campaign_id"]) for event in payloads)
    for name, counted in (("launches in the ledger", launched), ("events", events)):
        found.duplicated += [f"{campaign} has {n} {name}" for campaign, n in counted.items() if n > 1]
        found.lost += [f"{campaign} is not among the {name}" for campaign in due if campaign not in counted]
    for launch in launches:
        if launch["state"] == "launched" and launch["recipient_count"] != recipients[launch["campaign_id"]]:
            found.partial.append(f"{launch['campaign_id']} has not the number of recipients that the ledger says")
        if launch["attempts"]:
            found.blamed.append(f"{launch['campaign_id']}: {launch['last_error']}")
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

"""docs/audience.md: a rule of one's own, as it stands there, holds wherever the audience is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from local.migration import MIGRATIONS
from tests.conftest import Connect, Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

TEXT = (Path(__file__).parents[2] / "docs" / "audience.md").read_text()
[CONTRACT, RULE, CHECK] = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
[AUDIENCE] = MIGRATIONS.glob("*_create_audience.sql")

Automate = Callable[..., Automation]


@pytest.fixture(autouse=True)
def rule(database: Connection) -> None:
    database.execute(RULE.encode())


def suppress(database: Connection, *contacts: UUID) -> None:
    database.execute(
        "insert into suppressed_addresses (organization_id, address)"
        " select organization_id, lower(btrim(email)) from contacts where id = any (%s)",
        (list(contacts),),
    )


def is_mine(database: Connection) -> bool:
    [row] = records.rows(database, CHECK.replace("%", "%%"))
    return bool(row["is_mine"])


@pytest.mark.parametrize("max_rows", [2, 20_000])
def test_launch_dry_run_and_view_leave_out_whoever_is_suppressed_and_the_counts_add_up(
    max_rows: int,
    organization: UUID,
    system_user: UUID,
    factory: Factory,
    automation: Automate,
    connect_as: Connect,
    database: Connection,
) -> None:
    ann = factory.contact(organization, email=" Ann@example.org")
    bob, eve, *others = factory.contacts(organization, 7)
    factory.update("contacts", eve, is_subscribed=False)
    suppress(database, ann, eve)
    campaign = factory.campaign(organization)
    stranger = factory.campaign(factory.organization(system_user))
    factory.contact(
        records.rows(database, "select organization_id from campaigns where id = %s", stranger)[0]["organization_id"],
        email="ann@example.org",
    )

    foreseen = automation(max_rows=max_rows).preview()
    report = automation(max_rows=max_rows).launch()

    assert {c["campaign_id"]: c["recipient_count"] for c in report["campaigns"]} == {
        str(campaign): 6,
        str(stranger): 1,
    }
    assert sorted(foreseen["campaigns"], key=str) == sorted(report["campaigns"], key=str)
    assert set(records.recipients(database, campaign)) == {bob, *others}
    launch = records.launch(database, campaign)
    assert launch["excluded"] == {"suppressed": 1, "unsubscribed": 1}
    assert launch["contacts"] == launch["recipient_count"] + sum(launch["excluded"].values()) == 8

    suppress(database, bob)
    shown = records.rows(
        connect_as("service_role"),
        "select contact_id from campaign_runner_sendable where campaign_id = %s",
        campaign,
    )
    assert {row["contact_id"] for row in shown} == set(others)


def test_an_address_that_is_suppressed_during_a_launch_is_taken_out_by_the_reconcile(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    first, *others = factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    run = automation(max_rows=2)
    run.first_slice()
    assert first in records.recipients(database, campaign)

    suppress(database, first)
    run.launch()

    assert set(records.recipients(database, campaign)) == set(others)
    assert records.launch(database, campaign)["excluded"] == {"suppressed": 1}


def test_a_setting_in_the_rules_row_sends_a_launch_back_to_the_start(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute("alter table campaign_target_rules add column quiet_days integer")
    factory.contacts(organization, 6)
    campaign = factory.campaign(organization, rules={})
    run = automation(max_rows=2)
    run.first_slice()
    before = records.launch(database, campaign)
    database.execute("update campaign_target_rules set quiet_days = 3")
    run.step()
    after = records.launch(database, campaign)
    assert (before["state"], after["state"]) == ("generating", "reconciling")
    assert before["fingerprint"] != after["fingerprint"]


def test_without_a_suppressed_address_the_verdicts_are_those_of_the_runner(
    organization: UUID, factory: Factory, database: Connection
) -> None:
    factory.contacts(organization, 5)
    factory.contact(organization, email=None, mobile="+41 79 000 00 00")
    factory.contact(organization, email=" ")
    factory.contact(organization, email="CONTACT1@example.org")
    campaign = factory.campaign(organization, rules={"exclude_countries": ["de"]})

    judged = records.rows(database, as_called(CONTRACT), campaign)

    assert len(judged) == 8
    verdicts = {row["contact_id"]: row["reason"] for row in judged}
    assert verdicts == oracle.audience(oracle.read(database), campaign)


def test_an_upgrade_takes_the_rule_away_and_running_it_again_brings_it_back(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    suppressed, other = factory.contacts(organization, 2)
    suppress(database, suppressed)
    assert is_mine(database)
    database.execute(RULE.encode())
    assert is_mine(database)

    database.execute(AUDIENCE.read_bytes())
    assert not is_mine(database)
    database.execute(RULE.encode())

    assert is_mine(database)
    campaign = factory.campaign(organization)
    automation().launch()
    assert set(records.recipients(database, campaign)) == {other}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_copy_is_as_closed_as_the_function(role: str, database: Connection) -> None:
    query = """
        select has_function_privilege(%s, oid, 'execute') as may from pg_proc
        where pronamespace = 'campaign_runner'::regnamespace and proname like 'audience%%'
    """
    assert records.rows(database, query, role) == [{"may": False}, {"may": False}]


def as_called(statement: str) -> Any:
    return statement.replace("$1", "%s").rstrip().rstrip(";")

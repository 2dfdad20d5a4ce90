"""docs/audience.md: the rule of one's own, as the page shows it, holds wherever the audience is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest

from local.migration import MIGRATIONS
from tests.conftest import Connect, Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.documentation import Page
from tests.support.factory import Factory

PAGE = Page("docs/audience.md")
[RULE] = PAGE.blocks("sql", "create function")
[CLEAR_BOUNCES] = PAGE.blocks("sql", "'bounced'")
[COUNT] = PAGE.blocks("sql", "count(*)")
[EXPLAIN] = PAGE.blocks("sql", "p_contact_ids => ")
[FUNCTIONS] = MIGRATIONS.glob("*_create_functions.sql")

Automate = Callable[..., Automation]


@pytest.fixture(autouse=True)
def rule(database: Connection) -> None:
    database.execute(RULE.encode())


def suppress(database: Connection, *contacts: UUID) -> None:
    database.execute(
        "insert into suppressed_addresses (organization_id, address)"
        " select organization_id, campaign_runner.fold(email) from contacts where id = any (%s)",
        (list(contacts),),
    )


def query(block: str) -> str:
    """A block of the page as psycopg takes it, for values in the order of their numbers."""
    return re.sub(r"\$\d", "%s", block).rstrip().rstrip(";")


@pytest.mark.parametrize("max_rows", [2, 20_000])
def test_launch_dry_run_preview_and_view_leave_out_a_suppressed_address(
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
    elsewhere = factory.organization(system_user)
    factory.contact(elsewhere, email="ann@example.org")
    campaign_elsewhere = factory.campaign(elsewhere)

    preview = automation(max_rows=max_rows).preview_campaign(campaign)
    dry_run = automation(max_rows=max_rows).preview()
    report = automation(max_rows=max_rows).launch()

    counts = {each["campaign_id"]: each["recipient_count"] for each in report["campaigns"]}
    assert counts == {str(campaign): 6, str(campaign_elsewhere): 1}
    assert sorted(dry_run["campaigns"], key=str) == sorted(report["campaigns"], key=str)
    assert set(records.recipients(database, campaign)) == {bob, *others}
    launch = records.launch(database, campaign)
    assert launch["excluded"] == preview["excluded"] == {"project:suppressed": 1, "unsubscribed": 1}
    assert launch["contacts"] == launch["recipient_count"] + 2 == 8

    suppress(database, bob)
    view = "select contact_id from campaign_runner_sendable where campaign_id = %s"
    assert {row["contact_id"] for row in records.rows(connect_as("service_role"), view, campaign)} == set(others)


def test_an_address_that_is_suppressed_during_a_launch_is_taken_out_by_the_reconcile(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    first, *others = factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    run = automation(max_rows=2)
    run.first_chunk()
    assert first in records.recipients(database, campaign)

    suppress(database, first)
    run.launch()

    assert set(records.recipients(database, campaign)) == set(others)
    assert records.launch(database, campaign)["excluded"] == {"project:suppressed": 1}


def test_the_queries_of_the_page_count_and_explain(organization: UUID, factory: Factory, database: Connection) -> None:
    suppressed, other, _ = factory.contacts(organization, 3)
    suppress(database, suppressed)
    campaign = factory.campaign(organization)

    counts = records.rows(database, query(COUNT), campaign)
    assert {row["reason"]: row["count"] for row in counts} == {None: 2, "project:suppressed": 1}
    assert records.rows(database, query(EXPLAIN), campaign, suppressed) == [{"reason": "project:suppressed"}]
    assert records.rows(database, query(EXPLAIN), campaign, other) == [{"reason": None}]


def test_the_statement_of_the_page_clears_the_bounces_of_a_contact(
    organization: UUID, factory: Factory, database: Connection
) -> None:
    cleared, other = factory.contacts(organization, 2)
    earlier = factory.campaign(organization, status="sent")
    for contact in (cleared, other):
        factory.recipient(earlier, contact, status="bounced")
    campaign = factory.campaign(organization, rules={"exclude_bounced": True})
    factory.update("contacts", cleared, email="corrected@example.org")
    assert records.rows(database, query(EXPLAIN), campaign, cleared) == [{"reason": "bounced"}]

    database.execute(query(CLEAR_BOUNCES).encode(), (cleared,))

    assert records.rows(database, query(EXPLAIN), campaign, cleared) == [{"reason": None}]
    assert records.rows(database, query(EXPLAIN), campaign, other) == [{"reason": "bounced"}]


@pytest.mark.parametrize(
    "damage",
    [
        b"alter function campaign_runner_exclusions volatile",
        b"revoke execute on function campaign_runner_exclusions from service_role",
    ],
)
def test_a_function_that_cannot_be_used_is_refused_with_the_statement_that_corrects_it(
    damage: bytes, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    suppressed, other = factory.contacts(organization, 2)
    suppress(database, suppressed)
    campaign = factory.campaign(organization)
    database.execute(damage)

    [error] = automation().launch()["errors"]

    assert error["error"].startswith("The function campaign_runner_exclusions ")
    database.execute(error["error"].partition(": ")[2].encode())
    factory.update("campaigns", campaign, name="Edited")  # an edit ends the backoff
    automation().launch()
    assert set(records.recipients(database, campaign)) == {other}


def test_the_history_names_the_function_where_it_fails(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 1)
    campaign = factory.campaign(organization)
    [head] = re.findall(r"^create function .*?(?=^language)", RULE, re.DOTALL | re.MULTILINE)
    body = "language plpgsql stable as $$ begin raise 'the list is out of date'; end $$"
    database.execute((head.replace("create function", "create or replace function") + body).encode())

    automation().launch()

    words, place = records.launch(database, campaign)["last_error_detail"].splitlines()
    assert words == "the list is out of date"
    assert place.startswith("in campaign_runner_exclusions(uuid,uuid[]) line 1")


def test_an_upgrade_keeps_the_rule(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    suppressed, other = factory.contacts(organization, 2)
    suppress(database, suppressed)
    campaign = factory.campaign(organization)

    database.execute(FUNCTIONS.read_bytes())
    automation().launch()

    assert set(records.recipients(database, campaign)) == {other}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_people_of_the_app_can_neither_call_the_function_nor_read_the_list(role: str, connect_as: Connect) -> None:
    session = connect_as(role)
    for statement in (
        b"select * from public.campaign_runner_exclusions(null, null)",
        b"select * from public.suppressed_addresses",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)

"""Addresses that many contacts of one organization share: what they cost, and who gets the mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString
from uuid import UUID

import pytest

from tests.conftest import Connect, Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

pytestmark = pytest.mark.every_version

CROWD = 1_500
OTHERS = 300
RANGE = 50
PLACEHOLDER = {"email": "' None@example.org'"}
# What a contact of a range costs: it is read, then looked for at its address, and twice where a crowd hides others.
ROWS_OF_A_CONTACT = 4
# The first hundred twins: found twice, evaluated, and looked up as recipients.
TWINS_LOOKED_AT = 500


@pytest.fixture
def statistics() -> str:
    """What the planner knows of the contacts."""
    return "current"


@pytest.fixture
def contacts(statistics: str, organization: UUID, factory: Factory, database: Connection) -> list[UUID]:
    """Those of the crowd, in order; other contacts are among them."""
    database.execute("alter table contacts set (autovacuum_enabled = off)")
    if statistics == "of an empty table":
        database.execute("vacuum analyze")
    factory.crowd(organization, OTHERS)
    factory.crowd(organization, CROWD, **PLACEHOLDER)
    if statistics == "current":
        database.execute("vacuum analyze")
    query = "select id from contacts where email like '%%None@%%' order by id"
    return [row["id"] for row in records.rows(database, query)]


@pytest.mark.parametrize("statistics", ["none", "of an empty table", "current"])
@pytest.mark.parametrize(
    "edit",
    [
        "select",
        "update contacts set is_active = false where id <= %(tenth)s",
        "update contacts set is_subscribed = false where id > %(half)s and email like '%% None@%%'",
        "update contacts set is_subscribed = false, deleted_at = now() where id = %(first)s",
    ],
    ids=["all qualify", "the first ones are inactive", "half of them opted out", "one that is gone opted out"],
)
def test_a_range_in_the_middle_of_a_crowd_looks_at_a_few_of_its_contacts(
    edit: LiteralString,
    contacts: list[UUID],
    organization: UUID,
    factory: Factory,
    connect_as: Connect,
    database: Connection,
) -> None:
    places = {"first": contacts[0], "tenth": contacts[20], "half": contacts[CROWD // 2]}
    database.execute(edit, places if "%" in edit else None)
    campaign = factory.campaign(organization)
    expected = oracle.audience(oracle.read(database), campaign)
    ids = sorted(expected, key=lambda id: id.bytes)[CROWD // 2 :][: RANGE + 1]
    service = connect_as("service_role")

    with service.transaction():
        before = rows_read(service)
        query = "select contact_id, reason from campaign_runner.evaluate_contacts(%s, %s, %s)"
        answer = {row["contact_id"]: row["reason"] for row in records.rows(service, query, campaign, ids[0], ids[-1])}
        read = rows_read(service) - before

    assert answer == {id: expected[id] for id in ids[:-1]}
    assert read <= RANGE * ROWS_OF_A_CONTACT + TWINS_LOOKED_AT


def test_a_contact_is_judged_once_where_twins_are_searched_for_again(
    organization: UUID, factory: Factory, connect_as: Connect
) -> None:
    """The first and the third contact are undecided; the search for their twins finds the second one again."""
    ids = [UUID(int=number) for number in range(1, 7)]
    for id, address in zip(ids, ["a", "a", "b", "c", "a", "b"], strict=True):
        factory.contact(organization, id=id, email=f"{address}@example.org")
    campaign = factory.campaign(organization)
    query = (
        "select contact_id, reason from campaign_runner.evaluate_contacts(%s, %s, %s, p_twins_at_most => 1)"
        " order by contact_id"
    )
    judged = records.rows(connect_as("service_role"), query, campaign, ids[0], ids[3])
    assert [(row["contact_id"], row["reason"]) for row in judged] == [
        (ids[0], None),
        (ids[1], "duplicate_address"),
        (ids[2], None),
    ]


@pytest.mark.parametrize("winner", ["the first one", "one behind fifty inactive ones"])
def test_a_launch_looks_at_a_crowd_twice_and_not_in_each_step(
    winner: str,
    contacts: list[UUID],
    organization: UUID,
    factory: Factory,
    automation: Callable[..., Automation],
    database: Connection,
) -> None:
    """Once in each pass, where the contact is that gets the mail."""
    if winner != "the first one":
        database.execute("update contacts set is_active = false where id < %s", (contacts[50],))
    campaign = factory.campaign(organization)
    expected = oracle.recipients(oracle.audience(oracle.read(database), campaign))
    run = automation(max_rows=RANGE)

    read, steps, answer = 0, 0, {"work_left": True}
    while answer["work_left"]:
        with run.connection.transaction():
            before = rows_read(run.connection)
            answer = run.step()
            read += rows_read(run.connection) - before
            steps += 1

    assert set(records.recipients(database, campaign)) == expected
    assert len(expected & set(contacts)) == 1
    assert steps > 2 * CROWD / RANGE
    assert read <= steps * (RANGE * (ROWS_OF_A_CONTACT + 4) + TWINS_LOOKED_AT) + 2 * 4 * CROWD


@pytest.mark.parametrize("status", ["pending", "sent"])
def test_a_twin_far_behind_in_a_crowd_takes_the_mail_away_once_it_is_on_its_way(
    status: str, contacts: list[UUID], organization: UUID, factory: Factory, database: Connection
) -> None:
    campaign = factory.campaign(organization, status="sending")
    first, last = contacts[0], contacts[-1]
    factory.recipient(campaign, first)
    factory.recipient(campaign, last, status=status)

    shown = {row["contact_id"] for row in records.rows(database, "select * from campaign_runner_sendable")}

    assert shown == ({first} if status == "pending" else set())


def test_a_recipient_in_a_crowd_keeps_its_mail_before_all_who_are_none(
    contacts: list[UUID], organization: UUID, factory: Factory, database: Connection
) -> None:
    campaign = factory.campaign(organization, status="sending")
    factory.recipient(campaign, contacts[-1])

    shown = [row["contact_id"] for row in records.rows(database, "select * from campaign_runner_sendable")]

    assert shown == [contacts[-1]]


@pytest.mark.parametrize("gone", [True, False])
def test_an_opt_out_counts_in_a_crowd_of_opt_outs_where_its_contact_lives(
    gone: bool, contacts: list[UUID], organization: UUID, factory: Factory, database: Connection
) -> None:
    """All of the crowd but one opted out and are deleted, or are not."""
    [stays, *others] = contacts
    database.execute(
        "update contacts set is_subscribed = false, deleted_at = case when %s then now() end where id = any (%s)",
        (gone, others),
    )
    campaign = factory.campaign(organization)

    query = "select reason from campaign_runner.evaluate_contacts(%s, p_contact_ids => %s)"
    [answer] = records.rows(database, query, campaign, [stays])

    assert answer["reason"] == (None if gone else "unsubscribed")


def test_the_opt_outs_of_others_are_found_beside_a_crowd_of_opt_outs(
    contacts: list[UUID], organization: UUID, factory: Factory, database: Connection
) -> None:
    database.execute("update contacts set is_subscribed = false where id = any (%s)", (contacts[1:],))
    pairs = [
        [factory.contact(organization, email=f"pair{n}@example.org", is_subscribed=is_on) for is_on in (True, False)]
        for n in range(40)
    ]
    campaign = factory.campaign(organization)
    asked = [contacts[0], *(first for first, _ in pairs)]

    query = "select reason from campaign_runner.evaluate_contacts(%s, p_contact_ids => %s)"

    assert [row["reason"] for row in records.rows(database, query, campaign, asked)] == ["unsubscribed"] * 41


def rows_read(session: Connection) -> int:
    """Of contacts and recipients, by this session since it last reported to the statistics."""
    query = (
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) as n from pg_stat_xact_user_tables"
        " where relname in ('contacts', 'campaign_recipients')"
    )
    [read] = records.rows(session, query)
    return int(read["n"])

"""What the sender is shown: the pending recipients of sending campaigns who get the campaign at this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from local.migration import apply_migrations
from tests.conftest import Connect, Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]


def sendable(session: Connection, campaign: UUID) -> set[UUID]:
    query = "select contact_id from public.campaign_runner_sendable where campaign_id = %s"
    found = [row["contact_id"] for row in records.rows(session, query, campaign)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.fixture
def service(connect_as: Connect) -> Connection:
    return connect_as("service_role")


@pytest.mark.every_version
def test_after_a_launch_every_recipient_may_be_sent_with_what_a_sender_needs(
    organization: UUID, factory: Factory, automation: Automate, service: Connection
) -> None:
    names: dict[str, Any] = {"first_name": "Ann", "last_name": "Lee"}
    contact = factory.contact(organization, email=" Ann@example.org\n", mobile="+41 79 000 00 00", **names)
    without_email = factory.contact(organization, email=" ", mobile="+41 79 000 00 01")
    campaign = factory.campaign(organization)
    automation().launch()

    shown = records.rows(service, "select * from public.campaign_runner_sendable order by email")

    both = {"campaign_id": campaign, "organization_id": organization}
    assert shown == [
        both | {"contact_id": contact, "email": "Ann@example.org", "mobile": "+41 79 000 00 00"} | names,
        both
        | {"contact_id": without_email, "email": None, "mobile": "+41 79 000 00 01"}
        | {"first_name": None, "last_name": None},
    ]


@pytest.mark.every_version
def test_whoever_does_not_qualify_any_more_may_not_be_sent(
    organization: UUID, factory: Factory, automation: Automate, service: Connection, database: Connection
) -> None:
    """Each reason there is came after the launch, by an edit of contact, tags or rules; and one came and went."""
    stays, inactive, gone, unsubscribed, bounced, unreachable, moved, tagged, again = factory.contacts(organization, 9)
    campaign = factory.campaign(organization, rules={})
    automation().launch()
    assert len(sendable(service, campaign)) == 9

    factory.update("contacts", inactive, is_active=False)
    factory.update("contacts", gone, deleted_at="2026-01-01")
    factory.update("contacts", unsubscribed, is_subscribed=False)
    factory.update("contacts", again, is_subscribed=False)
    factory.update("contacts", unreachable, email=None)
    factory.update("contacts", moved, country="de")
    factory.tag(organization, "lapsed", tagged)
    factory.recipient(factory.campaign(organization, status="sent"), bounced, status="bounced")
    database.execute(
        "update campaign_target_rules set exclude_countries = '{DE}', exclude_tags = '{lapsed}', exclude_bounced = true"
    )
    assert sendable(service, campaign) == {stays}
    factory.update("contacts", again, is_subscribed=None)

    assert sendable(service, campaign) == {stays, again}
    assert sendable(service, campaign) == oracle.recipients(oracle.audience(oracle.read(database), campaign))
    assert set(records.recipients(database, campaign).values()) == {"pending"}


def test_of_two_who_have_one_address_now_only_the_lowest_id_may_be_sent(
    organization: UUID, factory: Factory, automation: Automate, service: Connection, database: Connection
) -> None:
    first, second = factory.contacts(organization, 2)
    campaign = factory.campaign(organization)
    automation().launch()
    database.execute("update contacts set email = ' ANN@example.org ' where id = %s", (second,))
    database.execute("update contacts set email = 'ann@example.org' where id = %s", (first,))

    assert sendable(service, campaign) == {first}
    database.execute("update campaign_recipients set status = 'sent' where contact_id = %s", (first,))
    assert sendable(service, campaign) == set()


def test_a_new_contact_with_the_address_of_a_recipient_does_not_take_its_mail_away(
    organization: UUID, factory: Factory, automation: Automate, service: Connection
) -> None:
    contact = factory.contact(organization, id=UUID(int=2), email="ann@example.org")
    campaign = factory.campaign(organization)
    automation().launch()
    assert sendable(service, campaign) == {contact}

    factory.contact(organization, id=UUID(int=1), email="ann@example.org")

    assert sendable(service, campaign) == {contact}


def test_a_recipient_that_does_not_qualify_any_more_takes_no_mail_away(
    organization: UUID, factory: Factory, automation: Automate, service: Connection, database: Connection
) -> None:
    """A newcomer has the lowest id and is no recipient, the next one is inactive: the third gets the mail."""
    gone, stays = (factory.contact(organization, id=UUID(int=id), email=f"{id}@example.org") for id in (2, 3))
    campaign = factory.campaign(organization)
    automation().launch()
    factory.contact(organization, id=UUID(int=1), email="ann@example.org")
    database.execute("update contacts set email = 'ann@example.org'")
    assert sendable(service, campaign) == {gone}

    factory.update("contacts", gone, is_active=False)

    assert sendable(service, campaign) == {stays}


def test_rules_that_were_widened_after_the_launch_add_nobody(
    organization: UUID, factory: Factory, automation: Automate, service: Connection, database: Connection
) -> None:
    ann, bob = factory.contact(organization, country="ch"), factory.contact(organization, country="de")
    campaign = factory.campaign(organization, rules={"exclude_countries": ["de"]})
    automation().launch()

    database.execute("update campaign_target_rules set exclude_countries = null")

    assert sendable(service, campaign) == {ann}
    assert bob not in records.recipients(database, campaign)


def test_nothing_of_a_campaign_that_is_not_sending_may_be_sent(
    organization: UUID, factory: Factory, automation: Automate, service: Connection
) -> None:
    contacts = set(factory.contacts(organization, 2))
    campaign = factory.campaign(organization)
    automation().launch()
    for status in ("draft", "scheduled", "paused", "failed", "sent"):
        factory.update("campaigns", campaign, status=status)
        assert sendable(service, campaign) == set()
        factory.update("campaigns", campaign, status="sending")
        assert sendable(service, campaign) == contacts


def test_only_what_is_pending_may_be_sent(
    organization: UUID, factory: Factory, service: Connection, database: Connection
) -> None:
    statuses = ["pending", "sent", "delivered", "bounced", "opened", "clicked"]
    contacts = factory.contacts(organization, len(statuses))
    campaign = factory.campaign(organization, status="sending")
    for contact, status in zip(contacts, statuses, strict=True):
        factory.recipient(campaign, contact, status=status)

    assert sendable(service, campaign) == {contacts[0]}


def test_a_recipient_of_another_organization_may_not_be_sent(
    organization: UUID, factory: Factory, service: Connection, database: Connection
) -> None:
    """Which can only be where the keys do not carry the tenant."""
    database.execute("alter table campaign_recipients drop constraint campaign_recipients_contact_of_tenant")
    campaign = factory.campaign(organization, status="sending")
    factory.recipient(campaign, factory.contact(factory.organization()))
    ours = factory.contact(organization)
    factory.recipient(campaign, ours)

    assert sendable(service, campaign) == {ours}


def test_the_first_and_the_last_possible_id_may_be_sent(
    organization: UUID, factory: Factory, automation: Automate, service: Connection
) -> None:
    contacts = {factory.contact(organization, id=UUID(int=id)) for id in (0, 1, 2**128 - 2, 2**128 - 1)}
    campaign = factory.campaign(organization)
    automation().launch()
    assert sendable(service, campaign) == contacts


@pytest.mark.parametrize("statistics", ["none", "of an empty table", "of another campaign", "current"])
def test_the_next_page_reads_only_its_own_part_of_contacts_and_recipients(
    statistics: str,
    organization: UUID,
    factory: Factory,
    automation: Automate,
    service: Connection,
    database: Connection,
) -> None:
    """Whatever the planner knows of the recipients: a launch has just written them."""
    database.execute("alter table campaign_recipients set (autovacuum_enabled = off)")
    contacts = factory.contacts(organization, 5_000)
    database.execute("vacuum analyze contacts")
    if statistics == "of another campaign":
        factory.campaign(organization)
        automation().launch()
    if statistics != "none":
        database.execute("analyze campaign_recipients")
    campaign = factory.campaign(organization)
    automation().launch()
    if statistics == "current":
        database.execute("analyze campaign_recipients")
    page = """
        select contact_id from public.campaign_runner_sendable
        where campaign_id = %s and contact_id > %s order by contact_id limit 50
    """
    read = """
        select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) as n
        from pg_stat_xact_user_tables where relname = any (%s)
    """
    tables = ["contacts", "campaign_recipients"]

    with service.transaction():
        [before] = records.rows(service, read, tables)
        shown = [row["contact_id"] for row in records.rows(service, page, campaign, contacts[3_999])]
        [after] = records.rows(service, read, tables)

    assert shown == contacts[4_000:4_050]
    assert after["n"] - before["n"] < 50 * 10


@pytest.mark.every_version
@pytest.mark.parametrize("statistics", ["none", "of an empty table", "current"])
@pytest.mark.parametrize(
    "page",
    [
        "contact_id >= %(first)s order by contact_id limit 50",
        "contact_id >= %(first)s and contact_id <= %(last)s",
        "contact_id = any (%(all)s)",
    ],
    ids=["a page", "a range", "a list"],
)
def test_the_rules_are_read_once_for_all_rows_however_many_addresses_they_include(
    page: LiteralString,
    statistics: str,
    organization: UUID,
    factory: Factory,
    automation: Automate,
    service: Connection,
    database: Connection,
) -> None:
    database.execute("alter table campaign_recipients set (autovacuum_enabled = off)")
    if statistics == "of an empty table":
        database.execute("analyze")
    contacts = factory.contacts(organization, 1_000)
    emails = [row["email"] for row in records.rows(database, "select upper(email) as email from contacts order by id")]
    campaign = factory.campaign(organization, rules={"include_emails": [None, " ", *emails]})
    automation().launch()
    if statistics == "current":
        database.execute("analyze")
    factory.update("contacts", contacts[510], email="moved@example.org")
    read = "select sum(seq_tup_read + idx_tup_fetch) as n from pg_stat_xact_user_tables where relname = any (%s)"
    values = {"campaign": campaign, "first": contacts[500], "last": contacts[549], "all": contacts[500:550]}

    with service.transaction():
        [before] = records.rows(service, read, ["campaign_target_rules"])
        query = f"select contact_id from campaign_runner_sendable where campaign_id = %(campaign)s and {page}"
        shown = {contact for (contact,) in service.execute(query.encode(), values)}
        [after] = records.rows(service, read, ["campaign_target_rules"])

    assert shown.symmetric_difference(contacts[500:550]) <= {contacts[510], contacts[550]}
    assert contacts[510] not in shown
    assert after["n"] - before["n"] == 1


class TestPrivileges:
    @pytest.fixture
    def granted(self, empty_database_url: str) -> Iterator[Connection]:
        """An older project, in which whatever is new is granted to everybody."""
        with psycopg.connect(empty_database_url, autocommit=True) as owner:
            owner.execute("alter default privileges in schema public grant all on tables to anon, authenticated")
            apply_migrations(empty_database_url)
            yield owner

    @pytest.mark.parametrize("role", ["anon", "authenticated"])
    def test_a_project_that_grants_everything_does_not_show_it(self, role: str, granted: Connection) -> None:
        granted.execute(f"set role {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="campaign_runner_sendable"):
            granted.execute("select * from public.campaign_runner_sendable")

    def test_it_reads_with_the_rights_of_whoever_asks(self, service: Connection, database: Connection) -> None:
        database.execute("revoke select on contacts from service_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="contacts"):
            service.execute("select * from public.campaign_runner_sendable")

    def test_a_grant_of_it_does_not_open_the_audience(
        self, organization: UUID, factory: Factory, connect_as: Connect, database: Connection
    ) -> None:
        member = factory.user()
        factory.member(organization, member, role="owner")
        database.execute("grant select on public.campaign_runner_sendable to authenticated")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
            connect_as("authenticated", member).execute("select * from public.campaign_runner_sendable")

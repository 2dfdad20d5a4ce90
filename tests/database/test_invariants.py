"""The checker of the soak can fail: a fault that is planted after a launch is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.conftest import Connection
from tests.support.automation import Automation
from tests.support.edits import Edits
from tests.support.factory import Factory
from tests.support.invariants import Violations, violations


@pytest.fixture
def contacts(factory: Factory, organization: UUID) -> list[UUID]:
    """Five; the last one has unsubscribed."""
    contacts = factory.contacts(organization, 5)
    factory.update("contacts", contacts[-1], is_subscribed=False)
    return contacts


@pytest.fixture
def campaign(factory: Factory, organization: UUID, contacts: list[UUID], automation: Callable[..., Automation]) -> UUID:
    """A launched campaign."""
    campaign = factory.campaign(organization)
    automation().launch()
    return campaign


@pytest.fixture
def check(database: Connection, campaign: UUID) -> Callable[..., Violations]:
    """Checks the launched campaign, after these edits."""
    return lambda edits=None: violations(database, due=[campaign], edits=edits)


def kinds(found: Violations) -> set[str]:
    return {kind for kind, sentences in vars(found).items() if sentences}


def take_away(database: Connection, *contacts: UUID) -> None:
    database.execute("delete from campaign_recipients where contact_id = any (%s)", (list(contacts),))
    database.execute("update campaign_runner.launches set recipient_count = recipient_count - %s", (len(contacts),))


def put_in(database: Connection, factory: Factory, campaign: UUID, contact: UUID) -> None:
    factory.recipient(campaign, contact)
    database.execute("update campaign_runner.launches set recipient_count = recipient_count + 1")


def test_a_launch_that_nothing_disturbed_breaks_no_promise(check: Callable[..., Violations]) -> None:
    assert check().all() == []
    assert check(Edits()).all() == []


@pytest.mark.parametrize("edits", [None, Edits()])
def test_a_missing_recipient_is_partial(
    edits: Edits | None, check: Callable[..., Violations], database: Connection, contacts: list[UUID]
) -> None:
    take_away(database, contacts[2])
    assert kinds(check(edits)) == {"partial"}


def test_a_recipient_who_is_not_eligible_is_partial(
    check: Callable[..., Violations], database: Connection, factory: Factory, campaign: UUID, contacts: list[UUID]
) -> None:
    put_in(database, factory, campaign, contacts[-1])
    assert kinds(check()) == {"partial"}


def test_an_edited_contact_may_be_a_recipient_or_not_and_so_may_its_twins(
    check: Callable[..., Violations], database: Connection, factory: Factory, campaign: UUID, contacts: list[UUID]
) -> None:
    edits = Edits()
    edits.touch(contacts[-1])
    edits.touch(UUID(int=1), " Contact3@EXAMPLE.org")  # the address of the third one
    put_in(database, factory, campaign, contacts[-1])
    take_away(database, contacts[2])
    assert check(edits).all() == []

    take_away(database, contacts[1])
    assert kinds(check(edits)) == {"partial"}


def test_a_launch_after_the_last_edit_is_exact(
    check: Callable[..., Violations], database: Connection, campaign: UUID, contacts: list[UUID]
) -> None:
    edits = Edits(rescheduled={campaign})
    edits.touch(contacts[2])
    take_away(database, contacts[2])
    assert kinds(check(edits)) == {"partial"}


def test_the_ledger_may_count_only_recipients_who_were_deleted_since(
    check: Callable[..., Violations], factory: Factory, campaign: UUID, contacts: list[UUID]
) -> None:
    factory.delete("contacts", contacts[:1])
    assert kinds(check()) == {"partial"}

    edits = Edits()
    edits.touch(contacts[0])
    assert check(edits).all() == []

    edits.rescheduled.add(campaign)
    assert kinds(check(edits)) == {"partial"}


def test_two_twins_among_the_recipients_are_duplicated(
    check: Callable[..., Violations], database: Connection, factory: Factory, campaign: UUID, organization: UUID
) -> None:
    twin = factory.contact(organization, email=" CONTACT3@example.org")
    put_in(database, factory, campaign, twin)
    edits = Edits()
    edits.touch(twin, "contact3@example.org")
    assert kinds(check(edits)) == {"duplicated"}


def test_a_second_launch_is_duplicated(check: Callable[..., Violations], database: Connection) -> None:
    database.execute(
        """
        insert into campaign_runner.launches (
            campaign_id, organization_id, campaign_name, state, scheduled_at, rules_hash, generates, closed_at, run_id,
            system_user_id, recipient_count
        )
        select
            campaign_id, organization_id, campaign_name, state, scheduled_at, rules_hash, generates, closed_at,
            gen_random_uuid(), system_user_id, recipient_count
        from campaign_runner.launches
        """
    )
    assert kinds(check()) == {"duplicated"}


def test_a_second_event_is_duplicated(check: Callable[..., Violations], database: Connection) -> None:
    database.execute("insert into activity_events (payload) select payload from activity_events")
    assert kinds(check()) == {"duplicated"}


def test_a_launch_of_what_was_not_due_is_duplicated(
    check: Callable[..., Violations], factory: Factory, organization: UUID, contacts: list[UUID]
) -> None:
    other = factory.campaign(organization, status="sending")
    for contact in contacts[:-1]:
        factory.recipient(other, contact)
    assert kinds(check()) == {"duplicated"}


def test_a_campaign_that_was_not_launched_is_lost(database: Connection, factory: Factory, organization: UUID) -> None:
    campaign = factory.campaign(organization)
    assert kinds(violations(database, due=[campaign])) == {"lost"}


def test_an_open_launch_is_unfinished(check: Callable[..., Violations], database: Connection, campaign: UUID) -> None:
    database.execute(
        "insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, scheduled_at)"
        " select id, organization_id, name, scheduled_at from campaigns"
    )
    assert kinds(check()) == {"unfinished"}


def test_an_attempt_or_an_error_is_blamed(
    check: Callable[..., Violations], database: Connection, campaign: UUID
) -> None:
    query = "insert into campaign_runner.run_errors (run_id, campaign_id, error) values (gen_random_uuid(), %s, 'x')"
    database.execute(query, (campaign,))
    assert kinds(check()) == {"blamed"}

    database.execute("delete from campaign_runner.run_errors; update campaign_runner.launches set attempts = 1")
    assert kinds(check()) == {"blamed"}


def test_a_refused_edit_is_lost_and_an_overruled_pause_is_duplicated(check: Callable[..., Violations]) -> None:
    assert kinds(check(Edits(refused=["a deadlock"]))) == {"lost"}
    assert kinds(check(Edits(overruled=["it did not stay paused"]))) == {"duplicated"}

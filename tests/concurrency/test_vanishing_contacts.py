"""Contacts that are deleted, and recipients that are written by others, while a step writes."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID

import pytest

from tests.conftest import Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.step_gate import gate, wait_until_held_up


@pytest.fixture
def organization(factory: Factory, system_user: UUID) -> UUID:
    return factory.organization(system_user)


@pytest.mark.every_version
@pytest.mark.parametrize("max_rows", [4, 20_000])
def test_a_contact_that_is_deleted_between_its_evaluation_and_its_insert_is_nobodys_failure(
    max_rows: int,
    run: Automation,
    organization: UUID,
    factory: Factory,
    database: Connection,
    database_url: str,
) -> None:
    contacts = factory.contacts(organization, 20)
    campaign = factory.campaign(organization)
    with ExitStack() as held_up:
        held_up.enter_context(gate(database_url, contacts[2]))
        if max_rows < len(contacts):
            run.step(max_rows=max_rows)
        with run.waiting(lambda: run.step(max_rows=max_rows)) as stepped:
            wait_until_held_up(database_url)
            factory.delete("contacts", [contacts[0]])
            held_up.close()
            answer = stepped()
    assert (answer["failed"], answer["busy"]) == (0, 0)

    run.finish(max_rows=max_rows)

    assert set(records.recipients(database, campaign)) == set(contacts[1:])
    launch = records.launch(database, campaign)
    assert (launch["state"], launch["attempts"], launch["recipient_count"]) == ("launched", 0, 19)
    assert run.report()["errors"] == []


@pytest.mark.every_version
def test_a_recipient_that_another_writer_commits_first_is_kept(
    run: Automation, organization: UUID, factory: Factory, database: Connection, database_url: str
) -> None:
    contacts = factory.contacts(organization, 20)
    campaign = factory.campaign(organization)
    with ExitStack() as held_up:
        held_up.enter_context(gate(database_url, contacts[2]))
        with run.waiting(run.step) as stepped:
            wait_until_held_up(database_url)
            factory.recipient(campaign, contacts[-1], status="sent")
            held_up.close()
            answer = stepped()
    assert (answer["launched"], answer["failed"]) == (1, 0)
    assert set(records.recipients(database, campaign)) == oracle.recipients(
        oracle.audience(oracle.read(database), campaign)
    )
    assert records.recipients(database, campaign)[contacts[-1]] == "sent"


def test_of_twins_in_two_chunks_just_one_gets_the_mail_whatever_becomes_of_the_lower_one_in_between(
    run: Automation, organization: UUID, factory: Factory, database: Connection
) -> None:
    contacts = factory.contacts(organization, 40)
    lower, higher = contacts[0], contacts[-1]
    for twin in (lower, higher):
        factory.update("contacts", twin, email="ann@example.org")
    for unsubscribed in (True, False):  # while the chunk of the lower one is reconciled, or before
        campaign = factory.campaign(organization)
        factory.update("contacts", lower, is_subscribed=not unsubscribed)
        while not _is_reconciled(database, campaign, lower):
            run.step(max_rows=2)
            if records.launch(database, campaign)["state"] == "generating":
                factory.update("contacts", lower, is_subscribed=True)
            elif not _is_reconciled(database, campaign, lower):
                factory.update("contacts", lower, is_subscribed=not unsubscribed)
        factory.update("contacts", lower, is_subscribed=True)
        run.finish(max_rows=2)
        assert len({lower, higher} & set(records.recipients(database, campaign))) == 1


def test_of_twins_in_two_chunks_the_one_that_the_reconcile_reached_first_keeps_the_mail(
    run: Automation, rival: Automation, organization: UUID, factory: Factory, database: Connection
) -> None:
    contacts = factory.contacts(organization, 40)
    lower, higher = contacts[0], contacts[-1]
    for twin in (lower, higher):
        factory.update("contacts", twin, email="ann@example.org")
    factory.update("contacts", lower, is_active=False)
    campaign = factory.campaign(organization)
    run.first_chunk(max_rows=2)
    while records.launch(database, campaign)["state"] == "generating":
        run.step(max_rows=2)
    run.step(max_rows=2, commit=False)  # keeps the chunk of the lower one
    while not _is_reconciled(database, campaign, higher):
        rival.step(max_rows=2)
    run.rollback()
    factory.update("contacts", lower, is_active=True)

    run.finish(max_rows=2)

    assert {lower, higher} & set(records.recipients(database, campaign)) == {higher}


def _is_reconciled(database: Connection, campaign: UUID, contact: UUID) -> bool:
    return bool(
        records.rows(
            database,
            """
            select from campaign_runner.launches l
            join campaign_runner.launch_chunks s on s.launch_id = l.id
            where l.campaign_id = %s and l.state = 'reconciling' and s.lo <= %s and s.hi > %s
                and (s."cursor" is null or s."cursor" > %s)
            """,
            *(campaign, contact, contact, contact),
        )
    )

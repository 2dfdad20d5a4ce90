"""One huge campaign, and the others beside it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Event, Lock
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.rig import Rig

pytestmark = pytest.mark.slow

CONTACTS = 120_000
STEP_ROWS = 10_000
STEPS_AT_MOST = 2


@pytest.fixture(scope="module")
def giant(rig: Rig) -> UUID:
    """A large organization."""
    with rig.connect() as database:
        database.execute("set statement_timeout = 0")
        factory = Factory(database)
        factory.empty()
        organization = factory.organization(rig.system_user)
        factory.crowd(organization, CONTACTS)
    return organization


@pytest.fixture
def database(rig: Rig, giant: UUID) -> Iterator[psycopg.Connection[Any]]:
    with rig.connect() as database:
        yield database
        database.execute("delete from campaigns")
        Factory(database).empty_ledger()


@pytest.mark.parametrize("workers", [1, 4])
def test_a_huge_campaign_delays_a_fresh_one_of_another_organization_by_at_most_two_steps(
    workers: int, rig: Rig, giant: UUID, database: psycopg.Connection[Any]
) -> None:
    factory = Factory(database)
    huge = factory.campaign(giant)
    other = factory.organization(rig.system_user)
    factory.contacts(other, 100)
    all_at_work, lock, due, launched = Barrier(workers + 1, timeout=60), Lock(), Event(), Event()
    delays = [0] * workers  # steps that went to the huge one in the place of the fresh one, by worker
    delays_at_launch: list[int] = []

    def work(worker: int, run: Automation) -> None:
        run.step()
        all_at_work.wait()
        while not launched.is_set():
            was_due = due.is_set()
            with lock:
                before = list(delays)
            answer = run.step()
            if answer["launched"]:
                delays_at_launch[:] = before
                launched.set()
            elif was_due and answer["contacts"]:
                with lock:
                    delays[worker] += 1

    with ExitStack() as connections, ThreadPoolExecutor(workers) as crew:
        run_id = uuid4()
        works = []
        for worker in range(workers):
            connection = connections.enter_context(rig.connect())
            run = Automation(connection, rig.system_user, run_id=run_id, max_rows=STEP_ROWS)
            works.append(crew.submit(work, worker, run))
        all_at_work.wait()
        small = factory.campaign(other)
        due.set()
        for each in works:
            each.result()

    assert records.status(database, small) == "sending"
    assert records.status(database, huge) == "scheduled"
    assert max(delays_at_launch) <= STEPS_AT_MOST


def test_a_campaign_with_100000_half_made_recipients_can_be_deleted_and_blocks_no_run(
    rig: Rig, giant: UUID, database: psycopg.Connection[Any]
) -> None:
    factory = Factory(database)
    huge = factory.campaign(giant)
    run = Automation(database, rig.system_user, max_rows=25_000)
    while len(records.rows(database, "select from campaign_recipients limit 100000")) < 100_000:
        run.step()
    other = factory.organization(rig.system_user)
    factory.contacts(other, 100)

    with rig.connect() as person, person.transaction():
        person.execute("delete from campaigns where id = %s", (huge,))  # within the statement timeout
        beside = [factory.campaign(other), factory.campaign(other)]
        # A busy machine may need a step for each.
        answers = [run.step() for _ in beside]
        assert (sum(each["launched"] for each in answers), sum(each["failed"] for each in answers)) == (2, 0)
        assert all(records.status(database, campaign) == "sending" for campaign in beside)

    assert records.rows(database, "select from campaign_recipients where campaign_id = %s", huge) == []
    report = run.launch()
    assert report["errors"] == []
    assert records.launch(database, huge)["state"] == "abandoned"

"""A launch that is cut off, a launch that is long, and people who edit meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from local.function import Function
from tests.support import records
from tests.support.eventually import eventually
from tests.support.service import Service
from tests.support.step_gate import gate, wait_until_held_up

pytestmark = pytest.mark.slow


@pytest.fixture
def small_steps(service: Service, environment: dict[str, str]) -> Iterator[Service]:
    """A function of its own whose steps are small, so that an audience takes several."""
    with Function({**environment, "STEP_ROWS": "1000", "RUN_CONCURRENCY": "1"}) as function:
        yield replace(service, url=function.url)


def test_a_launch_whose_function_is_killed_is_completed_by_the_next_run(
    service: Service, environment: dict[str, str]
) -> None:
    organization = service.organization()
    contacts = service.factory.contacts(organization, 5_000)
    campaign = service.factory.campaign(organization)
    with (
        Function({**environment, "STEP_ROWS": "1000", "RUN_CONCURRENCY": "1"}) as doomed,
        ThreadPoolExecutor(1) as caller,
        gate(service.project.database_url, contacts[2_500]),
    ):
        call = caller.submit(replace(service, url=doomed.url).post)
        wait_until_held_up(service.project.database_url)
        doomed.kill()
        assert call.exception() is not None
        assert records.status(service.database, campaign) == "scheduled"
        assert 0 < len(records.recipients(service.database, campaign)) < 5_000

    [outcome] = service.run()["campaigns"]

    assert outcome["campaign_id"] == str(campaign)
    assert outcome["recipient_count"] == 5_000
    assert records.recipients(service.database, campaign).keys() == set(contacts)
    assert service.run()["processed_count"] == 0


def test_a_function_that_is_told_to_end_finishes_its_step_and_says_that_work_is_left(
    service: Service, environment: dict[str, str]
) -> None:
    organization = service.organization()
    contacts = service.factory.contacts(organization, 5_000)
    campaign = service.factory.campaign(organization)
    with (
        Function({**environment, "STEP_ROWS": "100", "RUN_CONCURRENCY": "2"}) as leaving,
        ThreadPoolExecutor(1) as caller,
    ):
        with gate(service.project.database_url, contacts[50]):
            call = caller.submit(replace(service, url=leaving.url).post)
            wait_until_held_up(service.project.database_url)
            leaving.terminate()
            eventually(lambda: not leaving.listens())
        response = call.result()
        assert leaving.wait() == 0

    assert response.status_code == 200
    assert response.headers["X-Run-Complete"] == "false"
    assert response.json() == {"processed_count": 0, "campaigns": [], "errors": []}
    assert records.status(service.database, campaign) == "scheduled"
    assert 0 < len(records.recipients(service.database, campaign)) < 5_000
    [outcome] = service.run()["campaigns"]
    assert outcome["recipient_count"] == 5_000


def test_editors_do_not_wait_for_a_launch_and_win(small_steps: Service) -> None:
    """The updates would fail at once if they had to wait: the editor's lock timeout is a millisecond."""
    service = small_steps
    organization = service.organization()
    contacts = service.factory.contacts(organization, 5_000)
    campaign = service.factory.campaign(organization)
    held, done, undone = contacts[2_500], contacts[100], contacts[4_900]
    with (
        ThreadPoolExecutor(1) as caller,
        psycopg.connect(service.project.database_url, autocommit=True) as editor,
    ):
        editor.execute("set lock_timeout = '1ms'")
        with gate(service.project.database_url, held):
            call = caller.submit(service.run)
            wait_until_held_up(service.project.database_url)
            editor.execute("update contacts set is_subscribed = false where id in (%s, %s, %s)", (held, done, undone))
            editor.execute("update campaigns set name = 'Renamed', status = 'paused' where id = %s", (campaign,))
            editor.execute(
                "insert into campaign_target_rules (campaign_id, organization_id) values (%s, %s)",
                (campaign, organization),
            )
        assert call.result()["processed_count"] == 0
        assert records.status(service.database, campaign) == "paused"

        editor.execute("update campaigns set status = 'scheduled' where id = %s", (campaign,))
    [outcome] = service.run()["campaigns"]
    assert outcome["name"] == "Renamed"
    assert records.recipients(service.database, campaign).keys() == set(contacts) - {held, done, undone}


def test_an_organization_of_100000_contacts_is_launched_in_steps_and_in_bounded_memory(
    service: Service, function: Function
) -> None:
    """Under the statement timeout of hosted projects, 8 s, which one statement for all of them may well exceed."""
    small, large = service.organization(), service.organization()
    service.factory.crowd(small, 100)
    service.factory.crowd(large, 100_000)
    [(timeout,)] = service.execute("show statement_timeout")
    assert timeout == "8s"

    service.factory.campaign(small)
    assert service.run()["processed_count"] == 1
    before = function.peak_memory()
    campaign = service.factory.campaign(large)
    answers = [service.run()]
    while not answers[-1]["campaigns"]:
        assert records.status(service.database, campaign) == "scheduled"
        answers.append(service.run())

    assert answers[-1]["campaigns"][0]["recipient_count"] == 100_000
    missed = (
        "select id from contacts where organization_id = %s"
        " except select contact_id from campaign_recipients where campaign_id = %s"
    )
    assert records.rows(service.database, missed, large, campaign) == []
    assert function.peak_memory() < before * 1.25

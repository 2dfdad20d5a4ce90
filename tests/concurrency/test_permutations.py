"""Two connections, steps in a stated order. Each test names its permutation; nothing sleeps."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.step_gate import gate, wait_until_held_up

pytestmark = pytest.mark.every_version

Connection = psycopg.Connection[Any]


@pytest.fixture
def organization(factory: Factory, system_user: UUID) -> UUID:
    """An organization of a hundred contacts, whom their addresses number."""
    organization = factory.organization(system_user)
    factory.crowd(organization, 100, email="i || '@example.org'")
    return organization


@pytest.fixture
def campaign(factory: Factory, organization: UUID) -> UUID:
    return factory.campaign(organization, rules={})


@pytest.fixture
def editor(database_url: str) -> Iterator[Connection]:
    """A person's connection, whose edit is not committed until the test says so."""
    with psycopg.connect(database_url) as editor:
        yield editor
        editor.rollback()


def test_claim_claim__the_second_run_leaves_a_claimed_campaign_alone(
    run: Automation, rival: Automation, campaign: UUID, database: Connection
) -> None:
    first = run.step(commit=False)
    second = rival.step()
    run.commit()

    assert (first["launched"], second["launched"], second["busy"], second["unrecorded"]) == (1, 0, 1, None)
    assert [c["campaign_id"] for c in run.report()["campaigns"]] == [str(campaign)]
    assert rival.report()["campaigns"] == []
    assert len(records.recipients(database, campaign)) == 100


def test_claim_claim__the_second_run_takes_a_campaign_whose_claim_was_rolled_back(
    run: Automation, rival: Automation, campaign: UUID, database: Connection
) -> None:
    run.step(commit=False)
    assert rival.step()["busy"] == 1
    run.rollback()
    assert rival.step()["launched"] == 1
    assert [c["campaign_id"] for c in rival.report()["campaigns"]] == [str(campaign)]
    assert len(records.recipients(database, campaign)) == 100


def test_step_step__two_steps_of_a_run_launch_side_by_side(
    run: Automation, second_connection: Automation, campaign: UUID, organization: UUID, factory: Factory
) -> None:
    """The first to enter the run into the ledger keeps the other from it, and must not make it wait."""
    run.step(commit=False)
    factory.campaign(organization)
    assert second_connection.step()["launched"] == 1
    run.commit()
    assert run.report()["processed_count"] == 2


def test_step_failure__a_failure_that_cannot_be_recorded_undoes_no_other_launch(
    run: Automation,
    rival: Automation,
    campaign: UUID,
    organization: UUID,
    factory: Factory,
    system_user: UUID,
    database: Connection,
) -> None:
    """The failure belongs to a launch that another step holds to its end."""
    while len(records.recipients(database, campaign)) < 75:
        run.step(max_rows=50)
    run.step(max_rows=50, commit=False)  # the last chunk, which sends the launch to reconciling
    database.execute("delete from organization_members where organization_id = %s", (organization,))
    factory.campaign(factory.organization(system_user))

    answer = rival.step()
    assert (answer["launched"], answer["failed"], answer["busy"], answer["unrecorded"]) == (1, 0, 1, None)
    run.commit()
    assert rival.step()["failed"] == 1
    assert [error["campaign_id"] for error in rival.report()["errors"]] == [str(campaign)]


def test_chunks_chunk__two_runs_work_on_different_chunks_of_one_audience(
    run: Automation, rival: Automation, campaign: UUID, database: Connection
) -> None:
    run.step(max_rows=10)  # lays out chunks
    first = run.step(max_rows=10, commit=False)
    second = rival.step(max_rows=10)
    run.commit()
    assert (first["contacts"], second["contacts"]) == (5, 5)
    run.finish()
    assert len(records.recipients(database, campaign)) == 100


def test_claim_pause__a_campaign_paused_before_the_launch_stays_paused(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    editor.execute("update campaigns set status = 'paused' where id = %s", (campaign,))
    assert run.step()["busy"] == 1  # it does not wait for the editor, and does not launch behind its back
    editor.commit()
    assert run.step() | {"to_report": None} == {
        "work_left": False, "laid_out": False, "busy": 0, "contacts": 0, "reconciled": 0, "launched": 0, "failed": 0,
        "locked": 0,
        "timed_out": False,
        "unrecorded": None, "to_report": None
    }  # fmt: skip
    assert records.status(database, campaign) == "paused"


def test_claim_pause__an_edit_that_is_rolled_back_holds_nothing_up(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    editor.execute("update campaigns set status = 'paused' where id = %s", (campaign,))
    assert run.step()["busy"] == 1
    editor.rollback()
    assert run.step()["launched"] == 1
    assert records.status(database, campaign) == "sending"


def test_mark_sending_edit_rules__rules_that_are_being_edited_are_not_launched_by(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    editor.execute(
        "update campaign_target_rules set include_emails = '{1@example.org}' where campaign_id = %s", (campaign,)
    )
    assert run.step()["busy"] == 1
    editor.commit()
    assert run.step()["launched"] == 1
    assert len(records.recipients(database, campaign)) == 1


def test_generate_edit_rules__the_audience_is_made_anew_by_the_new_rules(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    run.first_chunk(max_rows=60)
    run.step(max_rows=60)
    assert len(records.recipients(database, campaign)) > 30
    editor.execute(
        "update campaign_target_rules set include_emails = '{1@example.org, 99@example.org}' where campaign_id = %s",
        (campaign,),
    )
    editor.commit()
    run.finish(max_rows=30)
    assert len(records.recipients(database, campaign)) == 2
    assert records.status(database, campaign) == "sending"


def test_generate_unsubscribe__who_unsubscribes_behind_the_cursor_is_no_recipient(
    run: Automation, campaign: UUID, database: Connection
) -> None:
    run.first_chunk(max_rows=30)
    database.execute(
        "update contacts set is_subscribed = false where id in (select contact_id from campaign_recipients limit 10)"
    )
    run.finish(max_rows=30)
    assert len(records.recipients(database, campaign)) == 90


def test_chunks_chunk_edit_rules__rules_edited_when_nobody_could_end_the_launch_hold(
    run: Automation, rival: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    """Each of two steps, at work on the last two chunks, sees the other's as unfinished: neither ends the pass."""
    progress = (
        "select l.state, count(s.cursor) from campaign_runner.launches l"
        " left join campaign_runner.launch_chunks s on s.launch_id = l.id group by l.id"
    )
    run.step(max_rows=10)
    while database.execute(progress).fetchall() != [("reconciling", 2)]:
        assert run.step(max_rows=10)["launched"] == 0
    run.step(max_rows=10, commit=False)
    rival.step(max_rows=10, commit=False)
    run.commit()
    rival.commit()
    assert database.execute(progress).fetchall() == [("reconciling", 0)]
    assert records.status(database, campaign) == "scheduled"
    editor.execute("update campaign_target_rules set include_emails = '{7@example.org}'")
    editor.commit()

    assert run.step(max_rows=10)["launched"] == 0
    run.finish(max_rows=10)

    assert len(records.recipients(database, campaign)) == 1
    assert records.status(database, campaign) == "sending"


def test_chunks_deliver__a_row_that_stops_being_pending_while_we_wait_for_it_is_not_deleted(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    run.first_chunk(max_rows=30)
    [(contact,)] = database.execute("select min(contact_id::text) from campaign_recipients").fetchall()
    database.execute("update contacts set is_subscribed = false where id = %s", (contact,))
    editor.execute("update campaign_recipients set status = 'sent' where contact_id = %s", (contact,))

    while database.execute("select state from campaign_runner.launches").fetchall() == [("generating",)]:
        assert run.step(max_rows=30)["failed"] == 0

    def insist() -> dict[str, Any]:  # since a step waits for a quarter of a second only
        while (answer := run.step(max_rows=30))["busy"]:
            pass
        return answer

    with run.waiting(insist) as step:
        editor.commit()
    step()
    run.finish(max_rows=30)

    [(left,)] = database.execute(
        "select count(*) from campaign_recipients where contact_id = %s and status = 'sent'", (contact,)
    ).fetchall()
    assert left == 1
    assert records.status(database, campaign) == "sending"


def test_generate_insert__a_recipient_that_somebody_commits_beside_us_is_no_error(
    run: Automation, editor: Connection, campaign: UUID, database: Connection, database_url: str
) -> None:
    """It comes after our look at what is there, and before our own row."""
    [(first, last)] = database.execute("select min(id::text), max(id::text) from contacts").fetchall()
    with ThreadPoolExecutor(1) as thread:
        with gate(database_url, first):
            stepped = thread.submit(run.step)
            wait_until_held_up(database_url)
            editor.execute(
                "insert into campaign_recipients (campaign_id, contact_id, organization_id)"
                " select %s, id, organization_id from contacts where id = %s",
                (campaign, last),
            )
            editor.commit()
        assert stepped.result()["launched"] == 1
    assert len(records.recipients(database, campaign)) == 100
    assert run.report()["errors"] == []


def test_mark_sending_unsubscribe__who_unsubscribed_before_a_second_try_is_no_recipient(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    """A step that could not mark the campaign sending leaves no audience behind."""
    editor.execute("update campaigns set name = 'Renamed' where id = %s", (campaign,))
    assert run.step()["busy"] == 1
    database.execute("update contacts set is_subscribed = false where email = '1@example.org'")
    editor.commit()
    assert run.step()["launched"] == 1
    assert len(records.recipients(database, campaign)) == 99


def test_mark_sending_delete__a_campaign_that_is_being_deleted_is_not_launched(
    run: Automation, editor: Connection, campaign: UUID, database: Connection
) -> None:
    run.first_chunk(max_rows=30)
    editor.execute("delete from campaigns where id = %s", (campaign,))
    while (answer := run.step(max_rows=30))["work_left"]:
        pass
    assert answer["launched"] == 0
    editor.commit()
    assert run.step()["busy"] == 0
    assert len(records.recipients(database, campaign)) == 0
    [(state,)] = database.execute("select state from campaign_runner.launches").fetchall()
    assert state == "abandoned"


def test_step_report__the_report_waits_for_a_step_that_is_still_running(
    run: Automation, second_connection: Automation, campaign: UUID
) -> None:
    run.step(commit=False)
    with second_connection.waiting(second_connection.report) as report:  # asks, and is seen to wait for the step
        run.commit()
    assert [c["campaign_id"] for c in report()["campaigns"]] == [str(campaign)]


def test_step_report__the_report_names_what_a_running_step_launches_after_it_was_asked_for(
    run: Automation, second_connection: Automation, campaign: UUID, database: Connection, database_url: str
) -> None:
    [(contact,)] = database.execute("select id from contacts order by id limit 1").fetchall()
    with ExitStack() as held_up:
        held_up.enter_context(gate(database_url, contact))
        with run.waiting(run.step) as stepped, second_connection.waiting(second_connection.report, sessions=2) as told:
            held_up.close()
            assert stepped()["launched"] == 1
            assert [c["campaign_id"] for c in told()["campaigns"]] == [str(campaign)]


def test_report_step__a_step_that_comes_after_the_report_is_refused(
    run: Automation, campaign: UUID, database: Connection
) -> None:
    assert run.report()["campaigns"] == []
    with pytest.raises(psycopg.DatabaseError) as refusal:
        run.step()
    assert refusal.value.sqlstate == "CR409"
    assert records.status(database, campaign) == "scheduled"

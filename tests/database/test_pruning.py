"""Old rows of the ledger go with the report of a run, but for what a later launch still has to know."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

LEDGER = ("launches", "launch_chunks", "runs", "run_errors")


def age(database: Connection, days: int) -> None:
    """Everything in the ledger happened so many days ago."""
    ago = f"- interval '{days} days'"
    database.execute(
        f"update campaign_runner.runs set opened_at = opened_at {ago}, closed_at = closed_at {ago}".encode()
    )
    database.execute(f"update campaign_runner.run_errors set occurred_at = occurred_at {ago}".encode())
    database.execute(
        f"update campaign_runner.launches set opened_at = opened_at {ago}, closed_at = closed_at {ago}".encode()
    )


def ledger(database: Connection) -> dict[str, int]:
    """The number of rows of each table."""
    return {
        table: records.rows(database, f"select count(*) as n from campaign_runner.{table}")[0]["n"] for table in LEDGER
    }


def abandon(factory: Factory, automation: Automate, database: Connection, organization: UUID) -> UUID:
    """A campaign that was deleted in mid-launch, left half its recipients behind, and was made again."""
    factory.contacts(organization, 8)
    campaign = factory.campaign(organization)
    automation(max_rows=2).first_chunk()
    for (name,) in database.execute(
        "select conname::text from pg_constraint"
        " where conrelid = 'campaign_recipients'::regclass and confrelid = 'campaigns'::regclass"
    ).fetchall():
        database.execute(sql.SQL("alter table campaign_recipients drop constraint {}").format(sql.Identifier(name)))
    factory.delete("campaigns", [campaign])
    automation().finish()
    factory.campaign(organization, id=campaign)
    assert records.launch(database, campaign)["left_recipients"] is True
    assert 0 < len(records.recipients(database, campaign)) < 8
    return campaign


@pytest.fixture
def past(organization: UUID, factory: Factory, automation: Automate, database: Connection) -> UUID:
    """A run that launched a campaign and failed with another, and an abandoned launch that left chunks."""
    factory.contacts(organization, 8)
    gone = factory.campaign(organization)
    automation(max_rows=2).first_chunk()
    factory.delete("campaigns", [gone])
    launched = factory.campaign(organization)
    stranger = factory.campaign(factory.organization())
    automation().launch()
    factory.update("campaigns", stranger, status="draft")
    database.execute(
        "update campaign_runner.launches set state = 'abandoned', closed_at = now() where closed_at is null"
    )
    assert all(ledger(database).values())
    return launched


@pytest.mark.every_version
def test_what_is_older_than_90_days_goes_with_the_report_of_a_run_that_did_something(
    past: UUID, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    age(database, 91)
    before = ledger(database)
    automation().finish()
    assert ledger(database) == before  # an idle call does no extra work
    factory.campaign(organization)

    automation().launch()

    assert ledger(database) == {"launches": 1, "launch_chunks": 0, "runs": 1, "run_errors": 0}


def test_what_is_younger_stays(
    past: UUID, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    age(database, 89)
    before = ledger(database)
    factory.campaign(organization)

    automation().launch()

    assert ledger(database) == before | {"launches": before["launches"] + 1, "runs": before["runs"] + 1}


def test_an_open_launch_stays_however_old_it_is(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    campaign = factory.campaign(organization)
    automation(max_rows=2).first_chunk()
    age(database, 1000)

    database.execute("select campaign_runner.prune()")

    assert records.launch(database, campaign)["state"] == "generating"
    assert ledger(database)["launch_chunks"] > 0


def test_half_an_audience_is_not_taken_for_a_whole_one_because_its_launch_was_pruned(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = abandon(factory, automation, database, organization)
    age(database, 1000)

    database.execute("select campaign_runner.prune()")
    [launched] = automation().launch()["campaigns"]

    assert launched["recipient_count"] == len(records.recipients(database, campaign)) == 8
    # Taken over, it is of no use any more: the report of the run that did so has pruned it.
    assert [launch["state"] for launch in records.launches(database, campaign)] == ["launched"]


def test_a_later_launch_that_has_not_begun_has_taken_nothing_over(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = abandon(factory, automation, database, organization)
    database.execute("delete from organization_members")
    automation().finish()
    assert [launch["state"] for launch in records.launches(database, campaign)] == ["abandoned", "opened"]
    age(database, 1000)

    database.execute("select campaign_runner.prune()")

    assert [launch["state"] for launch in records.launches(database, campaign)] == ["abandoned", "opened"]


def test_the_recipients_of_a_completed_launch_are_kept_in_whatever_pieces_the_ledger_goes(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    """Without the launch that completed them, the abandoned one before it would claim them for itself."""
    campaign = abandon(factory, automation, database, organization)
    automation().launch()
    age(database, 1000)
    [(chunks,)] = database.execute("select count(*) from campaign_runner.launch_chunks").fetchall()
    assert chunks > 2
    for _ in range(2 * chunks):
        database.execute("select campaign_runner.prune(p_max_rows => 2)")
        if [launch["state"] for launch in records.launches(database, campaign)] == ["abandoned"]:
            pytest.fail("the completed launch went first")
    assert records.launches(database, campaign) == []
    factory.contacts(organization, 1)
    factory.update("campaigns", campaign, status="scheduled")

    [launched] = automation().launch()["campaigns"]

    assert (launched["recipients_generated"], launched["recipient_count"]) == (False, 8)


def test_a_report_prunes_a_bounded_number_of_rows(automation: Automate, database: Connection) -> None:
    database.execute(
        "insert into campaign_runner.runs (id, opened_at) select gen_random_uuid(), now() - interval '91 days'"
        " from generate_series(1, 2500)"
    )
    database.execute(
        "insert into campaign_runner.run_errors (run_id, campaign_id, error, occurred_at)"
        " select gen_random_uuid(), gen_random_uuid(), '', now() - interval '91 days' from generate_series(1, 2500)"
    )
    database.execute(
        "insert into campaign_runner.launches"
        " (campaign_id, organization_id, campaign_name, state, scheduled_at, rules_hash, closed_at)"
        " select gen_random_uuid(), gen_random_uuid(), '', 'abandoned', now(), '', now() - interval '91 days'"
        " from generate_series(1, 2500)"
    )
    sizes = []
    for _ in range(3):
        automation().report()
        sizes.append([ledger(database)[table] for table in ("launches", "run_errors")])
    assert sizes == [[1500, 1500], [500, 500], [0, 0]]
    assert ledger(database)["runs"] == 3


@pytest.mark.parametrize("table", LEDGER)
def test_the_report_does_not_wait_for_a_row_that_somebody_holds(
    table: str, past: UUID, automation: Automate, database: Connection, database_url: str
) -> None:
    age(database, 91)
    with psycopg.connect(database_url) as holder:
        holder.execute(f"select from campaign_runner.{table} for update".encode())
        run = automation()
        run.connection.execute("set statement_timeout = '3s'")

        assert run.report()["processed_count"] == 0

        assert ledger(database)[table] >= 1
    automation().report()
    automation().report()
    assert ledger(database)[table] == (3 if table == "runs" else 0)


def test_a_report_survives_that_nothing_can_be_pruned(
    past: UUID, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    age(database, 91)
    database.execute("create function public.refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$")
    database.execute(
        "create trigger refuse before delete on campaign_runner.run_errors execute function public.refuse()"
    )
    campaign = factory.campaign(organization)
    before = ledger(database)

    report = automation().launch()

    assert [launched["campaign_id"] for launched in report["campaigns"]] == [str(campaign)]
    assert ledger(database)["launches"] == before["launches"] + 1


def test_a_report_survives_that_pruning_takes_too_long(past: UUID, automation: Automate, database: Connection) -> None:
    age(database, 91)
    database.execute(
        "create function public.dawdle() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(60); return old; end $$"
    )
    database.execute(
        "create trigger dawdle before delete on campaign_runner.runs for each row execute function public.dawdle()"
    )
    run = automation()
    run.run_id = uuid4()
    run.connection.execute("set statement_timeout = '300ms'")

    assert run.report() == {"processed_count": 0, "campaigns": [], "errors": []}

"""What a monitor sees: who waits for a run, what is under way, and what waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from runner.health import Health
from tests.conftest import Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.refusal import refuse

Automate = Callable[..., Automation]

LISTS = ("unscheduled", "generating", "held", "needs_attention", "backing_off", "taken_over")


def named(health: dict[str, Any]) -> dict[str, list[str]]:
    """The names in the lists that are not empty."""
    lists = {name: [campaign["name"] for campaign in health[name]["campaigns"]] for name in LISTS}
    assert {name: health[name]["count"] for name in LISTS} == {name: len(names) for name, names in lists.items()}
    return {name: names for name, names in lists.items() if names}


def make_late(database: Connection, **minutes: int) -> None:
    """Set back the schedules of campaigns, by their names."""
    for name, late in minutes.items():
        database.execute(
            "update campaigns set scheduled_at = now() - make_interval(mins => %s) where name = %s", (late, name)
        )


@pytest.mark.every_version
def test_where_nothing_ever_happened_nothing_is_wrong(automation: Automate) -> None:
    health = automation().health()

    assert named(health) == {}
    assert health["due"] == {"count": 0, "is_capped": False}
    assert [health[name] for name in ("last_tick_at", "last_run_ended_at", "oldest_due", "oldest_due_seconds")] == [
        None
    ] * 4
    assert health["runs"] == []


def test_a_campaign_that_nobody_launches_grows_old(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    for name in ("younger", "oldest", "tomorrow", "draft"):
        factory.campaign(organization, name=name, status="draft" if name == "draft" else "scheduled")
    make_late(database, younger=20, oldest=30, draft=60, tomorrow=-1440)

    health = automation().health()

    assert health["oldest_due"]["name"] == "oldest"
    assert 1800 <= health["oldest_due_seconds"] < 1860
    assert health["due"]["count"] == 2
    automation().launch()
    assert automation().health()["oldest_due"] is None


def test_an_idle_tick_and_a_run_are_told_apart(organization: UUID, factory: Factory, automation: Automate) -> None:
    automation().finish()
    idle = automation().health()
    assert idle["last_tick_at"] is not None
    assert (idle["last_run_ended_at"], idle["runs"]) == (None, [])
    factory.campaign(organization)
    factory.campaign(factory.organization())
    run = automation()
    run.finish()
    [unreported] = automation().health()["runs"]
    assert (unreported["closed_at"], unreported["duration_seconds"]) == (None, None)

    run.report()

    [reported] = automation().health()["runs"]
    assert (reported["run_id"], reported["launched"], reported["failed"]) == (str(run.run_id), 1, 1)
    assert automation().health()["last_run_ended_at"] == reported["closed_at"]
    assert reported["duration_seconds"] >= 0


def test_a_campaign_that_failed_is_no_late_one_until_its_next_attempt_is(
    factory: Factory, automation: Automate, system_user: UUID, database: Connection
) -> None:
    organization = factory.organization(system_user)
    factory.contact(organization)
    refuse(database, factory.campaign(organization, name="failing"))
    make_late(database, failing=600)
    automation().launch()

    backing_off = automation().health()
    assert named(backing_off) == {"backing_off": ["failing"]}
    [campaign] = backing_off["backing_off"]["campaigns"]
    assert campaign["attempts"] == 1
    assert campaign["next_attempt_at"] is not None
    assert "P0001" in campaign["last_error"]
    assert backing_off["oldest_due"] is None

    database.execute(
        "update campaign_runner.launches"
        " set opened_at = now() - interval '1 hour', next_attempt_at = now() - interval '3 minutes'"
    )
    free = automation().health()
    assert named(free) == {"backing_off": ["failing"]}  # until it is launched
    assert 180 <= free["oldest_due_seconds"] < 240
    automation().retry()
    assert named(automation().health()) == {"backing_off": ["failing"]}

    database.execute("update campaign_runner.launches set attempts = 9")
    automation().launch()
    attention = automation().health()
    assert named(attention) == {"needs_attention": ["failing"]}
    assert attention["needs_attention"]["campaigns"][0]["next_attempt_at"] is None
    assert attention["oldest_due"] is None


def test_the_words_of_the_source_are_for_those_who_ask(
    factory: Factory, automation: Automate, system_user: UUID, database: Connection
) -> None:
    organization = factory.organization(system_user)
    factory.contact(organization)
    refuse(database, factory.campaign(organization))
    automation().launch()
    [without] = automation().health()["backing_off"]["campaigns"]
    [with_them] = automation().health(with_details=True)["backing_off"]["campaigns"]
    assert without["detail"] is None
    assert with_them["detail"].startswith("not ")
    assert (without["failed_with"], without["organization_name"]) == ("P0001", "Organization")


def test_a_campaign_that_a_person_set_to_sending_in_mid_launch_is_named(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 8)
    campaign = factory.campaign(organization, name="taken")
    automation(max_rows=2).first_chunk()
    factory.update("campaigns", campaign, status="sending")
    health = automation().health()
    assert named(health) == {"taken_over": ["taken"]}
    assert 0 < health["taken_over"]["campaigns"][0]["recipients_inserted"] < 8
    factory.update("campaigns", campaign, status="scheduled")
    automation().launch()
    assert named(automation().health()) == {}


def test_what_comes_next_is_listed_in_the_order_of_time(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    for hours in range(12, 0, -1):
        factory.campaign(organization, name=f"in {hours} h", due_in=timedelta(hours=hours))
    factory.campaign(organization, name="in years", due_in=timedelta(days=13_000))
    factory.campaign(organization, name="due")
    factory.campaign(organization, name="draft", status="draft", due_in=timedelta(hours=1))
    assert [each["name"] for each in automation().health()["upcoming"]] == [f"in {n} h" for n in range(1, 11)]
    database.execute("delete from campaigns where name like 'in % h'")
    assert [each["name"] for each in automation().health()["upcoming"]] == ["in years"]


def test_a_run_takes_as_long_as_from_its_first_step_to_its_report(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    factory.campaign(organization)
    run = automation(max_rows=2)
    run.first_chunk()
    database.execute("update campaign_runner.runs set opened_at = opened_at - interval '17 seconds'")
    run.launch()
    [told] = automation().health()["runs"]
    assert 17 <= told["duration_seconds"] < 47


def test_a_held_campaign_is_held_until_somebody_edits_it(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization, name="late")
    make_late(database, late=120)
    automation(max_lateness_minutes=60).launch()
    assert named(automation().health()) == {"held": ["late"]}

    factory.update("campaigns", campaign, name="late, edited")

    health = automation().health()
    assert named(health) == {}
    assert health["oldest_due"]["name"] == "late, edited"
    assert 0 <= health["oldest_due_seconds"] < 60  # not since its schedule, at which it was tried


@pytest.mark.parametrize("change", ["paused", "tomorrow", "deleted"])
def test_what_a_person_took_back_needs_nobody(
    change: str, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(factory.organization(), name="failing")
    automation().launch()
    database.execute("update campaign_runner.launches set waiting = 'needs_attention', next_attempt_at = null")
    assert named(automation().health()) == {"needs_attention": ["failing"]}

    if change == "deleted":
        factory.delete("campaigns", [campaign])
    elif change == "paused":
        factory.update("campaigns", campaign, status="paused")
    else:
        make_late(database, failing=-1440)

    health = automation().health()
    assert named(health) == {}
    assert health["due"]["count"] == 0
    assert health["oldest_due"] is None


def test_what_is_under_way_says_how_far_it_is_in_each_of_its_passes(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    factory.contact(organization, is_subscribed=False, id=UUID(int=0))
    factory.contact(organization, is_subscribed=False, id=UUID(int=2**128 - 1))
    factory.campaign(organization, name="large")
    make_late(database, large=60)
    run = automation(max_rows=2)
    seen = []
    while run.step()["work_left"]:
        seen += automation().health()["generating"]["campaigns"]

    passes = {
        state: [s["contacts_done"] for s in seen if s["state"] == state] for state in ("generating", "reconciling")
    }
    for done in passes.values():
        assert done == sorted(done)
        assert done[0] < 5
        assert done[-1] > 5
    assert [s["state"] for s in seen] == [state for state, done in passes.items() for _ in done]
    assert all(s["percent"] == s["contacts_done"] * 10 for s in seen)
    assert {(s["name"], s["contacts_total"], s["is_total_estimated"]) for s in seen} == {("large", 10, False)}
    assert seen[0]["recipients_inserted"] < seen[-1]["recipients_inserted"] == 8


def test_a_launch_that_is_worked_on_is_not_late_and_one_that_stands_still_is(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    factory.campaign(organization, name="large")
    make_late(database, large=60)
    automation(max_rows=2).first_chunk()
    assert automation().health()["oldest_due_seconds"] < 60

    database.execute("update campaign_runner.launch_chunks set worked_at = now() - interval '20 minutes'")

    database.execute("update campaign_runner.launches set opened_at = now() - interval '30 minutes'")

    health = automation().health()
    assert 1200 <= health["oldest_due_seconds"] < 1260
    [stalled] = health["generating"]["campaigns"]
    assert stalled["stalled_since"] == stalled["worked_at"] is not None


def test_more_than_can_be_counted_is_estimated_from_statistics_or_not_at_all(
    organization: UUID, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    database.execute("alter table contacts set (autovacuum_enabled = off)")
    other = factory.organization(system_user)
    factory.contacts(organization, 3)
    factory.contact(other)
    database.execute("analyze contacts")  # which soon knows too little
    for tenant, number in ((organization, 101_000), (other, 1)):
        factory.crowd(tenant, number)
    factory.campaign(organization)
    automation(max_rows=1000).step()

    [unknown] = automation().health()["generating"]["campaigns"]
    assert (unknown["contacts_total"], unknown["percent"], unknown["is_total_estimated"]) == (None, None, True)

    database.execute("analyze contacts")

    [known] = automation().health()["generating"]["campaigns"]
    assert known["contacts_total"] == pytest.approx(101_003, rel=0.02)
    assert (known["percent"], known["is_total_estimated"]) == (0, True)


def test_campaigns_without_a_time_are_named(organization: UUID, factory: Factory, automation: Automate) -> None:
    factory.campaign(organization, name="forgotten", due_in=None)
    factory.campaign(organization, name="draft", due_in=None, status="draft")

    health = automation().health()

    assert named(health) == {"unscheduled": ["forgotten"]}
    assert health["due"]["count"] == 0


def test_lists_have_an_end_and_say_so(organization: UUID, factory: Factory, automation: Automate) -> None:
    for n in range(25):
        factory.campaign(organization, name=f"{n}", due_in=None)
    factory.contacts(organization, 3)
    for n in range(22):
        factory.campaign(organization, name=f"{n}")
    for _ in range(30):
        automation(max_rows=1).step()

    health = automation().health()

    unscheduled, generating = health["unscheduled"], health["generating"]
    assert (unscheduled["count"], unscheduled["is_capped"], len(unscheduled["campaigns"])) == (25, False, 20)
    assert (generating["count"], generating["is_capped"], len(generating["campaigns"])) == (22, False, 20)


def test_one_organization_hears_of_no_other(
    organization: UUID, factory: Factory, automation: Automate, system_user: UUID
) -> None:
    elsewhere = factory.organization(system_user)
    factory.contacts(elsewhere, 8)
    factory.campaign(elsewhere, name="theirs")
    factory.campaign(elsewhere, name="theirs without a time", due_in=None)
    factory.campaign(factory.organization(), name="failing")
    for _ in range(2):
        automation(max_rows=2).step()

    everybody, ours = automation().health(), automation(organization=organization).health()

    assert set(named(everybody)) == {"unscheduled", "generating", "needs_attention"}
    assert named(ours) == {}
    assert (ours["due"]["count"], ours["oldest_due"]) == (0, None)


@pytest.mark.every_version
def test_it_writes_nothing_and_has_the_shape_that_the_package_expects(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    factory.campaign(organization)
    factory.campaign(organization, due_in=None)
    factory.campaign(factory.organization())
    run = automation(max_rows=2)
    for _ in range(2):
        run.step()
    run.report()
    before = records.everything(database)

    health = automation().health()

    assert records.everything(database) == before
    assert set(named(health)) == {"unscheduled", "generating", "needs_attention"}
    assert Health.model_validate(health).model_dump(mode="json").keys() == health.keys()


def test_it_reads_no_ledger_from_end_to_end(
    organization: UUID, factory: Factory, database: Connection, database_url: str, system_user: UUID
) -> None:
    """Neither where all is done, nor where all is held; and behind so many, the age of the last call is what tells."""
    database.execute("update campaign_runner.last_call set at = now() - interval '1 hour'")
    database.execute(
        "insert into campaigns (organization_id, name, status, scheduled_at)"
        " select %s, g::text, case when g <= 20000 then 'sending' else 'scheduled' end, now() - interval '1 day'"
        " from generate_series(1, 40000) g",
        (organization,),
    )
    database.execute(
        "insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, state, scheduled_at,"
        " rules_hash, generates, closed_at, run_id, system_user_id, recipient_count, waiting, failed_with,"
        " failed_version)"
        " select c.id, c.organization_id, c.name, o.state, c.scheduled_at, '', true,"
        " case when o.state = 'launched' then now() end, gen_random_uuid(), gen_random_uuid(), 0,"
        " case when o.state = 'opened' then 'held' end, 'CR002', campaign_runner.join_versions(c.xmin, null)"
        " from campaigns c, lateral (select case c.status when 'sending' then 'launched' else 'opened' end as state) o"
    )
    with psycopg.connect(database_url, autocommit=True) as session, session.transaction():
        health = Automation(session, system_user).health()
        query = """
            select sum(seq_tup_read) as through, sum(idx_tup_fetch) as picked
            from pg_stat_xact_user_tables where relname in ('launches', 'campaigns', 'runs')
        """
        [read] = records.rows(session, query)

    assert (health["held"]["count"], health["held"]["is_capped"], len(health["held"]["campaigns"])) == (1000, True, 20)
    # Those that need attention are read with the held ones, and there may be some among those that were not read.
    assert (health["needs_attention"]["count"], health["needs_attention"]["is_capped"]) == (0, True)
    assert (health["generating"]["count"], health["generating"]["is_capped"]) == (0, False)
    assert health["due"] == {"count": 10_000, "is_capped": True}
    database.execute("alter table campaigns add deleted_at timestamptz")
    database.execute("update campaigns set deleted_at = now() where name::integer % 2 = 0")
    due = Automation(database, system_user).health()["due"]
    assert due["count"] < 10_000
    assert due["is_capped"] is True
    assert health["oldest_due_seconds"] // 60 == 60
    assert read["through"] <= 10_001  # of the count, if that
    assert read["picked"] <= 62_000  # 10,000 twice for the oldest, twice for the count, the rest for lists


@pytest.mark.parametrize("scheduled_at", ["-infinity", "0044-03-15 BC"])
def test_a_time_that_no_calendar_has_breaks_nothing(
    scheduled_at: str, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    factory.campaign(organization, name="strange")
    database.execute("update campaigns set scheduled_at = %s", (scheduled_at,))
    for _ in range(2):
        health = Health.model_validate(automation().health())
        assert health.due.count == 1
        assert health.oldest_due is None or health.oldest_due.scheduled_at is None
        automation(max_rows=2).step()


def test_a_launch_that_is_worked_on_at_this_moment_waits_for_no_negative_time(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 8)
    factory.campaign(organization)
    automation(max_rows=2).first_chunk()
    database.execute("update campaign_runner.launch_chunks set worked_at = now() + interval '1 minute'")

    assert automation().health()["oldest_due_seconds"] == 0

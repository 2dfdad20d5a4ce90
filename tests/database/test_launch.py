"""The life of a launch when nobody interferes: what is launched, by whom, and what is written of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

pytestmark = pytest.mark.every_version

Automate = Callable[..., Automation]


@pytest.mark.parametrize("max_rows", [1, 3, 10, 20_000])
def test_a_due_campaign_is_launched_with_its_whole_audience(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 10)
    factory.contact(organization, is_subscribed=False)
    campaign = factory.campaign(organization, name="Spring sale")

    report = automation(max_rows=max_rows).launch()

    assert report == {
        "processed_count": 1,
        "campaigns": [
            {
                "campaign_id": str(campaign),
                "organization_id": str(organization),
                "name": "Spring sale",
                "previous_status": "scheduled",
                "new_status": "sending",
                "recipients_generated": True,
                "recipient_count": 10,
            }
        ],
        "errors": [],
    }
    assert records.status(database, campaign) == "sending"
    assert records.recipients(database, campaign) == dict.fromkeys(contacts, "pending")


@pytest.mark.parametrize(
    ("status", "due_in"),
    [
        ("scheduled", timedelta(minutes=1)),
        ("scheduled", None),
        ("draft", timedelta(minutes=-1)),
        ("paused", timedelta(minutes=-1)),
        ("sending", timedelta(minutes=-1)),
        ("sent", timedelta(minutes=-1)),
        ("failed", timedelta(minutes=-1)),
    ],
)
def test_a_campaign_that_is_not_due_is_not_touched(
    status: str,
    due_in: timedelta | None,
    organization: UUID,
    factory: Factory,
    automation: Automate,
    database: Connection,
) -> None:
    factory.contacts(organization, 3)
    campaign = factory.campaign(organization, status=status, due_in=due_in)
    before = records.everything(database)

    report = automation().launch()

    assert report == {"processed_count": 0, "campaigns": [], "errors": []}
    assert records.status(database, campaign) == status
    after = records.everything(database)
    assert {table for table in after if after[table] != before[table]} <= {
        "campaign_runner.last_call",
        "campaign_runner.runs",
    }


def test_a_step_with_nothing_due_says_that_nothing_is_left_and_opens_no_run(
    organization: UUID, automation: Automate, database: Connection
) -> None:
    answer = automation().step()

    assert (answer["work_left"], answer["busy"], answer["launched"], answer["failed"]) == (False, 0, 0, 0)
    assert answer["to_report"] is False
    assert records.rows(database, "select from campaign_runner.runs") == []
    assert records.rows(database, "select from campaign_runner.last_call where at > now() - interval '1 minute'")


def test_the_second_run_finds_nothing_to_do(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    automation().launch()

    assert automation().launch() == {"processed_count": 0, "campaigns": [], "errors": []}
    assert len(records.events(database, campaign)) == 1


@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_recipients_that_somebody_chose_beforehand_are_kept_and_none_are_added(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    chosen, sent, *_ = factory.contacts(organization, 5)
    unsubscribed = factory.contact(organization, is_subscribed=False)
    campaign = factory.campaign(organization)
    factory.recipient(campaign, chosen)
    factory.recipient(campaign, sent, status="sent")
    factory.recipient(campaign, unsubscribed)

    [launched] = automation(max_rows=max_rows).launch()["campaigns"]

    assert (launched["recipients_generated"], launched["recipient_count"]) == (False, 3)
    assert records.recipients(database, campaign) == {chosen: "pending", sent: "sent", unsubscribed: "pending"}
    assert records.status(database, campaign) == "sending"


@pytest.mark.parametrize("contacts", [0, 3])
def test_an_audience_of_nobody_goes_to_sending_with_no_recipients(
    contacts: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    for _ in range(contacts):
        factory.contact(organization, is_subscribed=False)
    campaign = factory.campaign(organization)

    [launched] = automation(max_rows=1).launch()["campaigns"]

    assert (launched["recipients_generated"], launched["recipient_count"]) == (False, 0)
    assert records.status(database, campaign) == "sending"


def test_a_launch_in_many_steps_stays_scheduled_until_it_is_complete(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 30)
    campaign = factory.campaign(organization)
    run = automation(max_rows=4)

    seen = []
    while run.step()["work_left"]:
        seen.append(len(records.recipients(database, campaign)))
        assert records.status(database, campaign) == "scheduled"

    assert seen[0] == 0  # chunks were laid out
    assert seen == sorted(seen)
    assert records.status(database, campaign) == "sending"
    assert set(records.recipients(database, campaign)) == set(contacts)


@pytest.mark.parametrize(
    ("contacts", "chunks"),
    [
        (20, [20]),
        (21, [6, 6, 6, 3]),
        (100, [13] * 7 + [9]),
        (161, [10] * 8 + [11] * 7 + [4]),
    ],
)
def test_a_long_audience_is_cut_into_chunks_of_which_none_is_long_alone_at_the_end(
    contacts: int, chunks: list[int], organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, contacts)
    factory.campaign(organization)
    run = automation(max_rows=20)

    generated: list[int] = []
    while sum(generated) < contacts:
        answer = run.step()
        generated += [answer["contacts"]] if answer["contacts"] else []

    assert generated == chunks


def test_an_audience_that_fits_in_a_fresh_step_is_not_split_after_an_empty_one(
    organization: UUID, factory: Factory, automation: Automate, system_user: UUID
) -> None:
    factory.campaign(factory.organization(system_user), due_in=timedelta(hours=-1))
    factory.contacts(organization, 20)
    factory.campaign(organization)
    run = automation(max_rows=20)

    answers = [run.step(), run.step()]

    assert [(answer["launched"], answer["contacts"]) for answer in answers] == [(1, 0), (1, 20)]


def test_a_launch_that_was_interrupted_is_completed_by_the_next_run(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 10)
    campaign = factory.campaign(organization)
    interrupted = automation(max_rows=8)
    interrupted.first_chunk()
    assert records.status(database, campaign) == "scheduled"
    assert 0 < len(records.recipients(database, campaign)) < 10

    [launched] = automation().launch()["campaigns"]

    assert (launched["recipients_generated"], launched["recipient_count"]) == (True, 10)
    assert set(records.recipients(database, campaign)) == set(contacts)
    assert interrupted.report()["campaigns"] == []


def test_a_campaign_that_is_scheduled_again_after_its_launch_keeps_its_recipients(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    automation(max_rows=1).launch()
    factory.contact(organization)
    factory.update("contacts", contacts[0], is_subscribed=False)
    factory.update("campaigns", campaign, status="scheduled")

    [launched] = automation(max_rows=1).launch()["campaigns"]

    assert (launched["recipients_generated"], launched["recipient_count"]) == (False, 3)
    assert set(records.recipients(database, campaign)) == set(contacts)
    assert [launch["state"] for launch in records.launches(database, campaign)] == ["launched", "launched"]
    assert len(records.events(database, campaign)) == 2


@pytest.mark.parametrize("max_rows", [2, 20_000])
def test_each_launch_writes_one_event_in_the_name_of_the_system_user(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    factory.contacts(organization, 5)
    campaign = factory.campaign(organization, name="Spring sale")
    run = automation(max_rows=max_rows)

    run.launch()

    [event] = records.events(database, campaign)
    assert (event["organization_id"], event["user_id"]) == (organization, system_user)
    assert event["event_type"] == "campaign.sending"
    assert event["payload"] == {
        "campaign_id": str(campaign),
        "name": "Spring sale",
        "run_id": str(run.run_id),
        "previous_status": "scheduled",
        "new_status": "sending",
        "recipients_generated": True,
        "recipient_count": 5,
    }


@pytest.mark.parametrize("max_rows", [1, 2, 20_000])
def test_recipients_and_the_counts_by_reason_add_up_to_the_contacts(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 4)
    vip = factory.contact(organization, email="ann@example.org")
    factory.contact(organization, email=" ANN@example.org")
    factory.contact(organization, email=None)
    factory.contact(organization, deleted_at="2026-01-01")
    factory.contact(organization, is_active=False)
    factory.contact(organization, is_subscribed=False)
    factory.contact(organization, country=" De")
    factory.tag(organization, "never", factory.contact(organization))
    factory.recipient(factory.campaign(organization, status="sent"), factory.contact(organization), status="bounced")
    factory.tag(organization, "vip", vip)
    rules = {"exclude_tags": ["never"], "exclude_countries": ["de"], "exclude_bounced": True}
    campaign = factory.campaign(organization, rules=rules)
    verdicts = oracle.audience(oracle.read(database), campaign)

    automation(max_rows=max_rows).launch()

    launch = records.launch(database, campaign)
    assert launch["contacts"] == 13
    assert launch["excluded"] == oracle.counts(verdicts)
    assert len(launch["excluded"]) == 8
    assert launch["recipient_count"] + sum(launch["excluded"].values()) == 13


@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_many_campaigns_of_many_organizations_are_all_launched_in_one_run(
    max_rows: int, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    expected: dict[UUID, set[UUID]] = {}
    for size in (0, 1, 5, 9):
        organization = factory.organization(system_user)
        contacts = set(factory.contacts(organization, size))
        expected |= {factory.campaign(organization): contacts for _ in range(2)}

    report = automation(max_rows=max_rows).launch()

    assert report["processed_count"] == 8
    assert {UUID(c["campaign_id"]): c["recipient_count"] for c in report["campaigns"]} == {
        campaign: len(contacts) for campaign, contacts in expected.items()
    }
    for campaign, contacts in expected.items():
        assert set(records.recipients(database, campaign)) == contacts


def test_small_campaigns_go_ahead_of_the_next_chunks_of_a_huge_one(
    factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    huge, small = factory.organization(system_user), factory.organization(system_user)
    factory.contacts(huge, 50)
    factory.contacts(small, 4)  # which do not fit beside a chunk
    slow = factory.campaign(huge, due_in=timedelta(hours=-1))
    run = automation(max_rows=5)
    run.first_chunk()
    fast = factory.campaign(small)

    run.step()

    assert records.status(database, fast) == "sending"
    assert records.status(database, slow) == "scheduled"


def test_a_due_campaign_among_many_that_cannot_be_launched_has_its_turn(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    """More than a step looks at stand before the campaign, and more behind."""
    closed = factory.organization()
    database.execute("alter table organizations add is_active boolean default true")
    factory.update("organizations", closed, is_active=False)
    for minutes, number in ((60, 1_200), (1, 300)):
        database.execute(
            "insert into campaigns (organization_id, name, status, scheduled_at)"
            " select %s, n, 'scheduled', now() - make_interval(mins => %s) from generate_series(1, %s) n",
            (closed, minutes, number),
        )
    for _ in range(2):
        campaign = factory.campaign(organization, due_in=timedelta(minutes=-30))
        assert sum(automation().step()["launched"] for _ in range(3)) == 1
        assert records.status(database, campaign) == "sending"


def wait_in_vain(database: Connection, organization: UUID, *, campaigns: int, minutes: int, status: str) -> None:
    """Campaigns so many minutes past their time, each with a launch that waits for a person."""
    database.execute(
        "with made as ("
        " insert into campaigns (organization_id, name, status, scheduled_at)"
        " select %s, n, %s, now() - make_interval(mins => %s) from generate_series(1, %s) n"
        " returning *)"
        " insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, scheduled_at, waiting,"
        " failed_with) select id, organization_id, name, scheduled_at, 'needs_attention', 'P0001' from made",
        (organization, status, minutes, campaigns),
    )
    database.execute(
        "update campaign_runner.launches l set failed_version = campaign_runner.join_versions(c.xmin, null)"
        " from campaigns c where c.id = l.campaign_id and l.failed_version is null"
    )


def test_an_edited_campaign_among_many_that_wait_has_its_turn(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    wait_in_vain(database, organization, campaigns=1_200, minutes=60, status="scheduled")

    for order in ("asc", "desc"):
        [(campaign,)] = database.execute(f"select id from campaigns order by id {order} limit 1".encode()).fetchall()
        factory.update("campaigns", campaign, name="Corrected")
        assert sum(automation().step()["launched"] for _ in range(3)) == 1
        assert records.status(database, campaign) == "sending"


def test_of_a_thousand_campaigns_that_wait_an_edited_one_is_launched_by_the_next_call(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    wait_in_vain(database, organization, campaigns=1_000, minutes=60, status="scheduled")

    assert automation().step()["launched"] == 0
    [(campaign,)] = database.execute("select id from campaigns limit 1").fetchall()
    factory.update("campaigns", campaign, name="Corrected")

    assert automation().step()["launched"] == 1


def test_a_campaign_that_waits_among_many_paused_ones_is_not_tried(
    organization: UUID, automation: Automate, database: Connection
) -> None:
    wait_in_vain(database, organization, campaigns=1_100, minutes=60, status="paused")
    wait_in_vain(database, organization, campaigns=1, minutes=30, status="scheduled")
    wait_in_vain(database, organization, campaigns=300, minutes=1, status="paused")

    assert automation().step()["busy"] == 0


def test_a_launch_among_many_whose_campaign_is_gone_is_abandoned(
    organization: UUID, automation: Automate, database: Connection
) -> None:
    wait_in_vain(database, organization, campaigns=250, minutes=60, status="scheduled")
    database.execute("delete from campaigns where id = (select id from campaigns order by id desc limit 1)")

    for _ in range(3):
        automation().step()

    [(states,)] = database.execute("select array_agg(distinct state) from campaign_runner.launches").fetchall()
    assert sorted(states) == ["abandoned", "opened"]


def test_a_run_for_one_organization_leaves_the_others_alone(
    organization: UUID, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    other = factory.organization(system_user)
    ours, theirs = factory.campaign(organization), factory.campaign(other)

    report = automation(organization=organization).launch()

    assert [c["campaign_id"] for c in report["campaigns"]] == [str(ours)]
    assert records.status(database, theirs) == "scheduled"
    assert records.launches(database, theirs) == []


def test_no_contact_of_another_organization_becomes_a_recipient(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    mine = factory.contacts(organization, 3)
    foreign = factory.organization()
    # As in a project whose assignments have no keys of the tenant.
    database.execute(
        "alter table contact_tag_assignments drop constraint contact_tag_assignments_contact_of_tenant,"
        " drop constraint contact_tag_assignments_tag_of_tenant"
    )
    factory.tag(organization, "vip", *factory.contacts(foreign, 3), mine[0])
    factory.tag(foreign, "vip", mine[1])
    campaign = factory.campaign(organization, rules={"include_tags": ["vip"]})

    automation(max_rows=1).launch()

    assert set(records.recipients(database, campaign)) == {mine[0]}


def test_the_status_and_the_time_of_the_change_are_all_that_a_launch_changes_in_a_campaign(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    query = "select to_jsonb(c) - 'status' - 'updated_at' as rest, updated_at from campaigns c where id = %s"
    [before] = records.rows(database, query, campaign)

    automation().launch()

    [after] = records.rows(database, query, campaign)
    assert after["rest"] == before["rest"]
    assert after["updated_at"] > before["updated_at"]


def test_triggers_of_the_project_see_the_system_user_as_the_one_who_writes(
    organization: UUID, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    database.execute(
        """
        create table audit (user_id uuid not null, what text not null);
        grant insert on audit to service_role;
        create function audit() returns trigger language plpgsql as
            'begin insert into public.audit values (auth.uid(), tg_table_name); return null; end';
        create trigger audit after update on campaigns for each row execute function audit();
        create trigger audit after insert on campaign_recipients for each row execute function audit();
        """
    )
    factory.contacts(organization, 2)
    factory.campaign(organization)

    automation().launch()

    assert records.rows(database, "select distinct user_id, what from audit order by what") == [
        {"user_id": system_user, "what": "campaign_recipients"},
        {"user_id": system_user, "what": "campaigns"},
    ]


def test_a_launch_knows_how_late_it_was(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization, due_in=timedelta(hours=-2))
    automation().launch()
    assert timedelta(hours=2) <= records.launch(database, campaign)["late_by"] < timedelta(hours=2, minutes=1)


def test_a_campaign_that_was_due_since_forever_is_launched(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    database.execute("update campaigns set scheduled_at = '-infinity'")

    assert automation().launch()["processed_count"] == 1
    assert records.rows(
        database, "select from campaign_runner.launches where late_by is null and campaign_id = %s", campaign
    )


@pytest.mark.parametrize("max_rows", [-1, 0])
def test_a_step_makes_progress_however_few_rows_it_is_given(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 3)
    factory.campaign(organization)
    assert automation(max_rows=max_rows).launch()["processed_count"] == 1


def test_two_open_launches_of_one_campaign_cannot_exist(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    automation(max_rows=1).step()
    again: dict[str, Any] = {**records.launch(database, campaign), "run_id": uuid4()}

    with pytest.raises(Exception, match="launches_one_open_per_campaign"):
        database.execute(
            "insert into campaign_runner.launches"
            " (campaign_id, organization_id, campaign_name, scheduled_at, rules_hash)"
            " values (%s, %s, 'again', now(), '')",
            (again["campaign_id"], again["organization_id"]),
        )

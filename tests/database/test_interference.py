"""What people and other programs do between the steps of a launch, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Connect, Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

CONTACTS = 24
# Steps of one contact each, and some that lay out chunks: after 4 the launch is in the middle of generating, after 30
# in that of reconciling.
GENERATING, RECONCILING = 4, 30
# Steps of two, which reconcile twice as large chunks; smaller ones then need two for each.
GENERATED_BY_TWO = 18


@pytest.fixture
def contacts(organization: UUID, factory: Factory) -> list[UUID]:
    return factory.contacts(organization, CONTACTS)


@pytest.fixture
def campaign(organization: UUID, contacts: list[UUID], factory: Factory) -> UUID:
    return factory.campaign(organization, rules={})


@pytest.fixture(
    params=[
        ("generating", (GENERATING, 0, 0)),
        ("reconciling", (RECONCILING, 0, 0)),
        ("reconciling", (0, GENERATED_BY_TWO, 3)),
    ],
    ids=["generating", "reconciling", "reconciling-half-a-chunk"],
)
def run(request: pytest.FixtureRequest, campaign: UUID, automation: Automate, database: Connection) -> Automation:
    """A run that was stopped in the middle of generating, and one in the middle of reconciling."""
    state, steps = request.param
    run = automation()
    for run.max_rows, number in zip((1, 2, 1), steps, strict=True):
        for _ in range(number):
            run.step()
    assert records.launch(database, campaign)["state"] == state
    assert records.status(database, campaign) == "scheduled"
    chunks = records.rows(database, "select count(*), count(cursor) as open from campaign_runner.launch_chunks")
    assert chunks[0]["open"] >= 1
    return run


def assert_launched_exactly(database: Connection, campaign: UUID) -> None:
    assert records.status(database, campaign) == "sending"
    verdicts = oracle.audience(oracle.read(database), campaign)
    assert set(records.recipients(database, campaign)) == oracle.recipients(verdicts)
    launch = records.launches(database, campaign)[-1]
    assert launch["excluded"] == oracle.counts(verdicts)
    assert launch["contacts"] == len(verdicts)
    assert launch["recipient_count"] == len(oracle.recipients(verdicts))


def test_a_launch_that_nobody_disturbs_is_exact(run: Automation, campaign: UUID, database: Connection) -> None:
    run.finish()
    assert_launched_exactly(database, campaign)
    assert len(records.recipients(database, campaign)) == CONTACTS


def test_rules_that_are_edited_hold_for_the_whole_audience(
    run: Automation, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    for contact in contacts[::2]:
        factory.update("contacts", contact, country="DE")
    database.execute("update campaign_target_rules set exclude_countries = '{de}'")

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts[1::2])


def test_rules_that_are_edited_and_then_edited_back_leave_no_trace_in_the_audience(
    run: Automation, campaign: UUID, contacts: list[UUID], database: Connection
) -> None:
    database.execute("update campaign_target_rules set include_emails = '{contact1@example.org}'")
    for _ in range(4):
        run.step()
    database.execute("update campaign_target_rules set include_emails = null")

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)


def test_rules_that_are_saved_again_without_a_change_cost_no_step(
    campaign: UUID, automation: Automate, factory: Factory, database: Connection
) -> None:
    """As an app does that saves by itself: the row is new, and says what it said."""
    undisturbed, disturbed = automation(max_rows=2), automation(max_rows=2)
    steps = [0, 0]
    for number, run in enumerate((undisturbed, disturbed)):
        database.execute("truncate campaign_recipients, campaign_runner.launches cascade")
        factory.update("campaigns", campaign, status="scheduled")
        while records.status(database, campaign) == "scheduled":
            run.step()
            steps[number] += 1
            if run is disturbed:
                assert steps[1] <= steps[0]
                database.execute("update campaign_target_rules set include_emails = include_emails, updated_at = now()")
        assert_launched_exactly(database, campaign)
    assert steps[0] == steps[1]


def test_after_an_edit_in_mid_generation_a_step_still_writes_no_more_than_it_was_asked_for(
    organization: UUID, campaign: UUID, automation: Automate, factory: Factory, database: Connection
) -> None:
    """Most of the audience is still to be written in the reconcile that follows."""
    factory.contacts(organization, 40)
    run = automation(max_rows=2)
    run.first_chunk()
    database.execute("update campaign_target_rules set exclude_countries = '{zz}'")

    written: list[int] = []
    while records.status(database, campaign) == "scheduled":
        before = len(records.recipients(database, campaign))
        run.step()
        written.append(len(records.recipients(database, campaign)) - before)

    assert max(written) == 2
    assert_launched_exactly(database, campaign)


def test_rules_that_are_removed_leave_the_defaults(
    run: Automation, campaign: UUID, contacts: list[UUID], database: Connection
) -> None:
    database.execute("update campaign_target_rules set include_emails = '{contact1@example.org}'")
    for _ in range(4):
        run.step()
    database.execute("delete from campaign_target_rules")

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)


def test_rules_that_come_after_the_beginning_hold(
    organization: UUID, contacts: list[UUID], factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    run = automation(max_rows=1)
    for _ in range(GENERATING):
        run.step()
    factory.rules(campaign, include_emails=["contact2@example.org"])

    run.finish()

    assert_launched_exactly(database, campaign)
    assert len(records.recipients(database, campaign)) == 1


def test_a_tag_that_comes_into_being_in_mid_launch_counts(
    run: Automation, organization: UUID, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    database.execute("update campaign_target_rules set exclude_tags = '{never}'")
    for _ in range(4):
        run.step()
    factory.tag(organization, "never", contacts[0], contacts[-1])

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts[1:-1])


def test_a_campaign_that_is_paused_stays_paused_and_is_completed_when_it_is_resumed(
    run: Automation, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    factory.update("campaigns", campaign, status="paused")
    before = records.recipients(database, campaign)
    answer = run.step()
    assert (answer["work_left"], answer["launched"], answer["failed"]) == (False, 0, 0)
    assert records.status(database, campaign) == "paused"
    assert records.recipients(database, campaign) == before

    factory.update("campaigns", campaign, status="scheduled")
    report = run.launch()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)
    assert (report["processed_count"], report["errors"]) == (1, [])


def test_calls_that_come_rarely_finish_a_launch(campaign: UUID, automation: Automate, database: Connection) -> None:
    steps = [0, 0]
    for number, rest in enumerate(("0", "1 hour")):
        database.execute("truncate campaign_recipients, campaign_runner.launches cascade")
        database.execute("update campaigns set status = 'scheduled'")
        while records.status(database, campaign) == "scheduled":
            automation(max_rows=1).step()
            steps[number] += 1
            database.execute("update campaign_runner.launch_chunks set worked_at = worked_at - %s::interval", (rest,))
        assert_launched_exactly(database, campaign)
    assert steps[0] == steps[1]


def test_a_launch_that_stood_still_for_long_reads_all_contacts_again(
    run: Automation, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    factory.update("campaigns", campaign, status="paused")
    factory.update("contacts", contacts[0], is_subscribed=False)
    database.execute("update campaign_runner.launch_chunks set worked_at = worked_at - interval '25 hours'")
    factory.update("campaigns", campaign, status="scheduled")

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts[1:])


def test_a_campaign_that_is_scheduled_for_later_waits_and_then_is_launched_once(
    run: Automation, campaign: UUID, database: Connection
) -> None:
    database.execute("update campaigns set scheduled_at = now() + interval '1 hour'")
    answer = run.step()
    assert (answer["work_left"], answer["launched"], answer["failed"]) == (False, 0, 0)
    assert records.status(database, campaign) == "scheduled"

    database.execute("update campaigns set scheduled_at = now() - interval '1 second'")
    run.finish()

    assert_launched_exactly(database, campaign)
    [scheduled] = records.rows(database, "select scheduled_at from campaigns")
    assert records.launch(database, campaign)["scheduled_at"] == scheduled["scheduled_at"]
    assert len(records.events(database, campaign)) == 1


def test_a_campaign_that_is_deleted_is_abandoned_and_stops_nobody(
    run: Automation, organization: UUID, campaign: UUID, factory: Factory, database: Connection
) -> None:
    factory.delete("campaigns", [campaign])
    other = factory.campaign(organization)

    report = run.launch()

    assert [c["campaign_id"] for c in report["campaigns"]] == [str(other)]
    assert report["errors"] == []
    launch = records.launch(database, campaign)
    assert launch["state"] == "abandoned"
    assert launch["closed_at"] is not None


def test_a_campaign_that_is_deleted_and_made_again_is_launched_anew(
    run: Automation, organization: UUID, campaign: UUID, factory: Factory, database: Connection
) -> None:
    factory.delete("campaigns", [campaign])
    run.step()
    factory.campaign(organization, id=campaign)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert [launch["state"] for launch in records.launches(database, campaign)] == ["abandoned", "launched"]


def test_a_campaign_that_is_made_again_with_recipients_of_its_own_keeps_them(
    run: Automation, organization: UUID, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    factory.delete("campaigns", [campaign])
    run.step()
    factory.campaign(organization, id=campaign)
    factory.recipient(campaign, contacts[0])

    run.finish()

    assert set(records.recipients(database, campaign)) == {contacts[0]}


@pytest.fixture
def without_cascade(database: Connection) -> None:
    """As in a project whose recipients refer to nothing."""
    for (name,) in database.execute(
        "select conname::text from pg_constraint"
        " where conrelid = 'campaign_recipients'::regclass and confrelid = 'campaigns'::regclass"
    ).fetchall():
        database.execute(sql.SQL("alter table campaign_recipients drop constraint {}").format(sql.Identifier(name)))


@pytest.mark.usefixtures("without_cascade")
def test_recipients_that_outlive_their_campaign_are_completed_when_it_is_made_again(
    run: Automation, organization: UUID, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    """Our own half-made rows: that they exist does not mean that they are complete."""
    factory.delete("campaigns", [campaign])
    run.step()
    assert records.recipients(database, campaign)
    factory.campaign(organization, id=campaign)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)


@pytest.mark.usefixtures("without_cascade")
def test_recipients_of_somebody_else_that_outlive_their_campaign_are_kept_when_it_is_made_again(
    automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    """The launch that was abandoned got no further than its error, so it left none of its own."""
    organization = factory.organization()
    contacts = factory.contacts(organization, CONTACTS)
    campaign = factory.campaign(organization)
    factory.recipient(campaign, contacts[0])
    run = automation()
    assert run.step()["failed"] == 1
    factory.delete("campaigns", [campaign])
    run.step()
    assert records.launch(database, campaign)["state"] == "abandoned"
    factory.member(organization, system_user)
    factory.campaign(organization, id=campaign)

    run.finish()

    assert records.status(database, campaign) == "sending"
    assert set(records.recipients(database, campaign)) == {contacts[0]}


@pytest.mark.usefixtures("without_cascade")
def test_recipients_that_outlive_their_campaign_are_still_ours_after_a_launch_that_never_began(
    run: Automation,
    organization: UUID,
    campaign: UUID,
    contacts: list[UUID],
    factory: Factory,
    system_user: UUID,
    database: Connection,
) -> None:
    factory.delete("campaigns", [campaign])
    run.step()
    assert records.recipients(database, campaign)
    database.execute("delete from organization_members")
    factory.campaign(organization, id=campaign)
    assert run.step()["failed"] == 1
    factory.delete("campaigns", [campaign])
    run.step()
    factory.member(organization, system_user)
    factory.campaign(organization, id=campaign)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)


def test_a_launch_that_is_freed_after_its_campaign_was_replaced_has_its_whole_audience(
    run: Automation, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    database.execute(
        "update campaign_runner.launches set waiting = 'needs_attention', attempts = 10, failed_with = 'P0001',"
        " failed_version = campaign_runner.version(campaign_id)"
    )
    database.execute("create temporary table twin as select * from campaigns")
    with database.transaction():
        factory.delete("campaigns", [campaign])
        database.execute("insert into campaigns select * from twin")
    assert run.retry()

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)


def test_contacts_and_recipients_add_up_where_the_mail_to_an_excluded_contact_is_out(
    organization: UUID, contacts: list[UUID], factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    run = automation(max_rows=1)
    while not records.recipients(database, campaign):
        run.step()
    [mailed] = records.recipients(database, campaign)
    database.execute("update campaign_recipients set status = 'sent'")
    factory.update("contacts", mailed, is_subscribed=False)

    run.finish()

    launch = records.launch(database, campaign)
    assert records.recipients(database, campaign)[mailed] == "sent"
    assert launch["recipient_count"] + sum(launch["excluded"].values()) == launch["contacts"] == len(contacts)


def test_a_campaign_that_is_replaced_by_its_twin_between_two_steps_has_its_whole_audience(
    organization: UUID, contacts: list[UUID], factory: Factory, automation: Automate, database: Connection
) -> None:
    """As a program does that restores a row, or synchronizes by delete and insert."""
    campaign = factory.campaign(organization)
    run = automation(max_rows=1)
    for _ in range(GENERATING):
        run.step()
    assert records.launch(database, campaign)["state"] == "generating"
    database.execute("create temporary table twin as select * from campaigns")
    with database.transaction():
        factory.delete("campaigns", [campaign])
        database.execute("insert into campaigns select * from twin")

    run.finish()

    assert_launched_exactly(database, campaign)
    assert set(records.recipients(database, campaign)) == set(contacts)


@pytest.mark.parametrize("position", [0, CONTACTS // 2, -1], ids=["behind", "middle", "ahead"])
def test_a_contact_that_unsubscribes_while_the_audience_is_generated_is_no_recipient(
    position: int, campaign: UUID, contacts: list[UUID], automation: Automate, factory: Factory, database: Connection
) -> None:
    run = automation(max_rows=1)
    for _ in range(GENERATING):
        run.step()
    factory.update("contacts", contacts[position], is_subscribed=False)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert contacts[position] not in records.recipients(database, campaign)


@pytest.mark.parametrize("position", [0, CONTACTS // 2, -1], ids=["behind", "middle", "ahead"])
def test_a_contact_that_subscribes_while_the_audience_is_generated_is_a_recipient(
    position: int, campaign: UUID, contacts: list[UUID], automation: Automate, factory: Factory, database: Connection
) -> None:
    factory.update("contacts", contacts[position], is_subscribed=False)
    run = automation(max_rows=1)
    for _ in range(GENERATING):
        run.step()
    factory.update("contacts", contacts[position], is_subscribed=True)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert contacts[position] in records.recipients(database, campaign)


@pytest.mark.parametrize("id", [UUID(int=0), UUID(int=1), UUID(int=2**127), UUID(int=2**128 - 1)], ids=str)
def test_a_contact_that_is_added_while_the_audience_is_generated_is_a_recipient(
    id: UUID, organization: UUID, campaign: UUID, automation: Automate, factory: Factory, database: Connection
) -> None:
    run = automation(max_rows=1)
    for _ in range(GENERATING):
        run.step()
    factory.contact(organization, id=id)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert id in records.recipients(database, campaign)


def test_contacts_that_are_deleted_in_mid_launch_are_no_recipients_and_hold_nothing_up(
    run: Automation, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    factory.delete("contacts", [contacts[0], contacts[5], contacts[-1]])

    run.finish()

    assert records.status(database, campaign) == "sending"
    assert set(records.recipients(database, campaign)) == set(contacts) - {contacts[0], contacts[5], contacts[-1]}
    assert records.launch(database, campaign)["recipient_count"] == CONTACTS - 3


def test_the_duplicate_takes_the_place_of_the_contact_that_drops_out_behind_the_cursor(
    organization: UUID, automation: Automate, factory: Factory, database: Connection
) -> None:
    first, *others, last = factory.contacts(organization, 8)
    factory.update("contacts", first, email="ann@example.org")
    factory.update("contacts", last, email="Ann@example.org ")
    campaign = factory.campaign(organization)
    run = automation(max_rows=2)
    run.first_chunk()
    assert first in records.recipients(database, campaign)
    factory.update("contacts", first, is_active=False)

    run.finish()

    assert set(records.recipients(database, campaign)) == {*others, last}


@pytest.fixture(params=[UUID(int=0), UUID(int=2**128 - 1)], ids=["lowest", "highest"])
def stranger(request: pytest.FixtureRequest, organization: UUID, factory: Factory) -> UUID:
    """A contact of the organization that does not qualify, before or after all others."""
    return factory.contact(organization, id=request.param, is_subscribed=False)


@pytest.mark.parametrize("steps", [GENERATING])
def test_a_pending_recipient_that_somebody_adds_in_mid_launch_is_judged_by_the_rules(
    steps: int, stranger: UUID, campaign: UUID, automation: Automate, factory: Factory, database: Connection
) -> None:
    run = automation(max_rows=1)
    for _ in range(steps):
        run.step()
    factory.recipient(campaign, stranger)

    run.finish()

    assert_launched_exactly(database, campaign)
    assert stranger not in records.recipients(database, campaign)


def test_a_recipient_that_somebody_deletes_before_the_reconcile_looks_comes_back(
    campaign: UUID, contacts: list[UUID], automation: Automate, database: Connection
) -> None:
    run = automation(max_rows=2)
    for _ in range(GENERATING):
        run.step()
    database.execute("delete from campaign_recipients where contact_id = %s", (contacts[0],))

    run.finish()

    assert_launched_exactly(database, campaign)
    assert contacts[0] in records.recipients(database, campaign)


def test_one_contact_in_and_one_out_while_the_audience_is_generated_change_places(
    campaign: UUID, contacts: list[UUID], automation: Automate, factory: Factory, database: Connection
) -> None:
    out, into = contacts[:2]
    factory.update("contacts", into, is_subscribed=False)
    run = automation(max_rows=2)
    for _ in range(GENERATING):
        run.step()
    assert (out in records.recipients(database, campaign), into in records.recipients(database, campaign)) == (
        True,
        False,
    )
    factory.update("contacts", out, is_subscribed=False)
    factory.update("contacts", into, is_subscribed=True)

    run.finish()

    assert_launched_exactly(database, campaign)


def test_who_is_left_out_of_a_long_launch_is_counted_by_reason(
    campaign: UUID, contacts: list[UUID], automation: Automate, factory: Factory, database: Connection
) -> None:
    factory.update("contacts", contacts[1], is_subscribed=False)
    factory.update("contacts", contacts[2], is_active=False)
    automation(max_rows=2).finish()
    assert_launched_exactly(database, campaign)
    assert records.launch(database, campaign)["excluded"] == {"unsubscribed": 1, "inactive": 1}


@pytest.mark.parametrize("position", [0, -1], ids=["behind", "ahead"])
def test_a_recipient_that_is_not_pending_is_never_touched(
    position: int, run: Automation, campaign: UUID, contacts: list[UUID], factory: Factory, database: Connection
) -> None:
    contact = contacts[position]
    factory.update("contacts", contact, is_subscribed=False)
    database.execute("delete from campaign_recipients where contact_id = %s", (contact,))
    factory.recipient(campaign, contact, status="sent")
    query = "select t.xmin, t.* from campaign_recipients t where contact_id = %s"
    before = records.rows(database, query, contact)

    run.finish()

    assert records.status(database, campaign) == "sending"
    assert records.rows(database, query, contact) == before
    assert set(records.recipients(database, campaign)) == set(contacts)


@pytest.mark.parametrize("max_rows", [1, 6])
def test_a_contact_whose_twin_was_sent_the_mail_gets_none(
    max_rows: int, campaign: UUID, contacts: list[UUID], automation: Automate, factory: Factory, database: Connection
) -> None:
    for twin in (contacts[0], contacts[-1]):
        factory.update("contacts", twin, email="ann@example.org")
    run = automation(max_rows=max_rows)
    run.first_chunk()
    factory.recipient(campaign, contacts[-1], status="sent")
    run.launch()
    recipients = records.recipients(database, campaign)
    assert (recipients[contacts[-1]], contacts[0] in recipients) == ("sent", False)


@pytest.mark.parametrize("position", [0, 4, -1])
def test_recipients_that_somebody_removes_in_mid_launch_are_recipients_all_the_same(
    position: int, campaign: UUID, contacts: list[UUID], automation: Automate, database: Connection
) -> None:
    """To leave somebody out is the business of the rules: rows of a launch under way belong to it."""
    run = automation(max_rows=1)
    for _ in range(GENERATING):
        run.step()
    database.execute("delete from campaign_recipients where contact_id = %s", (contacts[position],))

    run.finish()

    assert_launched_exactly(database, campaign)


def test_a_campaign_that_changes_its_name_is_launched_under_the_new_one(
    run: Automation, campaign: UUID, factory: Factory, database: Connection
) -> None:
    factory.update("campaigns", campaign, name="New name")

    [launched] = run.launch()["campaigns"]

    assert launched["name"] == "New name"
    assert records.launch(database, campaign)["campaign_name"] == "New name"


@pytest.mark.parametrize(
    "edit",
    [
        "update campaigns set status = 'paused'",
        "update campaigns set scheduled_at = now() + interval '1 hour'",
        "update campaigns set scheduled_at = now() - interval '1 hour'",
        "update campaign_target_rules set include_emails = '{nobody@example.org}'",
        "delete from campaigns",
    ],
)
def test_an_edit_between_the_last_look_and_the_final_update_stops_that_update(
    edit: str,
    campaign: UUID,
    automation: Automate,
    system_user: UUID,
    connect_as: Connect,
    database: Connection,
) -> None:
    """No signal tells a test that a step is between the two, so mark_sending is called alone."""
    automation(max_rows=1).step()
    launch = records.launch(database, campaign)
    database.execute(edit.encode())
    before = records.rows(database, "select * from campaigns")

    with pytest.raises(psycopg.DatabaseError) as refusal:
        connect_as("service_role").execute(
            "select campaign_runner.mark_sending(%s, l, %s, now()) from campaign_runner.launches l",
            (uuid4(), system_user),
        )

    assert refusal.value.sqlstate == "CR001"
    assert records.rows(database, "select * from campaigns") == before
    assert records.launch(database, campaign) == launch


def test_a_campaign_that_somebody_set_to_sending_by_hand_is_left_to_them(
    run: Automation, campaign: UUID, factory: Factory, database: Connection
) -> None:
    factory.update("campaigns", campaign, status="sending")
    before = records.recipients(database, campaign)

    report = run.launch()

    assert report == {"processed_count": 0, "campaigns": [], "errors": []}
    assert records.recipients(database, campaign) == before
    assert records.events(database, campaign) == []

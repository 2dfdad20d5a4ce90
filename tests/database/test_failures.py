"""What fails is the error of one campaign, is told without anybody's data, and is tried again in good time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.refusal import let_it_pass, refuse

Automate = Callable[..., Automation]

NO_MEMBERSHIP = (
    "The system user may not act for this organization. Add it to organization_members with one of the roles: member."
)


def wait_for_the_next_attempt(database: Connection, campaign: UUID) -> None:
    """Time passes: the next attempt is due now."""
    statement = "update campaign_runner.launches set next_attempt_at = now() where campaign_id = %s"
    assert database.execute(statement, (campaign,)).rowcount == 1


@pytest.fixture
def campaign(organization: UUID, factory: Factory) -> UUID:
    factory.contact(organization, email="ann@example.org")
    return factory.campaign(organization)


@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_a_campaign_that_a_trigger_refuses_does_not_keep_others_from_their_launch(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    factory.contacts(organization, 3)
    before = factory.campaign(organization, due_in=timedelta(minutes=-3))
    bad = factory.campaign(organization, due_in=timedelta(minutes=-2))
    after = factory.campaign(organization, due_in=timedelta(minutes=-1))
    elsewhere = factory.campaign(factory.organization(system_user))
    refuse(database, bad)

    report = automation(max_rows=max_rows).launch()

    assert {UUID(c["campaign_id"]) for c in report["campaigns"]} == {before, after, elsewhere}
    assert [e["campaign_id"] for e in report["errors"]] == [str(bad)]
    assert records.status(database, bad) == "scheduled"
    assert records.recipients(database, bad) == {}
    assert records.events(database, bad) == []


def test_a_campaign_that_violates_a_check_does_not_keep_others_from_their_launch(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    bad, good = factory.campaign(organization), factory.campaign(organization)
    database.execute(
        f"alter table campaign_recipients add constraint not_this_one check (campaign_id <> '{bad}')".encode()
    )

    report = automation().launch()

    assert [c["campaign_id"] for c in report["campaigns"]] == [str(good)]
    [error] = report["errors"]
    assert error["campaign_id"] == str(bad)
    assert "SQLSTATE 23514, constraint not_this_one, table campaign_recipients" in error["error"]


def test_what_a_deferred_constraint_finds_is_the_error_of_its_campaign_only(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    bad, good = factory.campaign(organization), factory.campaign(organization)
    database.execute(
        f"""
        create function refuse() returns trigger language plpgsql as $$
        begin
            if new.id = '{bad}' then raise exception 'never'; end if;
            return null;
        end $$;
        create constraint trigger refuse after update on campaigns deferrable initially deferred
            for each row execute function refuse();
        """.encode()
    )

    report = automation().launch()

    assert [c["campaign_id"] for c in report["campaigns"]] == [str(good)]
    assert [e["campaign_id"] for e in report["errors"]] == [str(bad)]
    assert records.status(database, bad) == "scheduled"


def test_a_trigger_that_suppresses_the_change_of_the_status_is_an_error(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    database.execute(
        """
        create function suppress() returns trigger language plpgsql as 'begin return null; end';
        create trigger suppress before update on campaigns for each row execute function suppress();
        """
    )

    report = automation().launch()

    [error] = report["errors"]
    assert error["error"] == "The status could not be set: a trigger or a rule on campaigns keeps it at scheduled."
    assert records.recipients(database, campaign) == {}
    assert records.events(database, campaign) == []


@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_a_contact_that_a_trigger_of_the_project_drops_is_counted_as_dropped(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 4)
    factory.contact(organization, is_subscribed=False)
    campaign = factory.campaign(organization)
    database.execute(
        f"""
        create function suppress() returns trigger language plpgsql as $$
        begin
            if new.contact_id = '{contacts[0]}' then return null; end if;
            return new;
        end $$;
        create trigger suppress before insert on campaign_recipients for each row execute function suppress();
        """.encode()
    )

    [launched] = automation(max_rows=max_rows).launch()["campaigns"]

    assert launched["recipient_count"] == 3
    assert set(records.recipients(database, campaign)) == set(contacts[1:])
    assert records.launch(database, campaign)["excluded"] == {"dropped_by_trigger": 1, "unsubscribed": 1}


def test_an_error_holds_nothing_of_any_row(campaign: UUID, automation: Automate, database: Connection) -> None:
    refuse(database, campaign)

    [error] = automation().launch()["errors"]

    [contact] = records.rows(database, "select id::text, email from contacts")
    assert contact["email"] not in error["error"]
    assert contact["id"] not in error["error"]
    assert error["error"] == records.launch(database, campaign)["last_error"]
    assert "SQLSTATE P0001" in error["error"]
    assert contact["email"] in records.launch(database, campaign)["last_error_detail"]


def test_steps_side_by_side_that_meet_one_failure_count_one_attempt(campaign: UUID, database: Connection) -> None:
    [(began,)] = database.execute("select now()").fetchall()
    for _ in range(2):
        database.execute(
            "select campaign_runner.record_failure("
            "%(run)s, %(campaign)s, campaign_runner.version(%(campaign)s), 'P0001', 'refused', null, %(began)s)",
            {"run": uuid4(), "campaign": campaign, "began": began},
        )
    assert records.launch(database, campaign)["attempts"] == 1
    assert database.execute("select count(*) from campaign_runner.run_errors").fetchall() == [(2,)]


def test_a_lock_that_lasts_keeps_no_membership_from_freeing_a_launch(
    factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    organization = factory.organization()
    factory.contact(organization)
    campaign = factory.campaign(organization, due_in=timedelta(hours=-1))
    assert len(automation().launch()["errors"]) == 1
    factory.member(organization, system_user)
    for ago in ("2 minutes", "0"):
        database.execute(
            "select campaign_runner.record_failure(%(run)s, %(campaign)s, campaign_runner.version(%(campaign)s),"
            " 'CR004', 'locked', null, now() - %(ago)s::interval)",
            {"run": uuid4(), "campaign": campaign, "ago": ago},
        )
    assert records.launch(database, campaign)["failed_with"] == "CR004"

    assert [each["campaign_id"] for each in automation().launch()["campaigns"]] == [str(campaign)]


def test_the_time_of_a_lock_is_not_that_of_the_trouble_of_the_database(
    campaign: UUID, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    failure = (
        "select campaign_runner.record_failure("
        "%(run)s, %(campaign)s, campaign_runner.version(%(campaign)s), %(code)s, 'refused', null, now())"
    )
    database.execute(failure, {"run": uuid4(), "campaign": campaign, "code": "CR004"})
    other = factory.organization(system_user)
    factory.campaign(other)
    assert automation(organization=other).launch()["processed_count"] == 1

    database.execute(failure, {"run": uuid4(), "campaign": campaign, "code": "53300"})

    assert records.launch(database, campaign)["attempts"] == 0


def test_a_person_s_cancel_while_a_failure_is_recorded_ends_the_step(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    refuse(database, campaign)
    database.execute(
        """
        create function cancel() returns trigger language plpgsql as $$
        begin raise exception 'canceling statement due to user request' using errcode = '57014'; end $$;
        create trigger cancel before insert on campaign_runner.run_errors for each row execute function cancel();
        """
    )
    with pytest.raises(psycopg.errors.QueryCanceled):
        automation().step()


def test_a_campaign_that_keeps_failing_backs_off_and_needs_attention_after_ten_attempts(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    refuse(database, campaign)
    query = """
        select attempts, extract(epoch from next_attempt_at - now())::int / 60 as minutes,
            coalesce(waiting = 'needs_attention', false) as needs_attention
        from campaign_runner.launches
    """

    seen = []
    for _ in range(10):
        assert len(automation().launch()["errors"]) == 1
        assert automation().launch() == {"processed_count": 0, "campaigns": [], "errors": []}
        [row] = records.rows(database, query)
        seen.append((row["attempts"], row["minutes"], row["needs_attention"]))
        if not row["needs_attention"]:
            wait_for_the_next_attempt(database, campaign)

    waits = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    # A moment has passed since the failure, and a division of integers rounds down.
    assert [(attempts, needs_attention) for attempts, _, needs_attention in seen] == [
        *((attempt, False) for attempt in range(1, 10)),
        (10, True),
    ]
    assert all(wait - 1 <= minutes <= wait for (_, minutes, _), wait in zip(seen[:9], waits, strict=True))


def test_retry_frees_one_campaign_or_all_and_tells_what_was_wrong(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    one, other = (factory.campaign(organization, name=name) for name in ("One", "Other"))
    refuse(database, one, other)
    automation().launch()
    database.execute(
        "update campaign_runner.launches set attempts = 10, waiting = 'needs_attention', next_attempt_at = null"
    )
    let_it_pass(database)

    assert automation().launch()["processed_count"] == 0
    [freed] = automation().retry(one)
    assert (freed["campaign_id"], freed["name"], freed["attempts"]) == (str(one), "One", 10)
    assert freed["error"] == records.launch(database, one)["last_error"]
    assert [c["campaign_id"] for c in automation().launch()["campaigns"]] == [str(one)]

    assert [freed["campaign_id"] for freed in automation().retry()] == [str(other)]
    assert automation().retry() == []
    assert [c["campaign_id"] for c in automation().launch()["campaigns"]] == [str(other)]


def test_retry_of_a_campaign_that_is_still_too_late_holds_it_again_and_says_so(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    late = factory.campaign(organization, due_in=timedelta(minutes=-31))
    automation(max_lateness_minutes=30).launch()

    assert len(automation().retry(late)) == 1

    [error] = automation(max_lateness_minutes=30).launch()["errors"]
    assert error["campaign_id"] == str(late)
    assert records.status(database, late) == "scheduled"


@pytest.mark.parametrize(
    "edit",
    [
        "update campaigns set name = 'New name'",
        "update campaigns set scheduled_at = now() - interval '1 second'",
        "insert into campaign_target_rules (campaign_id, organization_id) select id, organization_id from campaigns",
    ],
)
def test_an_edit_frees_a_campaign_that_needs_attention(
    edit: str, campaign: UUID, automation: Automate, database: Connection
) -> None:
    refuse(database, campaign)
    automation().launch()
    database.execute(
        "update campaign_runner.launches set attempts = 10, waiting = 'needs_attention', next_attempt_at = null"
    )
    let_it_pass(database)
    assert automation().launch()["processed_count"] == 0

    database.execute(edit.encode())

    assert automation().launch()["processed_count"] == 1


def test_rules_that_lie_elsewhere_after_a_vacuum_free_no_campaign(
    campaign: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.rules(factory.campaign(factory.organization(), status="draft"))
    factory.rules(campaign)
    refuse(database, campaign)
    automation().launch()
    database.execute("delete from campaign_target_rules where campaign_id <> %s", (campaign,))
    database.execute("vacuum full campaign_target_rules")

    assert automation().step()["busy"] == 0


@pytest.mark.parametrize(
    "edit", ["update campaign_target_rules set exclude_bounced = true", "delete from campaign_target_rules"]
)
def test_an_edit_of_the_rules_frees_a_campaign_that_needs_attention(
    edit: str, campaign: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.rules(campaign)
    refuse(database, campaign)
    automation().launch()
    database.execute(
        "update campaign_runner.launches set attempts = 10, waiting = 'needs_attention', next_attempt_at = null"
    )
    let_it_pass(database)
    assert automation().launch()["processed_count"] == 0

    database.execute(edit.encode())

    assert automation().launch()["processed_count"] == 1


def test_a_launch_that_failed_in_its_middle_keeps_what_it_had_and_is_completed(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    automation(max_rows=4).first_chunk()
    refuse(database, campaign)
    assert len(automation(max_rows=2).launch()["errors"]) == 1
    assert set(records.recipients(database, campaign)) == set(contacts[:2])
    let_it_pass(database)
    wait_for_the_next_attempt(database, campaign)

    [launched] = automation(max_rows=2).launch()["campaigns"]

    assert (launched["recipients_generated"], launched["recipient_count"]) == (True, 6)
    assert set(records.recipients(database, campaign)) == set(contacts)


def test_a_campaign_that_failed_and_was_then_launched_in_one_run_is_no_error_of_it(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    refuse(database, campaign)
    run = automation()
    run.step()
    let_it_pass(database)
    wait_for_the_next_attempt(database, campaign)

    report = run.launch()

    assert [c["campaign_id"] for c in report["campaigns"]] == [str(campaign)]
    assert report["errors"] == []


@pytest.mark.parametrize("code", ["08006", "53100", "53200", "57P01", "58030"])
def test_what_may_be_the_databases_trouble_is_named_pushed_back_and_not_counted(
    code: str, campaign: UUID, automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    other = factory.organization(system_user)
    factory.contacts(other, 3)
    good = [factory.campaign(other) for _ in range(20)]
    refuse(database, campaign, code=code)

    report = automation().launch()

    assert {each["campaign_id"] for each in report["campaigns"]} == set(map(str, good))
    [error] = report["errors"]
    assert (error["campaign_id"], code in error["error"]) == (str(campaign), True)
    launch = records.launch(database, campaign)
    assert (launch["attempts"], launch["waiting"], launch["failed_with"]) == (0, "backoff", code)
    let_it_pass(database)
    database.execute("update campaign_runner.launches set next_attempt_at = now() where waiting = 'backoff'")
    assert automation().launch()["processed_count"] == 1


def test_trouble_that_only_one_campaign_has_is_its_own(
    campaign: UUID, automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    refuse(database, campaign, code="53400")
    attempts = []
    for others in (0, 0, 1):
        for _ in range(others):
            other = factory.organization(system_user)
            factory.campaign(other)
            automation().launch()
        database.execute("update campaign_runner.launches set next_attempt_at = now() where waiting = 'backoff'")
        automation().launch()
        attempts.append(records.launch(database, campaign)["attempts"])
        database.execute("update campaign_runner.launches set next_attempt_at = now() where waiting = 'backoff'")
    # Its turn may come before or after the other one's in their common step.
    assert (attempts[:2], attempts[2] > 0) == ([0, 0], True)


def test_a_failure_that_cannot_be_recorded_ends_the_step_and_undoes_no_launch(
    campaign: UUID, automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    other = factory.organization(system_user)
    good = factory.campaign(other)
    refuse(database, campaign, code="53100")
    database.execute(
        """
        create function full_disk() returns trigger language plpgsql as $$
        begin raise exception 'no space left' using errcode = '53100'; end $$;
        create trigger full_disk before insert on campaign_runner.run_errors
        for each row execute function full_disk();
        """
    )
    run = automation()
    answers = [run.step() for _ in range(3)]
    assert "53100" in {answer["unrecorded"] for answer in answers}
    assert sum(answer["launched"] for answer in answers) == 1
    assert records.status(database, good) == "sending"
    assert records.status(database, campaign) == "scheduled"
    assert all(launch["attempts"] == 0 for launch in records.launches(database, campaign))


def test_a_step_that_cannot_record_a_failure_is_a_call_all_the_same(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    refuse(database, campaign, code="53100")
    database.execute("alter table campaign_runner.run_errors add constraint full_disk check (false) not valid")
    database.execute("update campaign_runner.last_call set at = '-infinity'")
    assert automation().step()["unrecorded"] == "23514"
    [call] = records.rows(database, "select at > '-infinity' as is_noted from campaign_runner.last_call")
    assert call["is_noted"]


@pytest.mark.parametrize("code", ["P0001", "P0004", "57014", "42P01", "22012", "XX000", "25006", "40001", "55006"])
def test_no_sqlstate_of_a_trigger_undoes_the_launch_of_another_campaign(
    code: str, campaign: UUID, automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    other = factory.organization(system_user)
    good = factory.campaign(other)
    refuse(database, campaign, code=code)
    run = automation()
    for _ in range(3):
        run.step()
    assert records.status(database, good) == "sending"
    assert records.status(database, campaign) == "scheduled"


def test_a_failing_assert_of_a_trigger_is_the_campaigns_error(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    database.execute(
        """
        create function check_quota() returns trigger language plpgsql as 'begin assert false; return new; end';
        create trigger check_quota before insert on campaign_recipients for each row execute function check_quota();
        """
    )
    [error] = automation().launch()["errors"]
    assert error["error"].startswith("An assertion of a trigger failed (SQLSTATE P0004).")


@pytest.mark.parametrize("field", ["name", "organization_id", "scheduled_at"])
def test_a_campaign_without_a_name_an_organization_or_a_time_stops_nobody(
    field: str, campaign: UUID, automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    """As a project may have them, whose columns are nullable."""
    database.execute("alter table campaigns alter name drop not null, alter organization_id drop not null")
    other = factory.organization(system_user)
    good = factory.campaign(other)
    factory.update("campaigns", campaign, **{field: None})
    dry = automation().preview()

    report = automation().launch()

    launched = {each["campaign_id"]: each["name"] for each in report["campaigns"]}
    expected = {str(good): "Campaign"} | ({str(campaign): ""} if field == "name" else {})
    assert (launched, report["errors"]) == (expected, [])
    assert {each["campaign_id"] for each in dry["campaigns"]} == set(expected)


def test_a_status_that_a_trigger_keeps_is_an_error_without_an_event(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    database.execute(
        """
        create function keep() returns trigger language plpgsql as
            'begin new.status := old.status; return new; end';
        create trigger keep before update on campaigns for each row execute function keep();
        """
    )
    report = automation().launch()
    [error] = report["errors"]
    assert error["error"] == "The status could not be set: a trigger or a rule on campaigns keeps it at scheduled."
    assert (report["campaigns"], records.events(database, campaign)) == ([], [])


def test_an_edit_starts_the_count_of_attempts_again(
    campaign: UUID, automation: Automate, factory: Factory, database: Connection
) -> None:
    refuse(database, campaign)
    automation().launch()
    database.execute(
        "update campaign_runner.launches set attempts = 10, waiting = 'needs_attention', next_attempt_at = null"
    )
    factory.update("campaigns", campaign, name="Corrected")
    automation().launch()
    launch = records.launch(database, campaign)
    assert (launch["attempts"], launch["waiting"]) == (1, "backoff")


def test_a_missing_membership_is_not_tried_again_by_the_clock_and_a_membership_frees_the_campaign(
    automation: Automate, factory: Factory, system_user: UUID, database: Connection
) -> None:
    organization = factory.organization()
    campaign = factory.campaign(organization)
    assert automation().launch()["errors"]
    launch = records.launch(database, campaign)
    assert (launch["waiting"], launch["next_attempt_at"]) == ("needs_attention", None)
    assert automation().launch()["errors"] == []
    factory.member(organization, system_user)
    assert automation().launch()["processed_count"] == 1


def test_a_lock_of_another_transaction_is_named_once_it_has_lasted_a_minute(
    campaign: UUID, automation: Automate, database_url: str, database: Connection
) -> None:
    with psycopg.connect(database_url) as person:
        person.execute("update campaigns set name = name where id = %s", (campaign,))
        answer = automation().step()
        assert (answer["busy"], answer["failed"]) == (1, 0)
        health = automation().health()
        assert health["oldest_due"]["campaign_id"] == str(campaign)
        [hindered] = health["generating"]["campaigns"]
        assert hindered["failed_with"] is None
        assert hindered["last_error"].startswith("Another transaction has locked this campaign")
        database.execute("update campaign_runner.launches set hindered_at = hindered_at - interval '2 minutes'")
        run = automation()
        run.step()
        [error] = run.report()["errors"]
        assert error["error"].startswith("Another transaction has locked this campaign")
        assert records.launch(database, campaign)["attempts"] == 0
    assert automation().launch()["processed_count"] == 1


def test_what_hindered_a_launch_for_a_moment_is_no_part_of_its_history(
    campaign: UUID, automation: Automate, database_url: str, database: Connection
) -> None:
    with psycopg.connect(database_url) as person:
        person.execute("update campaigns set name = name where id = %s", (campaign,))
        automation().step()
        assert records.launch(database, campaign)["last_error"] is not None
    assert automation().launch()["processed_count"] == 1
    assert records.launches(database, campaign)[0]["last_error"] is None


def test_an_error_of_a_trigger_stops_no_other_campaign_where_a_grant_is_missing(
    campaign: UUID, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    other = factory.campaign(organization)
    refuse(database, campaign, code="42703")
    database.execute("revoke select on contact_tags from service_role")

    answer = automation().step()

    assert (answer["launched"], answer["failed"]) == (1, 1)
    assert records.status(database, other) == "sending"


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
def test_a_rival_is_nobodys_fault(code: str, campaign: UUID, automation: Automate, database: Connection) -> None:
    refuse(database, campaign, code=code)

    answer = automation().step()

    assert (answer["busy"], answer["failed"], answer["launched"]) == (1, 0, 0)
    assert records.rows(database, "select from campaign_runner.run_errors") == []
    let_it_pass(database)
    assert automation().launch()["processed_count"] == 1


@pytest.fixture
def endless(campaign: UUID, database: Connection, connect_as: Connect, system_user: UUID) -> Automate:
    """Runs whose statements are stopped early, where a trigger would take for ever."""
    database.execute(
        """
        create function wait() returns trigger language plpgsql as 'begin perform pg_sleep(60); return new; end';
        create trigger wait before insert on campaign_recipients for each row execute function wait();
        """
    )
    service = connect_as("service_role")
    service.execute("set statement_timeout = '200ms'")
    return lambda **options: Automation(service, system_user, **options)


def test_a_campaign_that_takes_too_long_is_not_to_blame_while_the_step_can_be_smaller(
    endless: Automate, campaign: UUID, database: Connection
) -> None:
    answer = endless(max_rows=501).step()

    assert (answer["timed_out"], answer["work_left"], answer["failed"]) == (True, True, 0)
    assert records.rows(database, "select from campaign_runner.run_errors") == []
    assert records.status(database, campaign) == "scheduled"


def test_a_campaign_that_takes_too_long_in_the_smallest_step_is_an_error_and_the_others_go_on(
    endless: Automate, campaign: UUID, factory: Factory, database: Connection, system_user: UUID
) -> None:
    later = factory.campaign(factory.organization(system_user), due_in=timedelta(seconds=-1))

    report = endless(max_rows=500).launch()

    assert [c["campaign_id"] for c in report["campaigns"]] == [str(later)]
    [error] = report["errors"]
    assert error["campaign_id"] == str(campaign)
    assert "took too long" in error["error"]
    assert records.launch(database, campaign)["failed_with"] == "57014"


@pytest.mark.parametrize("role", [None, "viewer"])
def test_without_membership_nothing_of_a_campaign_changes_but_its_error(
    role: str | None, factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    organization = factory.organization()
    if role:
        factory.member(organization, system_user, role=role)
    factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    before = records.everything(database)

    report = automation().launch()

    assert report["errors"] == [{"campaign_id": str(campaign), "error": NO_MEMBERSHIP}]
    assert report["campaigns"] == []
    after = records.everything(database)
    assert {table: rows for table, rows in after.items() if table.startswith("public")} == {
        table: rows for table, rows in before.items() if table.startswith("public")
    }
    assert automation().launch() == {"processed_count": 0, "campaigns": [], "errors": []}


def test_a_new_membership_frees_the_campaign_at_once(
    factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    organization = factory.organization()
    factory.campaign(organization)
    automation().launch()
    assert automation().launch()["processed_count"] == 0

    factory.member(organization, system_user)

    assert automation().launch()["processed_count"] == 1


def test_a_membership_that_ends_in_mid_launch_stops_the_launch(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    run = automation(max_rows=2)
    run.first_chunk()
    database.execute("delete from organization_members")

    report = run.launch()

    assert report["errors"] == [{"campaign_id": str(campaign), "error": NO_MEMBERSHIP}]
    assert records.status(database, campaign) == "scheduled"


def test_any_of_the_configured_roles_will_do(
    factory: Factory, automation: Automate, database: Connection, system_user: UUID
) -> None:
    organization = factory.organization()
    factory.member(organization, system_user, role="editor")
    factory.campaign(organization)

    assert automation(roles=["owner", "editor"]).launch()["processed_count"] == 1


def test_a_campaign_that_is_too_late_is_held_and_reported_once(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    late = factory.campaign(organization, due_in=timedelta(minutes=-31))
    factory.campaign(organization, due_in=timedelta(minutes=-29))

    first = automation(max_lateness_minutes=30).launch()
    second = automation(max_lateness_minutes=30).launch()

    message = "The campaign is more than 30 minutes late, so it was held. Schedule it again to launch it."
    assert first["processed_count"] == 1
    assert first["errors"] == [{"campaign_id": str(late), "error": message}]
    assert second == {"processed_count": 0, "campaigns": [], "errors": []}
    assert records.status(database, late) == "scheduled"
    assert records.recipients(database, late) == {}

    database.execute("update campaigns set scheduled_at = now() - interval '1 minute' where id = %s", (late,))
    assert automation(max_lateness_minutes=30).launch()["processed_count"] == 1


def test_a_launch_that_began_in_time_is_finished_however_late_it_gets(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 6)
    campaign = factory.campaign(organization, rules={}, due_in=timedelta(minutes=-31))
    automation(max_rows=2).first_chunk()

    assert automation(max_rows=2, max_lateness_minutes=30).launch()["processed_count"] == 1
    assert records.status(database, campaign) == "sending"


@pytest.mark.parametrize("call", [Automation.step, Automation.preview, Automation.health])
def test_an_unknown_organization_is_refused(call: Callable[[Automation], object], automation: Automate) -> None:
    with pytest.raises(psycopg.Error) as raised:
        call(automation(organization=uuid4()))
    assert raised.value.sqlstate == "CR404"


@pytest.mark.parametrize("call", ["step", "preview"])
def test_a_system_user_without_a_profile_is_refused_and_nothing_is_recorded(
    call: str, campaign: UUID, connect_as: Connect, database: Connection
) -> None:
    before = records.everything(database)
    run = Automation(connect_as("service_role"), uuid4())

    with pytest.raises(psycopg.Error) as raised:
        getattr(run, call)()

    assert raised.value.sqlstate == "CR500"
    assert records.everything(database) == before


def test_a_role_that_lacks_a_grant_is_a_misconfiguration_and_no_campaigns_fault(
    campaign: UUID, automation: Automate, database: Connection
) -> None:
    database.execute("revoke insert on campaign_recipients from service_role")
    before = records.everything(database)

    with pytest.raises(psycopg.Error, match=r"the key's role lacks insert on public\.campaign_recipients") as raised:
        automation().step()

    assert raised.value.sqlstate == "CR500"
    assert records.everything(database) == before


def test_a_policy_that_hides_contacts_is_an_error_and_never_a_smaller_audience(
    campaign: UUID, system_user: UUID, database: Connection, database_url: str
) -> None:
    """The owner is bound by the policies of its tables where they are forced."""
    bypasses: dict[str, Any] = records.rows(database, "select rolbypassrls from pg_roles where rolname = current_user")[
        0
    ]
    if not bypasses["rolbypassrls"]:
        pytest.skip("the owner of the tables is bound by policies anyway")
    role = f"bound_{uuid4().hex}"
    database.execute(
        f"""
        create role {role};
        grant {role} to current_user;
        grant usage on schema public, campaign_runner to {role};
        grant all on all tables in schema public, campaign_runner to {role};
        grant execute on all functions in schema public, campaign_runner to {role};
        """.encode()
    )
    try:
        with psycopg.connect(database_url, autocommit=True) as bound:
            bound.execute(f"set role {role}".encode())
            run = Automation(bound, system_user)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                run.step()
    finally:
        database.execute(f"drop owned by {role}; drop role {role};".encode())
    assert records.status(database, campaign) == "scheduled"
    assert records.recipients(database, campaign) == {}

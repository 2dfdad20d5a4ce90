"""Each trouble, provoked on the real stack: doctor, status and health agree, and the remedy mends what it says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner

from local.function import Function
from runner.commands import cli
from runner.database import Database
from runner.settings import Settings
from tests.support import records
from tests.support.automation import Automation
from tests.support.refusal import let_it_pass
from tests.support.service import Service

WORDS = "the quota of your plan is used up"
HINT = "Ask the team of the budget."


@dataclass(frozen=True)
class Operator:
    """Somebody at a shell with the settings of the service."""

    service: Service
    environ: pytest.MonkeyPatch

    def findings(self) -> list[dict[str, Any]]:
        """What the doctor finds wrong. Status and health say the same."""
        doctor = CliRunner().invoke(cli, ["doctor", "--json"])
        found = [each for each in json.loads(doctor.stdout)["findings"] if each["severity"] != "ok"]
        campaigns = [each for each in found if each["check"] in ("campaigns", "writing")]
        assert CliRunner().invoke(cli, ["status"]).exit_code == (1 if campaigns else 0)
        assert self.service.request("GET", "/health").status_code == (503 if campaigns else 200)
        assert doctor.exit_code == (1 if any(each["severity"] == "problem" for each in found) else 0)
        return found

    def finding(self) -> dict[str, Any]:
        """The only one."""
        [found] = self.findings()
        return found

    def status(self) -> str:
        """What `status` shows, as one line."""
        return " ".join(CliRunner().invoke(cli, ["status"]).stdout.split())

    def follow(self, remedy: str) -> None:
        """Do what a remedy says: the statement or the command at its end."""
        if "python -m runner " in remedy:
            command = remedy.partition("python -m runner ")[2].split()
            assert CliRunner().invoke(cli, command).exit_code == 0
        else:
            statement = remedy[remedy.index(next(w for w in STATEMENTS if w in remedy)) :]
            self.service.database.execute(statement.encode())


STATEMENTS = ("insert into", "update public", "delete from", "grant ", "select pg_terminate", "create index")


@pytest.fixture
def operator(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    connected: dict[Settings, Database] = {}

    def shared(settings: Settings) -> Database:
        if settings not in connected:
            connected[settings] = Database(settings)
        return connected[settings]

    monkeypatch.setattr("runner.database.shared", shared)
    logger = logging.getLogger("runner")
    logging_before = logger.handlers[:], logger.level, logger.propagate
    for name, value in {**service.settings, "RUNNER_TOKENS": service.token}.items():
        monkeypatch.setenv(name, value)
    service.run()
    operator = Operator(service, monkeypatch)
    assert operator.findings() == []
    yield operator
    logger.handlers[:], logger.level, logger.propagate = logging_before
    for each in connected.values():
        each.close()


@contextmanager
def refused(service: Service, campaign: UUID) -> Iterator[None]:
    """A trigger of the project refuses the recipients of a campaign, with its own words."""
    service.database.execute(
        f"""
        create function refuse() returns trigger language plpgsql as $$
        begin
            if new.campaign_id = '{campaign}' then
                raise exception '{WORDS}' using hint = '{HINT}';
            end if;
            return new;
        end $$;
        create trigger refuse before insert on campaign_recipients for each row execute function refuse();
        """.encode()
    )
    try:
        yield
    finally:
        let_it_pass(service.database)


def launched(service: Service, campaign: UUID) -> bool:
    service.run()
    return records.status(service.database, campaign) == "sending"


def test_a_campaign_that_a_trigger_refuses(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    with refused(service, campaign):
        body = service.run()
        assert WORDS not in json.dumps(body)
        finding = operator.finding()
        assert "A trigger of the project refused the campaign (SQLSTATE P0001)" in finding["message"]
        assert f"In the words of the source: {WORDS} {HINT} in refuse() line 4 at RAISE" in finding["message"].replace(
            "\n", " "
        )
        assert "The trigger refuse on public.campaign_recipients runs public.refuse()." in finding["message"]
        assert "disable trigger refuse; Then: python -m runner retry" in finding["remedy"]
        assert "1 failed attempt, tried again in" in operator.status()
        assert WORDS in operator.status()
        service.execute("update campaign_runner.launches set next_attempt_at = now() where closed_at is null")
        assert "1 failed attempt, tried again by the next call" in operator.status()
        assert WORDS not in service.request("GET", "/health").text
    operator.follow(f"python -m runner retry {campaign}")
    assert launched(service, campaign)
    assert operator.findings() == []


@pytest.mark.parametrize(
    ("harm", "undoing", "words"),
    [
        (
            "create rule keep as on update to campaigns where new.status = 'sending' do instead nothing",
            "drop rule if exists keep on campaigns",
            "a trigger or a rule on campaigns keeps it at scheduled. The rule keep on public.campaigns reads:",
        ),
        (
            "create unique index one_each on campaign_recipients (status) where status = 'pending'",
            "drop index if exists one_each",
            "The unique index public.one_each on public.campaign_recipients reads: CREATE UNIQUE INDEX",
        ),
        (
            "alter table campaign_recipients add constraint small check (organization_id is null) not valid",
            "alter table campaign_recipients drop constraint if exists small",
            "The constraint small on public.campaign_recipients reads: CHECK ((organization_id IS NULL)) NOT VALID.",
        ),
        (
            "alter table campaign_recipients add tenant uuid;"
            " alter table campaign_recipients alter tenant set default (current_setting('app.tenant'))::uuid",
            "alter table campaign_recipients drop tenant",
            "The default of public.campaign_recipients.tenant is (current_setting('app.tenant'::text))::uuid.",
        ),
        (
            "create sequence tickets; revoke all on sequence tickets from service_role;"
            " alter table campaign_recipients add ticket bigint;"
            " alter table campaign_recipients alter ticket set default nextval('tickets')",
            "alter table campaign_recipients drop ticket; drop sequence tickets",
            "The default of public.campaign_recipients.ticket is nextval('public.tickets'::regclass).",
        ),
        (
            "alter table campaign_recipients add share integer generated always as (1 / (length(status) - 7)) stored",
            "alter table campaign_recipients drop share",
            "The generated column public.campaign_recipients.share is computed as (1 / (length(status) - 7)).",
        ),
        (
            "create table lists (id uuid primary key); grant select on lists to service_role;"
            " alter table campaign_recipients add list uuid not null default gen_random_uuid(),"
            " add constraint in_a_list foreign key (list) references lists not valid",
            "alter table campaign_recipients drop list; drop table lists",
            "The foreign key in_a_list on public.campaign_recipients reads: FOREIGN KEY (list) REFERENCES",
        ),
        (
            "create domain receipt as text check (value ~ '^R');"
            " alter table campaign_recipients add receipt receipt default 'none'",
            "alter table campaign_recipients drop receipt; drop domain receipt",
            "The domain constraint receipt_check on the type of public.campaign_recipients.receipt reads: CHECK",
        ),
    ],
    ids=["rule", "unique index", "constraint", "default", "sequence", "generated column", "foreign key", "domain"],
)
def test_what_the_project_refuses_is_named_with_its_statement(
    operator: Operator, service: Service, harm: LiteralString, undoing: LiteralString, words: str
) -> None:
    organization = service.organization()
    service.factory.contacts(organization, 2)
    campaign = service.factory.campaign(organization)
    service.database.execute(harm)
    try:
        service.run()
        finding = operator.finding()
        assert words in finding["message"].replace("\n", " ")
        statement, _, command = (
            finding["remedy"].partition("take away what refused, for all campaigns: ")[2].partition(" Then: ")
        )
        service.database.execute(statement.encode())
        operator.follow(command)
        assert launched(service, campaign)
    finally:
        service.database.execute(undoing)
    assert operator.findings() == []


@pytest.mark.parametrize(
    "body",
    [
        "plpgsql stable as $$ begin return query select s.contact_id, s.reason from suppression s; end $$",
        "sql stable set search_path = '' as 'select s.contact_id, s.reason from public.suppression s'",
    ],
    ids=["plpgsql", "sql"],
)
def test_an_exclusions_function_that_fails(operator: Operator, service: Service, body: str) -> None:
    organization = service.organization()
    service.factory.contact(organization)
    campaign = service.factory.campaign(organization)
    service.database.execute(
        f"""
        create table suppression (contact_id uuid, reason text);
        create function public.campaign_runner_exclusions(p_campaign_id uuid, p_contact_ids uuid[])
        returns table (contact_id uuid, reason text) language {body};
        grant execute on function public.campaign_runner_exclusions(uuid, uuid[]) to service_role;
        drop table suppression;
        """.encode()
    )
    try:
        service.run()
        finding = operator.finding()
        assert "suppression" in finding["message"]
        assert finding["remedy"].startswith("Correct your function public.campaign_runner_exclusions")
    finally:
        service.execute("drop function public.campaign_runner_exclusions")
    operator.follow(finding["remedy"])
    assert launched(service, campaign)


def test_an_exclusions_function_that_may_not_read_its_table(operator: Operator, service: Service) -> None:
    organization = service.organization()
    service.factory.contact(organization)
    campaign = service.factory.campaign(organization)
    service.database.execute(
        """
        create table suppression (contact_id uuid, why text);
        revoke all on suppression from service_role;
        create function public.campaign_runner_exclusions(p_campaign_id uuid, p_contact_ids uuid[])
        returns table (contact_id uuid, reason text) language sql stable as $$
            select s.contact_id, s.why from public.suppression s
        $$;
        grant execute on function public.campaign_runner_exclusions(uuid, uuid[]) to service_role;
        """
    )
    try:
        service.run()
        finding = operator.finding()
        assert "needs, as: grant select on suppression to service_role; Then:" in finding["remedy"]
        grant, _, retry = finding["remedy"].partition("as: ")[2].partition(" Then: ")
        service.database.execute(grant.encode())
        operator.follow(retry)
        assert launched(service, campaign)
    finally:
        service.database.execute("drop function public.campaign_runner_exclusions; drop table suppression")


def test_a_system_user_whose_role_does_not_suffice(operator: Operator, service: Service) -> None:
    organization = service.factory.organization()
    service.factory.member(organization, service.system_user, role="viewer")
    service.factory.contact(organization)
    campaign = service.factory.campaign(organization)
    service.run()
    checks = {finding["check"]: finding for finding in operator.findings()}
    assert checks.keys() == {"memberships", "campaigns"}
    assert "update public.organization_members set role = 'member'" in checks["memberships"]["remedy"]
    operator.follow(checks["memberships"]["remedy"])
    assert launched(service, campaign)
    assert operator.findings() == []


def test_a_campaign_whose_ten_attempts_failed(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    with refused(service, campaign):
        service.run()
        service.execute("update campaign_runner.launches set attempts = 9, next_attempt_at = now() where attempts = 1")
        service.run()
        finding = operator.finding()
        assert "10 failed attempts" in finding["message"]
        assert "Need attention: 1" in operator.status()
    operator.follow(finding["remedy"])
    assert launched(service, campaign)


def test_a_campaign_that_is_held(operator: Operator, service: Service, environment: dict[str, str]) -> None:
    campaign = service.due_campaign()
    service.execute("update campaigns set scheduled_at = now() - interval '3 hours' where id = %s", campaign)
    operator.environ.setenv("MAX_LATENESS_MINUTES", "60")
    with Function({**environment, "MAX_LATENESS_MINUTES": "60"}) as strict:
        strict_service = replace(service, url=strict.url)
        strict_service.run()
        finding = operator.finding()
        assert "due for 3 h" in finding["message"]
        assert "Held, too late: 1" in operator.status()
        operator.follow(finding["remedy"])
        assert launched(strict_service, campaign)


def test_a_system_user_who_is_no_member(operator: Operator, service: Service) -> None:
    organization = service.factory.organization()
    service.factory.contact(organization)
    campaign = service.factory.campaign(organization)
    service.run()
    checks = {finding["check"]: finding for finding in operator.findings()}
    assert checks.keys() == {"memberships", "campaigns"}
    assert "Need attention: 1" in operator.status()
    assert "Do what stands under memberships" in checks["campaigns"]["remedy"]
    operator.follow(checks["memberships"]["remedy"])
    assert launched(service, campaign)
    assert operator.findings() == []


def test_a_system_user_who_is_no_profile(operator: Operator, service: Service) -> None:
    user = service.factory.user()
    service.execute("delete from profiles where id = %s", user)
    operator.environ.setenv("SYSTEM_USER_ID", str(user))
    doctor = CliRunner().invoke(cli, ["doctor", "--json"])
    [finding] = [each for each in json.loads(doctor.stdout)["findings"] if each["severity"] == "problem"]
    assert finding["check"] == "system user"
    operator.follow(finding["remedy"])
    assert operator.finding()["message"].endswith(f"and this shell has {user}.")


def test_a_not_null_column_that_no_one_fills(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    service.execute("alter table campaign_recipients add channel text not null")
    try:
        service.run()
        checks = {finding["check"]: finding for finding in operator.findings()}
        assert checks.keys() == {"tables", "campaigns"}
        assert checks["tables"]["remedy"].startswith("Fill it in a BEFORE INSERT trigger, or: alter table")
        message = checks["campaigns"]["message"]
        assert "A column that must not be empty got no value" in message
        assert "SQLSTATE 23502, table campaign_recipients, column channel" in message
        service.execute("alter table campaign_recipients alter channel set default 'mail'")
        service.execute("update campaigns set name = 'edited' where id = %s", campaign)
        assert launched(service, campaign)
    finally:
        service.execute("alter table campaign_recipients drop channel")


@pytest.mark.parametrize(
    "grant",
    [
        "execute on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer)",
        "insert on campaign_recipients",
    ],
)
def test_a_privilege_that_was_revoked(operator: Operator, service: Service, grant: str) -> None:
    campaign = service.due_campaign()
    service.database.execute(f"revoke {grant} from service_role".encode())
    try:
        finding = operator.finding()
        assert finding["check"] == "privileges"
        response = service.post()
        assert response.status_code == 500
        operator.follow(finding["remedy"])
        assert launched(service, campaign)
    finally:
        service.database.execute(f"grant {grant} to service_role".encode())


@pytest.mark.slow
def test_a_table_that_a_person_locks(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    with psycopg.connect(service.project.database_url, application_name="psql of Ann") as person:
        person.execute("lock table profiles in access exclusive mode")
        response = service.post()
        assert response.status_code == 503
        assert "Another transaction has locked a table" in response.json()["detail"]
        doctor = CliRunner().invoke(cli, ["doctor", "--json"])
        assert doctor.exit_code == 1
        problems = [each for each in json.loads(doctor.stdout)["findings"] if each["severity"] == "problem"]
        [lock] = [each for each in problems if each["message"].startswith("A transaction (")]
        assert f"(pid {person.info.backend_pid}, program psql of Ann, " in lock["message"]
        assert "idle in transaction" in lock["message"]
        operator.follow(lock["remedy"])
        with pytest.raises(psycopg.OperationalError):
            person.execute("select 1")
    assert launched(service, campaign)


@pytest.mark.slow
def test_a_row_that_a_person_locks(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    with psycopg.connect(service.project.database_url) as person:
        person.execute("update campaigns set name = 'locked' where id = %s", (campaign,))
        response = service.post()
        assert (response.json()["errors"], response.headers["X-Run-Complete"]) == ([], "true")
        service.execute("update campaign_runner.launches set hindered_at = now() - interval '2 minutes'")
        response = service.post()
        [error] = response.json()["errors"]
        assert error["campaign_id"] == str(campaign)
        assert error["error"].startswith("Another transaction has locked this campaign")
        assert response.headers["X-Run-Complete"] == "false"
        [finding] = [each for each in operator.findings() if each["check"] == "campaigns"]
        assert finding["remedy"].startswith("End the transaction that holds the lock")
        assert "Failing: 1" in operator.status()
        person.rollback()
    assert launched(service, campaign)
    assert operator.findings() == []


def test_a_campaign_that_a_person_set_to_sending_in_mid_launch(operator: Operator, service: Service) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 30)
    campaign = service.factory.campaign(organization)
    Automation(service.database, service.system_user, max_rows=10).first_chunk()
    service.execute("update campaigns set status = 'sending' where id = %s", campaign)
    [finding] = [each for each in operator.findings() if each["check"] == "campaigns"]
    assert "a person set the campaign to sending before its audience was complete" in finding["message"]
    assert "Taken over: 1" in operator.status()
    operator.follow(finding["remedy"])
    assert launched(service, campaign)
    [(recipients,)] = service.execute("select count(*) from campaign_recipients where campaign_id = %s", campaign)
    assert recipients == 30


def test_a_campaign_that_no_one_calls_for(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    service.execute("update campaigns set scheduled_at = now() - interval '11 minutes' where id = %s", campaign)
    service.execute("update campaign_runner.last_call set at = now() - interval '20 minutes'")
    late, calls = sorted(operator.findings(), key=lambda finding: finding["check"] == "calls")
    assert "has waited for a run for 11 min" in late["message"]
    assert calls["message"] == "For 20 min nothing has called the runner, and campaigns are due."
    operator.follow(late["remedy"])
    assert records.status(service.database, campaign) == "sending"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda service: service.factory.campaign(service.organization(), due_in=None), "scheduled without a time"),
        (
            lambda service: service.execute(
                "update campaigns set scheduled_at = 'infinity' where id = %s", service.due_campaign()
            ),
            "scheduled without a time",
        ),
        (
            lambda service: service.factory.recipient(
                service.factory.campaign(organization := service.organization(), due_in=timedelta(hours=1)),
                service.factory.contact(organization),
            ),
            "with recipients that no launch wrote",
        ),
        (lambda service: service.factory.contact(service.organization(), email="no address"), "malformed"),
        (lambda service: service.factory.contact(service.organization(), is_subscribed=None), "without is_subscribed"),
    ],
    ids=["no time", "never", "recipients", "malformed", "unknown"],
)
def test_what_looks_wrong_is_a_warning(
    operator: Operator, service: Service, harm: Callable[[Service], object], words: str
) -> None:
    harm(service)
    finding = operator.finding()
    assert finding["severity"] == "warning"
    assert words in finding["message"]


def test_other_settings_here_than_where_the_function_runs(operator: Operator) -> None:
    operator.environ.setenv("MAX_LATENESS_MINUTES", "60")
    assert "the MAX_LATENESS_MINUTES (not set), and this shell has 60." in operator.finding()["message"]


@contextmanager
def read_only(service: Service) -> Iterator[None]:
    """New sessions of the project are read-only, as a full disk makes them, and the old ones are ended."""
    sessions: LiteralString = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where pid <> pg_backend_pid() and datname = current_database()"
    )
    name = service.database.info.dbname
    service.database.execute(f'alter database "{name}" set default_transaction_read_only = on'.encode())
    service.execute(sessions)
    try:
        yield
    finally:
        service.database.execute(f'alter database "{name}" reset default_transaction_read_only'.encode())
        service.execute(sessions)


@pytest.mark.slow
def test_a_database_that_is_read_only(operator: Operator, service: Service) -> None:
    campaign = service.due_campaign()
    with read_only(service):
        response = service.post()
        assert response.status_code == 503
        assert "read-only" in response.json()["detail"]
        [finding] = [each for each in operator.findings() if each["check"] == "writing"]
        assert "is read-only (SQLSTATE 25006)" in finding["message"]
    assert launched(service, campaign)

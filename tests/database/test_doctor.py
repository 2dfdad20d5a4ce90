"""What the database finds when the doctor asks it: each thing is broken once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from local.migration import MIGRATIONS
from local.postgres import SUPERUSER
from runner.commands.findings.database import MIGRATION
from runner.commands.findings.facts import DoctorResult
from tests.conftest import Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

INSTALLING = (Path(__file__).parents[2] / "docs" / "installing.md").read_text()


def facts(run: Automation) -> Mapping[str, Any]:
    """The facts of an examination in which every look succeeded."""
    answer = run.doctor()
    assert answer["errors"] == {}
    assert DoctorResult.model_validate(answer).model_dump(mode="json") == answer
    found: Mapping[str, Any] = answer["facts"]
    return found


def named(*ids: UUID, name: str = "Campaign") -> dict[str, Any]:
    """What the doctor says of so many campaigns or organizations, all of which were looked at."""
    return {
        "is_cut": False,
        "lacking": len(ids),
        "named": [{"id": str(each), "name": name, "because": None} for each in ids],
    }


@pytest.mark.every_version
def test_nothing_is_found_where_all_is_well(organization: UUID, factory: Factory, automation: Automate) -> None:
    factory.contacts(organization, 3)
    factory.campaign(organization)
    automation().launch()
    factory.campaign(organization)
    found = dict(facts(automation()))
    assert [guard["name"] for guard in found.pop("guards") if guard["function_name"]] == []
    told = found.pop("last_call")
    assert 0 <= told["seconds_ago"] < 30
    assert told["is_any_due"] is True
    run = automation(max_lateness_minutes=60)
    run.step()
    told = facts(run)["last_call"]
    assert (told["system_user_id"], told["system_user_roles"]) == (str(run.system_user), run.roles)
    assert told["max_lateness_minutes"] == 60
    assert found == {
        "version": MIGRATION,
        "objects": [],
        "requirements": [],
        "grants": [],
        "writing": None,
        "locks": [],
        "indexes": [],
        "system_user": True,
        "memberships": {"is_cut": False, "lacking": 0, "named": []},
        "schedules": {"is_cut": False, "lacking": 0, "named": []},
        "tenants": {"is_cut": False, "lacking": 0, "named": []},
        "closed": {"is_cut": False, "lacking": 0, "named": [], "columns": None, "statement": None},
        "recipients": {"is_cut": False, "lacking": 0, "named": []},
        "nobody": {"is_cut": False, "lacking": 0, "named": []},
        "dropped": {"is_cut": False, "lacking": 0, "named": []},
        "unmatched": {"is_cut": False, "lacking": 0, "named": []},
        "audiences": {"contacts": 3, "is_sample": False, "organizations": []},
    }


@pytest.mark.parametrize(
    ("harm", "fact", "value"),
    [
        (
            "alter table contacts rename country to land",
            "requirements",
            [
                {
                    "severity": "error",
                    "lack": "column public.contacts.country is missing",
                    "remedy": "alter table public.contacts add column country text;"
                    " -- or rename one of yours: first_name, last_name, land",
                }
            ],
        ),
        ("delete from profiles", "system_user", False),
    ],
)
def test_what_is_broken_is_a_fact_and_the_only_one(
    harm: LiteralString, fact: str, value: object, automation: Automate, database: Connection
) -> None:
    run = automation()
    well = facts(run)
    database.execute(harm)
    assert {**facts(run), "last_call": None} == {**well, fact: value, "last_call": None}


@pytest.mark.parametrize(
    ("harm", "lack"),
    [
        ("revoke insert on campaign_recipients from service_role", "insert on public.campaign_recipients"),
        (
            "revoke execute on function campaign_runner.prune(timestamptz, integer) from service_role",
            "execute on function campaign_runner.prune(timestamp with time zone,integer)",
        ),
    ],
)
def test_a_missing_privilege_comes_with_the_statement_that_grants_it(
    harm: LiteralString, lack: str, automation: Automate, database: Connection
) -> None:
    run = automation()
    database.execute(harm)
    [grant] = facts(run)["grants"]
    assert grant["lack"] == lack
    database.execute(grant["statement"].encode())
    assert facts(run)["grants"] == []


def test_a_read_only_database_is_found_by_writing(automation: Automate) -> None:
    run = automation()
    run.connection.execute("set default_transaction_read_only = on")
    try:
        assert facts(run)["writing"] == "25006"
    finally:
        run.connection.execute("set default_transaction_read_only = off")


@pytest.mark.every_version
@pytest.mark.parametrize(
    ("statement", "mode"),
    [
        ("lock table contacts in share mode", "ShareLock"),
        ("lock table profiles in access exclusive mode", "AccessExclusiveLock"),
    ],
)
def test_the_session_that_locks_a_table_is_named(
    statement: LiteralString, mode: str, automation: Automate, database_url: str
) -> None:
    with psycopg.connect(database_url, application_name="a person") as person:
        person.execute(statement)
        answer = automation().doctor()
        [blocker] = answer["facts"]["locks"]
        assert (blocker["pid"], blocker["application"]) == (person.info.backend_pid, "a person")
        assert (blocker["state"], blocker["mode"]) == ("idle in transaction", mode)
        assert set(answer["errors"].values()) <= {"55P03"}
    assert facts(automation())["locks"] == []


def test_a_transaction_that_locks_rows_is_named_after_a_minute(
    organization: UUID, factory: Factory, automation: Automate, database: Connection, database_url: str
) -> None:
    campaign = factory.campaign(organization)
    with psycopg.connect(database_url) as person:
        person.execute("update campaigns set name = 'locked' where id = %s", (campaign,))
        assert facts(automation())["locks"] == []
        # A minute without waiting for one.
        body = "select pg_get_functiondef('campaign_runner.blockers'::regproc) as head"
        [row] = records.rows(database, body)
        database.execute(row["head"].replace("interval '1 minute'", "interval '0'").encode())
        [blocker] = facts(automation())["locks"]
        assert (blocker["pid"], blocker["tables"]) == (person.info.backend_pid, ["public.campaigns"])


def test_a_function_that_is_gone_or_was_changed_is_named(automation: Automate, database: Connection) -> None:
    run = automation()
    database.execute("drop function campaign_runner.prune(timestamptz, integer)")
    database.execute(
        "create or replace function campaign_runner.organization_name(p_organization_id uuid) returns text"
        " language plpgsql stable as $$ begin return 'Acme'; end $$"
    )
    # Its body is parsed when the function is created, and has no source.
    database.execute(
        "create or replace function campaign_runner.join_versions(p_campaign xid, p_rules xid) returns text"
        " language sql immutable return 'same'"
    )
    assert facts(run)["objects"] == [
        "function campaign_runner.join_versions(xid,xid) was changed",
        "function campaign_runner.organization_name(uuid) was changed",
        "function campaign_runner.prune(timestamp with time zone,integer) is gone",
    ]


def test_a_table_of_the_ledger_that_is_gone_is_named(automation: Automate, database: Connection) -> None:
    run = automation()
    database.execute("drop table campaign_runner.run_errors")
    assert facts(run)["objects"] == ["table campaign_runner.run_errors is gone"]


def test_a_scheduled_campaign_that_is_deleted_is_not_due(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute("alter table campaigns add deleted_at timestamptz")
    campaign = factory.campaign(organization)
    automation(organization=factory.organization()).step()
    database.execute("update campaigns set deleted_at = now() where id = %s", (campaign,))
    told = facts(automation())["last_call"]
    assert (told["is_any_due"], told["passed_over_for"]) == (False, None)


def test_chosen_recipients_of_a_campaign_that_is_scheduled_again_are_named(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    campaign = factory.campaign(organization, name="Acme")
    factory.recipient(campaign, factory.contact(organization))
    automation().launch()
    factory.update("campaigns", campaign, status="scheduled")
    assert facts(automation())["recipients"] == named(campaign, name="Acme")


def test_a_call_for_one_organization_that_passes_over_the_campaigns_of_others_is_named(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.campaign(organization)
    other = factory.organization(name="Acme")
    automation(organization=other).step()
    assert facts(automation())["last_call"]["passed_over_for"] == {"id": str(other), "name": "Acme"}
    automation().step()
    assert facts(automation())["last_call"]["passed_over_for"] is None


def test_a_campaign_of_a_closed_organization_is_named(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    factory.campaign(organization, due_in=timedelta(hours=1))
    assert facts(automation())["closed"]["lacking"] == 0
    database.execute("alter table organizations add deleted_at timestamptz")
    database.execute("update organizations set deleted_at = now() where id = %s", (organization,))
    columns = ["organizations.deleted_at"]
    found = facts(automation())["closed"]
    statement = found["statement"]
    assert found == named(campaign) | {"columns": columns, "statement": statement}
    database.execute(statement.encode())
    assert facts(automation())["closed"]["lacking"] == 0
    database.execute("update organizations set deleted_at = now() where id = %s", (organization,))
    database.execute("alter table organizations add is_active boolean default false")
    database.execute("alter table campaigns add archived_at timestamptz default now()")
    assert facts(automation())["closed"]["columns"] == ["campaigns.archived_at", *columns, "organizations.is_active"]
    assert automation().health()["due"]["count"] == 0
    [obstacle] = automation().preview_campaign(campaign)["obstacles"]
    assert "deleted, archived or closed" in obstacle


@pytest.mark.parametrize(
    ("table", "column", "type_", "value"),
    [
        ("campaigns", "deleted_at", "timestamptz", "now()"),
        ("campaigns", "archived_at", "timestamptz", "now()"),
        ("organizations", "deleted_at", "timestamptz", "now()"),
        ("organizations", "archived_at", "timestamptz", "now()"),
        ("organizations", "is_active", "boolean", "false"),
    ],
)
def test_a_campaign_is_due_just_while_no_column_closes_the_campaign(
    table: str, column: str, type_: str, value: str, organization: UUID, factory: Factory, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    database.execute(f"alter table {table} add if not exists {column} {type_}".encode())
    query = (
        "select campaign_runner.closing_columns(%s) as columns, count(*) as due from campaign_runner.due_campaigns(%s)"
    )
    assert records.rows(database, query, campaign, [campaign]) == [{"columns": [], "due": 1}]
    database.execute(f"update {table} set {column} = {value}".encode())
    assert records.rows(database, query, campaign, [campaign]) == [{"columns": [f"{table}.{column}"], "due": 0}]


def test_a_launch_to_nobody_and_one_past_an_exclusion_are_named(
    organization: UUID, factory: Factory, automation: Automate, system_user: UUID
) -> None:
    nobody = factory.campaign(factory.organization(system_user))
    automation().launch()
    factory.contacts(organization, 3)
    everybody = factory.campaign(organization, rules={"exclude_tags": ["VIP"]})
    factory.campaign(organization)
    automation().launch()
    found = facts(automation())
    [empty] = found["nobody"]["named"]
    assert (empty["id"], empty["because"]) == (str(nobody), "the organization has no contacts")
    assert found["unmatched"] == named(everybody)
    assert found["dropped"] == named()


def test_a_launch_to_nobody_says_why(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    factory.contact(organization, email=None)
    database.execute("update contacts set is_subscribed = false where email is not null")
    campaign = factory.campaign(organization)
    automation().launch()
    [empty] = facts(automation())["nobody"]["named"]
    assert (empty["id"], empty["because"]) == (str(campaign), "3 unsubscribed, 1 no_address")
    factory.update("campaigns", campaign, status="scheduled")
    factory.recipient(campaign, factory.contact(organization), status="sent")
    automation().launch()
    [empty] = facts(automation())["nobody"]["named"]
    assert empty["because"] == "1 recipients were there before, none of them pending"


def test_a_launch_to_nobody_names_what_its_rules_include_and_no_contact_has(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 2)
    factory.campaign(organization, rules={"include_tags": ["Newsleter"], "include_emails": ["me@nowhere.example"]})
    automation().launch()
    [empty] = facts(automation())["nobody"]["named"]
    assert empty["because"] == "2 not_included; no contact has Newsleter, me@nowhere.example"


def test_a_launch_whose_recipients_a_trigger_dropped_is_named_and_the_trigger_with_its_statement(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    database.execute(
        """
        create function skip() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger "Skip" before insert on campaign_recipients for each row execute function skip();
        """
    )
    campaign = factory.campaign(organization)
    automation().launch()
    found = facts(automation())
    assert (found["dropped"], found["nobody"]) == (named(campaign), named())
    [trigger] = [guard for guard in found["guards"] if guard["function_name"]]
    assert (trigger["name"], trigger["function_name"]) == ("Skip", "public.skip")
    database.execute(trigger["statement"].encode())
    assert [guard for guard in facts(automation())["guards"] if guard["function_name"]] == []


def test_a_check_constraint_that_may_refuse_comes_with_the_statement_that_drops_it(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute("alter table campaign_recipients add constraint small check (contact_id is null) not valid")
    [guard] = [guard for guard in facts(automation())["guards"] if guard["name"] == "small"]
    assert "contact_id IS NULL" in guard["definition"]
    database.execute(guard["statement"].encode())
    assert "small" not in [guard["name"] for guard in facts(automation())["guards"]]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        ("create rule odd as on update to campaigns do instead nothing", "rule"),
        ("create unique index odd on campaign_recipients (contact_id)", "unique index"),
        ("alter table campaign_recipients add constraint odd unique (contact_id)", "unique index"),
        ("alter table campaign_recipients add odd text default current_setting('app.tenant', true)", "default"),
        ("alter table campaign_recipients add odd int generated always as (length(status)) stored", "generated column"),
        (
            "alter table campaign_recipients add constraint odd foreign key (contact_id) references profiles",
            "foreign key",
        ),
        (
            "create domain place as text constraint odd check (value <> ''); alter table campaigns add place place",
            "domain constraint",
        ),
    ],
    ids=["rule", "unique index", "unique constraint", "default", "generated column", "foreign key", "domain"],
)
def test_whatever_may_refuse_comes_with_the_statement_that_takes_it_away(
    harm: str, kind: str, automation: Automate, database: Connection
) -> None:
    def odd() -> list[dict[str, Any]]:
        return [guard for guard in facts(automation())["guards"] if guard["name"].endswith("odd")]

    database.execute(harm.encode())
    [guard] = odd()
    assert guard["kind"] == kind
    database.execute(guard["statement"].encode())
    assert odd() == []


def test_where_a_lock_kept_a_campaign_the_locks_on_other_tables_are_named(
    organization: UUID, factory: Factory, automation: Automate, database: Connection, database_url: str
) -> None:
    database.execute("create table counter (n integer)")
    with psycopg.connect(database_url, application_name="a person") as person:
        person.execute("lock table counter in share mode")
        assert facts(automation())["locks"] == []
        factory.contacts(organization, 3)
        factory.campaign(organization)
        automation(max_rows=1).step()
        database.execute("update campaign_runner.launches set failed_with = '55P03'")
        [lock] = facts(automation())["locks"]
        assert (lock["pid"], lock["tables"]) == (person.info.backend_pid, ["public.counter"])


def test_the_right_to_bypass_policies_is_one_lack(automation: Automate, database_url: str) -> None:
    run = automation()
    with psycopg.connect(database_url, user=SUPERUSER, autocommit=True) as superuser:
        superuser.execute("alter role service_role nobypassrls")
        try:
            [lack] = run.doctor()["facts"]["grants"]
        finally:
            superuser.execute("alter role service_role bypassrls")
    assert lack["lack"].startswith("bypassrls, so the row level security holds for it of public.activity_events, ")


def test_recipients_that_no_launch_wrote_are_named(organization: UUID, factory: Factory, automation: Automate) -> None:
    contact = factory.contact(organization)
    factory.campaign(organization, due_in=timedelta(hours=1))
    campaign = factory.campaign(organization)
    factory.recipient(campaign, contact)
    assert facts(automation())["recipients"] == named(campaign)


def test_a_missing_index_comes_with_the_command_that_builds_it(automation: Automate, database: Connection) -> None:
    run = automation()
    database.execute("drop index campaign_runner_bounced_idx")
    [index] = facts(run)["indexes"]
    assert (index["name"], index["is_invalid"]) == ("campaign_runner_bounced_idx", False)
    database.execute(index["command"].encode())
    assert facts(run)["indexes"] == []


def test_an_index_that_a_failed_build_left_is_invalid_and_duplicates_are_not_looked_for(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    """A unique index that is built concurrently, over two contacts with one address."""
    for _ in range(2):
        factory.contact(organization, email="ann@example.org")
    database.execute("drop index campaign_runner_addresses_idx")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("create unique index concurrently campaign_runner_addresses_idx on contacts (email)")
    found = facts(automation())
    [index] = found["indexes"]
    assert (index["name"], index["is_invalid"]) == ("campaign_runner_addresses_idx", True)
    assert index["command"].startswith("create index concurrently")
    assert found["audiences"] is None


def test_a_campaign_that_is_scheduled_without_a_time_or_for_never_is_named(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization, due_in=None)
    factory.campaign(organization, due_in=None, status="draft")
    assert facts(automation())["schedules"] == named(campaign)
    database.execute("update campaigns set scheduled_at = 'infinity' where id = %s", (campaign,))
    assert facts(automation())["schedules"] == named(campaign)


@pytest.mark.parametrize(("last", "minutes"), [("now() - interval '20 minutes'", 20), ("'-infinity'", None)])
@pytest.mark.parametrize("due_in", [timedelta(minutes=-1), timedelta(hours=1)], ids=["due", "later"])
def test_the_last_call_is_told_and_whether_a_campaign_waits_for_the_next_one(
    due_in: timedelta,
    last: LiteralString,
    minutes: int | None,
    organization: UUID,
    factory: Factory,
    automation: Automate,
    database: Connection,
) -> None:
    factory.campaign(organization, due_in=due_in)
    database.execute("update campaign_runner.last_call set at = " + last)
    told = facts(automation())["last_call"]
    assert (told["seconds_ago"] and told["seconds_ago"] // 60) == minutes
    assert told["is_any_due"] is (due_in < timedelta(0))


def test_the_clock_is_that_of_the_moment(automation: Automate) -> None:
    run = automation()
    before = time.time()
    assert before <= run.doctor()["clock"] <= time.time()


def test_the_last_migration_gives_the_version_that_the_program_expects() -> None:
    """Whoever adds a migration restates the function there, and the number here and there."""
    last = sorted(MIGRATIONS.glob("*.sql"))[-1]
    assert last.name.partition("_")[0] == MIGRATION
    assert f"return '{MIGRATION}';" in last.read_text()


def test_the_commands_that_build_an_index_are_those_of_the_readme(database: Connection, automation: Automate) -> None:
    [block] = re.findall(r"```sql\n(create index concurrently.*?)```", INSTALLING, re.DOTALL)
    database.execute("drop table campaign_recipients, contact_tag_assignments cascade")
    database.execute("create table campaign_recipients (campaign_id uuid, contact_id uuid)")
    database.execute("create table contact_tag_assignments (tag_id uuid, contact_id uuid)")
    database.execute("alter table contacts drop constraint contacts_tenant_key cascade")
    database.execute("drop index campaign_runner_due_idx, campaign_runner_addresses_idx, campaign_runner_opted_out_idx")
    commands = records.rows(database, "select command from campaign_runner.missing_indexes()")
    assert {row["command"] for row in commands} == set(block.strip().splitlines())


def test_many_organizations_without_the_system_user_are_counted_and_a_few_named(
    factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute(
        "with organizations as (insert into organizations (name) select n from generate_series(1, 1001) n returning id)"
        " insert into campaigns (organization_id, name, status, scheduled_at)"
        " select id, 'Campaign', 'scheduled', now() from organizations"
    )
    found = facts(automation())["memberships"]
    assert (found["lacking"], found["is_cut"], len(found["named"])) == (1000, True, 5)


def test_a_role_that_does_not_suffice_is_no_membership(
    factory: Factory, automation: Automate, system_user: UUID
) -> None:
    organization = factory.organization()
    factory.member(organization, system_user, role="viewer")
    factory.campaign(organization)
    [lacking] = facts(automation())["memberships"]["named"]
    assert lacking == {"id": str(organization), "name": "Organization", "role": "viewer"}


def test_what_looks_wrong_in_contacts_is_counted(organization: UUID, factory: Factory, automation: Automate) -> None:
    for email in ("not an address", "ann@example.org, bob@example.org", "ann@example.org"):
        factory.contact(organization, email=email)
    for _ in range(3):
        factory.contact(organization, email=None, mobile="+49 1")
    factory.contact(organization, email=None, mobile="+49 1", deleted_at="2026-01-01")
    factory.contact(organization, is_subscribed=None)
    [found] = facts(automation())["audiences"]["organizations"]
    assert found == {
        "organization_id": str(organization),
        **{"addresses": 0, "mobiles": 1, "malformed": 2, "unknown": 1},
    }


def test_one_address_of_several_contacts_is_seen_but_not_that_of_a_deleted_one(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    for email in ("ann@example.org", " ANN@example.org", "ann@example.org"):
        factory.contact(organization, email=email)
    factory.contact(organization, email="bob@example.org")
    factory.contact(organization, email="Bob@example.org", deleted_at="2026-01-01")
    for blank in ("", " ", None, None):
        factory.contact(organization, email=blank)
    factory.contact(factory.organization(), email="bob@example.org")
    assert facts(automation())["audiences"] == {
        "contacts": 10,
        "is_sample": False,
        "organizations": [
            {"organization_id": str(organization), "addresses": 1, "mobiles": 0, "malformed": 0, "unknown": 0}
        ],
    }


def test_of_many_contacts_a_sample_is_looked_at_and_that_is_said(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 2_001)
    assert facts(automation())["audiences"] == {"contacts": 2_000, "is_sample": True, "organizations": []}


def test_of_many_organizations_those_with_scheduled_campaigns_are_looked_at_first(
    factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute("insert into organizations (id, name) select gen_random_uuid(), n from generate_series(1, 30) n")
    organization = factory.organization(id=UUID(int=2**128 - 1))
    factory.campaign(organization)
    for _ in range(2):
        factory.contact(organization, email="ann@example.org")
    found = facts(automation())["audiences"]
    assert found["is_sample"] is True
    assert found["organizations"] == [
        {"organization_id": str(organization), "addresses": 1, "mobiles": 0, "malformed": 0, "unknown": 0}
    ]


def test_a_look_that_fails_leaves_the_others_and_tells_no_row(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.campaign(organization, due_in=None)
    database.execute("drop function campaign_runner.schema_version()")
    database.execute("alter table profiles rename to people")
    answer = automation().doctor()
    assert answer["errors"] == {"version": "42883", "system_user": "42P01"}
    [lack] = answer["facts"]["requirements"]
    assert (lack["lack"], lack["remedy"]) == ("table public.profiles is missing", "Apply supabase/migrations.")
    assert answer["facts"]["schedules"]["lacking"] == 1


def test_a_table_that_may_not_be_read_hides_nothing_else(automation: Automate, database: Connection) -> None:
    run = automation()
    database.execute("revoke select on profiles from service_role")
    answer = run.doctor()
    assert answer["errors"] == {"system_user": "42501"}
    [grant] = answer["facts"]["grants"]
    assert grant["statement"] == "grant select on public.profiles to service_role;"
    assert answer["facts"]["indexes"] == []


def test_nothing_that_the_examination_writes_stays(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.campaign(organization)
    before = records.everything(database)
    Automation(automation().connection, uuid4()).doctor()
    assert records.everything(database) == before

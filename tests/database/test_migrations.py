"""The migrations install on a new project, twice, and on one that has these tables already; and they uninstall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from local.migration import MIGRATIONS, apply_migrations
from tests.conftest import Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

EXISTING_PROJECT = Path(__file__).with_name("existing_project.sql").read_bytes()
CHECK = MIGRATIONS.with_name("check.sql").read_bytes()
UNINSTALL = MIGRATIONS.with_name("uninstall.sql").read_bytes()
INDEXES = {
    "campaign_runner_due_idx",
    "campaign_runner_contacts_idx",
    "campaign_runner_addresses_idx",
    "campaign_runner_opted_out_idx",
    "campaign_runner_recipients_idx",
    "campaign_runner_bounced_idx",
    "campaign_runner_tags_idx",
}

# All that defines the tables, types and functions of the schema public, without what the runner states that it adds.
SCHEMA: LiteralString = """
    select 'column' as kind, c.oid::regclass::text as of, concat_ws(' ', a.attnum, a.attname, a.atttypid::regtype,
        a.atttypmod, a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid)) as definition
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'p')
        and c.relname not like 'campaign\\_runner\\_%%'
    union all
    select 'table', c.oid::regclass::text, concat_ws(' ', c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity,
        obj_description(c.oid))
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'p', 'S')
        and c.relname not like 'campaign\\_runner\\_%%'
    union all
    select 'constraint', conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace
    union all
    select 'index', tablename, indexdef from pg_indexes
    where schemaname = 'public' and indexname not like 'campaign\\_runner\\_%%'
    union all
    select 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all
    select 'policy', tablename, concat_ws(' ', policyname, permissive, roles, cmd, qual, with_check)
    from pg_policies where schemaname = 'public'
    union all
    select 'function', oid::regprocedure::text, pg_get_functiondef(oid) from pg_proc
    where pronamespace = 'public'::regnamespace and proname not like 'campaign\\_runner\\_%%'
    union all
    select 'type', oid::regtype::text, (select string_agg(enumlabel, ' ' order by enumsortorder) from pg_enum
        where enumtypid = t.oid)
    from pg_type t where typnamespace = 'public'::regnamespace and typtype in ('e', 'd')
    union all
    select 'grant', table_name, concat_ws(' ', grantee, privilege_type) from information_schema.role_table_grants
    where table_schema = 'public' and grantee <> 'service_role'
        and table_name not like 'campaign\\_runner\\_%%'
    order by 1, 2, 3
"""


@pytest.fixture
def project(empty_database_url: str) -> Iterator[Connection]:
    """A database without the migrations, as its owner."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        yield connection


def migrate(project: Connection) -> list[str]:
    """Run every migration anew, whether or not it is recorded. Returns the warnings."""
    warnings: list[str] = []
    project.add_notice_handler(lambda notice: warnings.append(str(notice.message_primary)))
    for file in sorted(MIGRATIONS.glob("*.sql")):
        with project.transaction():
            project.execute(file.read_bytes())
    return [warning for warning in warnings if warning.startswith("campaign runner")]


def schema(project: Connection) -> list[dict[str, Any]]:
    return records.rows(project, SCHEMA)


def indexes(project: Connection) -> set[str]:
    query = "select indexname from pg_indexes where indexname like 'campaign\\_runner\\_%%'"
    return {row["indexname"] for row in records.rows(project, query)}


def launch(project: Connection, system_user: UUID, **options: Any) -> dict[str, Any]:
    """A run of the service role."""
    with psycopg.connect(project.info.dsn, password=project.info.password, autocommit=True) as service:
        service.execute("set role service_role")
        return Automation(service, system_user, **options).launch()


def examine(project: Connection, system_user: UUID, *campaigns: UUID) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The previews of campaigns, and what the doctor finds, as the service role."""
    with psycopg.connect(project.info.dsn, password=project.info.password, autocommit=True) as service:
        service.execute("set role service_role")
        run = Automation(service, system_user, roles=["marketer"], max_rows=3)
        return [run.preview_campaign(campaign) for campaign in campaigns], run.doctor()


@pytest.mark.every_version
def test_the_migrations_install_on_an_empty_project(project: Connection) -> None:
    apply_migrations(f"{project.info.dsn} password={project.info.password}")

    factory = Factory(project)
    system_user = factory.user()
    organization = factory.organization(system_user)
    contacts = factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    assert launch(project, system_user)["processed_count"] == 1
    assert set(records.recipients(project, campaign)) == set(contacts)


@pytest.mark.every_version
def test_the_migrations_install_twice_and_change_nothing_the_second_time(project: Connection) -> None:
    migrate(project)
    factory = Factory(project)
    system_user = factory.user()
    organization = factory.organization(system_user)
    contacts = factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    with psycopg.connect(project.info.dsn, password=project.info.password, autocommit=True) as service:
        service.execute("set role service_role")
        Automation(service, system_user, max_rows=2).first_chunk()
    before = schema(project), records.everything(project)

    assert migrate(project) == []

    assert (schema(project), records.everything(project)) == before
    assert launch(project, system_user)["campaigns"][0]["recipient_count"] == 6
    assert set(records.recipients(project, campaign)) == set(contacts)


def test_what_the_migrations_create_satisfies_their_own_requirements(project: Connection) -> None:
    migrate(project)
    assert records.rows(project, "select * from campaign_runner.check_project()") == []


@pytest.mark.every_version
def test_a_project_that_has_these_tables_is_changed_in_nothing_but_the_stated_indexes_and_grants(
    project: Connection,
) -> None:
    project.execute(EXISTING_PROJECT)
    before = schema(project)

    assert [warning[:40] for warning in migrate(project)] == [warning[:40] for warning in WARNINGS]

    assert schema(project) == before
    # Its own indexes serve for the contacts; its unique keys have the columns the other way round.
    assert indexes(project) == INDEXES - {"campaign_runner_contacts_idx"}
    migrate(project)
    assert indexes(project) == INDEXES - {"campaign_runner_contacts_idx"}


@pytest.mark.every_version
@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_a_project_that_has_these_tables_can_launch(max_rows: int, project: Connection) -> None:
    project.execute(EXISTING_PROJECT)
    migrate(project)
    factory = Factory(project)
    system_user = factory.user()
    organization = factory.organization()
    factory.member(organization, system_user, role="marketer")
    vip, lapsed, *others = factory.contacts(organization, 6)
    factory.contact(organization, is_subscribed=False)
    factory.contact(organization, country="de")
    factory.contact(organization, email=None, phone="+41 79 000 00 00")
    bounced = factory.contact(organization)
    twin = factory.contact(organization, id=UUID(int=2**128 - 1), email="Contact3@example.org")
    for name, contact in (("vip", vip), ("lapsed", lapsed)):
        tag = uuid4()
        factory.insert("contact_tags", {"id": tag, "organization_id": organization, "name": name})
        factory.assign(tag, contact)
    factory.recipient(factory.campaign(organization, status="archived"), bounced, status="bounced")
    everybody = factory.campaign(organization)
    factory.insert(
        "campaign_target_rules",
        {"campaign_id": everybody, "exclude_tags": ["lapsed"], "exclude_countries": ["DE"]},
    )
    chosen = factory.campaign(organization, due_in=timedelta(minutes=-2))
    factory.recipient(chosen, vip, status="queued")
    verdicts = oracle.audience(oracle.read(project), everybody)
    previews, health = examine(project, system_user, everybody, chosen)

    report = launch(project, system_user, roles=["marketer"], max_rows=max_rows)

    assert report["errors"] == []
    assert {c["campaign_id"]: (c["recipients_generated"], c["recipient_count"]) for c in report["campaigns"]} == {
        str(chosen): (False, 1),
        str(everybody): (True, 5),
    }
    assert (health["errors"], health["facts"]["indexes"]) == ({}, [])
    assert {lack["severity"] for lack in health["facts"]["requirements"]} == {"warning"}
    assert [(p["generates"], p["recipient_count"], p["excluded"]) for p in previews] == [
        (True, 5, oracle.counts(verdicts)),
        (False, 1, {"unsubscribed": 1, "recipients_exist": 7, "no_address": 1, "duplicate_address": 1}),
    ]
    assert set(records.recipients(project, everybody)) == oracle.recipients(verdicts) == {vip, *others}
    assert twin not in oracle.recipients(verdicts)
    assert records.recipients(project, chosen) == {vip: "queued"}
    query = "select recipients_total, status_changes, updated_at is not null as touched from campaigns where id = %s"
    assert records.rows(project, query, everybody) == [
        {"recipients_total": 5, "status_changes": 1, "touched": True},
    ]
    query = "select from campaign_recipients where campaign_id = %s and personalization ? 'email'"
    assert len(records.rows(project, query, everybody)) == 5
    # What such a project lacks is NULL to the sender; what is not pending is not shown.
    query = "select contact_id, mobile, first_name, last_name from campaign_runner_sendable"
    assert {tuple(row.values()) for row in records.rows(project, query)} == {
        (contact, None, None, None) for contact in (vip, *others)
    }


WARNINGS = ["campaign runner: contacts have a column p", "campaign runner: public.campaign_recipients forces row"]
UNFILLED = " must not be NULL, has no default, and is not filled by the runner"
LACKS = {
    "public.organization_members is a view or a foreign table, where a table is needed": (
        "No statement can mend that: give the view another name, and make the table public.organization_members."
    ),
    "column public.contact_tags.name is missing": (
        "alter table public.contact_tags add column name text; -- or rename one of yours: label, color"
    ),
    "column public.campaign_target_rules.include_tags is text, where text[] is needed": (
        "alter table public.campaign_target_rules alter column include_tags type text[] using include_tags::text[];"
    ),
    "column public.contacts.is_active is text, where boolean is needed": (
        "alter table public.contacts alter column is_active type boolean using is_active::boolean;"
    ),
    "column public.campaigns.scheduled_at is timestamp without time zone, where timestamp with time zone is needed": (
        "alter table public.campaigns alter column scheduled_at type timestamp with time zone"
        " using scheduled_at::timestamp with time zone;"
    ),
    "enum public.campaign_state of public.campaigns.status lacks the value sending": (
        "alter type public.campaign_state add value 'sending';"
    ),
    "public.campaign_recipients has no unique key on (campaign_id, contact_id)": (
        "create unique index concurrently on public.campaign_recipients (campaign_id, contact_id);"
    ),
    "public.campaign_target_rules has no unique key on (campaign_id)": (
        "create unique index concurrently on public.campaign_target_rules (campaign_id);"
    ),
    "column public.contacts.country is missing": (
        "alter table public.contacts add column country text; -- or rename one of yours: phone, custom_fields"
    ),
    "column public.contact_tag_assignments.tag_id is missing": (
        "alter table public.contact_tag_assignments add column tag_id uuid; -- or rename one of yours: id, assigned_at"
    ),
    "column public.contacts.email is missing": (
        "alter table public.contacts add column email text; -- or rename one of yours: phone, custom_fields"
    ),
    "column public.activity_events.payload is missing": (
        "alter table public.activity_events add column payload jsonb; -- or rename one of yours: source"
    ),
    "column public.contact_tag_assignments.contact_id is missing": (
        "alter table public.contact_tag_assignments add column contact_id uuid;"
        " -- or rename one of yours: id, assigned_at"
    ),
    "column public.campaigns.name is missing": (
        "alter table public.campaigns add column name text;"
        " -- or rename one of yours: subject, status_changes, recipients_total"
    ),
    "column public.contact_tags.organization_id is missing": (
        "alter table public.contact_tags add column organization_id uuid; -- or rename one of yours: label, color"
    ),
    "column public.contacts.is_subscribed is text, where boolean is needed": (
        "alter table public.contacts alter column is_subscribed type boolean using is_subscribed::boolean;"
    ),
    "column public.campaigns.updated_at is bigint, where timestamp with time zone is needed": (
        "No statement can mend that: Postgres casts no bigint to timestamp with time zone."
        " Give the column another name."
    ),
    "enum public.kind of public.activity_events.event_type lacks the value campaign.sending": (
        "alter type public.kind add value 'campaign.sending';"
    ),
    "column public.activity_events.source must not be NULL, has no default, and is not filled by the runner": (
        "Fill it in a BEFORE INSERT trigger, or: alter table public.activity_events alter column source set"
        " default 'VALUE'; -- with your value"
    ),
    "constraint known of public.campaign_recipients does not allow status 'pending'": (
        "alter table public.campaign_recipients drop constraint known, add constraint known check"
        " ((((status)::text = ANY (ARRAY['queued'::text, 'bounced'::text]))) or status = 'pending') not"
        " valid;"
    ),
    "public.campaigns is published with its updates and deletes, and has no replica identity": (
        "alter table public.campaigns replica identity full;"
    ),
}


def checked(project: Connection) -> list[dict[str, Any]]:
    """What supabase/check.sql shows."""
    with project.cursor(row_factory=dict_row) as cursor:
        cursor.execute(CHECK)
        while cursor.nextset():
            pass
        return cursor.fetchall()


def batched(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each lack with its remedy."""
    return zip(lines[::2], lines[1::2], strict=True)


def test_the_check_tells_an_empty_project_what_the_migrations_create(project: Connection) -> None:
    rows = checked(project)
    assert {row["severity"] for row in rows} == {"note"}
    assert "table public.campaigns is missing" in {row["lack"] for row in rows}
    assert len(rows) == 10


def test_a_sender_that_knows_another_word_than_pending_is_warned_of(project: Connection) -> None:
    migrate(project)
    assert [row for row in checked(project) if "default" in row["lack"]] == []
    project.execute("alter table campaign_recipients alter status set default 'queued'")
    [warning] = [row for row in checked(project) if "default" in row["lack"]]
    assert warning["severity"] == "warning"
    assert warning["lack"].endswith("has the default 'queued'::text, and the runner writes 'pending'")


@pytest.mark.parametrize(
    ("harm", "lack", "remedy"),
    [
        (
            "alter table activity_events add source text not null",
            "column public.activity_events.source" + UNFILLED,
            "alter table activity_events alter source drop not null",
        ),
        (
            "alter table campaign_recipients add constraint known check (status in ('queued', 'bounced'))",
            "constraint known of public.campaign_recipients does not allow status 'pending'",
            None,
        ),
        (
            "create type kind as enum ('other'); alter table activity_events alter event_type type kind using null",
            "enum public.kind of public.activity_events.event_type lacks the value campaign.sending",
            None,
        ),
        (
            "alter table campaigns drop updated_at, add updated_at bigint",
            "column public.campaigns.updated_at is bigint, where timestamp with time zone is needed",
            "alter table campaigns drop updated_at",
        ),
        (
            "create publication everything for table campaigns; alter table campaigns replica identity nothing",
            "public.campaigns is published with its updates and deletes, and has no replica identity",
            None,
        ),
    ],
)
def test_what_the_runner_could_not_write_is_found_before_and_mended_by_its_remedy(
    harm: LiteralString, lack: str, remedy: LiteralString | None, project: Connection
) -> None:
    project.execute(EXISTING_PROJECT)
    project.execute(
        "create table activity_events"
        " (organization_id uuid, user_id uuid, event_type text, payload jsonb, created_at timestamptz)"
    )
    project.execute(harm)
    [found] = [row for row in checked(project) if row["severity"] == "error"]
    assert found["lack"] == lack
    with pytest.raises(psycopg.errors.RaiseException, match="Nothing was changed"):
        migrate(project)
    project.execute((remedy or found["remedy"]).encode())
    migrate(project)


@pytest.mark.parametrize(
    ("harm", "lack"),
    [
        (
            "create schema app; create table app.campaigns (id uuid)",
            "table public.campaigns is missing, and there is a table",
        ),
        (
            "create table campaigns (id bigint primary key)",
            "column public.campaigns.id is bigint, where uuid is needed",
        ),
    ],
)
def test_a_project_of_another_kind_is_refused_before_a_table_is_made(
    harm: LiteralString, lack: str, project: Connection
) -> None:
    project.execute(harm)
    with pytest.raises(psycopg.errors.RaiseException, match=lack):
        migrate(project)
    assert records.rows(project, "select to_regclass('public.contacts') as made") == [{"made": None}]


@pytest.mark.every_version
def test_what_a_project_lacks_is_all_named_at_once_and_nothing_is_installed(project: Connection) -> None:
    project.execute(EXISTING_PROJECT)
    project.execute(
        """
        alter table campaign_recipients drop constraint campaign_recipients_contact_id_campaign_id_key;
        alter table campaign_target_rules drop constraint campaign_target_rules_campaign_id_key;
        create unique index half on campaign_recipients (campaign_id, contact_id) where status = 'pending';
        alter table campaign_target_rules drop column exclude_bounced;
        alter table campaign_target_rules alter column include_tags drop default;
        alter table campaign_target_rules alter column include_tags type text;
        alter table contacts alter column is_active drop default;
        alter table contacts alter column is_active type text;
        alter table campaigns alter column scheduled_at type timestamp;
        alter type campaign_state rename value 'sending' to 'running';
        alter table contact_tags rename column name to label;
        drop table organization_members cascade;
        create view organization_members as select null::uuid as organization_id, null::uuid as user_id, '' as role;
        alter table contacts drop column country, drop column email cascade;
        alter table campaigns drop column name cascade;
        alter table contacts alter column is_subscribed drop default;
        alter table contacts alter column is_subscribed type text;
        alter table contact_tag_assignments drop column tag_id, drop column contact_id;
        alter table contact_tags drop column organization_id cascade;
        alter table campaigns drop column if exists updated_at, add column updated_at bigint;
        create type kind as enum ('other');
        create table activity_events (organization_id uuid, user_id uuid, event_type kind, source text not null);
        create publication everything for table campaigns;
        alter table campaigns replica identity nothing;
        alter table campaign_recipients add constraint known check (status::text in ('queued', 'bounced'));
        """
    )
    before = schema(project)

    with pytest.raises(psycopg.errors.RaiseException) as raised:
        migrate(project)

    assert len(LACKS) >= 20
    head, *lines = str(raised.value.diag.message_primary).splitlines()
    assert head == "campaign runner: this project cannot be used as it is. Nothing was changed."
    assert {lack.removeprefix("  - "): remedy.strip() for lack, remedy in batched(lines)} == LACKS
    assert {row["lack"]: row["remedy"] for row in checked(project) if row["severity"] == "error"} == LACKS
    assert schema(project) == before
    assert indexes(project) == set()


@pytest.mark.parametrize(
    "key",
    [
        "create unique index on keys (a, b) where a is not null",
        "create unique index on keys (a, b, c)",
        "create unique index on keys (a)",
        "create unique index on keys (a, (b || ''))",
        "create index on keys (a, b)",
        "alter table keys add unique (a, b) deferrable",
    ],
)
def test_only_a_whole_immediate_unique_key_counts_as_one(key: LiteralString, database: Connection) -> None:
    database.execute("create table keys (a text, b text, c text)")
    database.execute(key)
    query = "select campaign_runner.has_index('keys', '{a,b}', true) as has"
    assert records.rows(database, query) == [{"has": False}]


@pytest.mark.parametrize(
    "key", ["create unique index on keys (b, a)", "create unique index on keys (a, b) include (c)"]
)
def test_a_unique_key_counts_in_any_order_of_its_columns(key: LiteralString, database: Connection) -> None:
    database.execute("create table keys (a text, b text, c text)")
    database.execute(key)
    query = "select campaign_runner.has_index('keys', '{a,b}', true) as has"
    assert records.rows(database, query) == [{"has": True}]


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("create index on keys (a, b)", True),
        ("create index on keys (a, b, c desc)", True),
        ("create index on keys (a, b desc)", False),
        ("create index on keys using brin (a, b)", False),
        ("create index on keys (b, a)", False),
    ],
)
def test_an_index_counts_where_it_gives_the_order(key: LiteralString, counts: bool, database: Connection) -> None:
    database.execute("create table keys (a text, b text, c text)")
    database.execute(key)
    assert records.rows(database, "select campaign_runner.has_index('keys', '{a,b}') as has") == [{"has": counts}]


def test_a_column_of_a_domain_with_a_default_is_filled(project: Connection) -> None:
    migrate(project)
    project.execute("create domain channel as text default 'mail'")
    project.execute("alter table campaign_recipients add channel channel not null")
    assert [row for row in checked(project) if "channel" in row["lack"]] == []


def test_a_required_column_that_a_trigger_may_fill_is_warned_of(project: Connection) -> None:
    project.execute(EXISTING_PROJECT)
    project.execute("alter table campaign_recipients add column tenant_region text not null")
    project.execute("create function fill() returns trigger language plpgsql as $$ begin return new; end $$")
    project.execute("create trigger fill before insert on campaign_recipients for each row execute function fill()")

    warnings = migrate(project)

    assert any("column public.campaign_recipients.tenant_region must not be NULL" in each for each in warnings)


def test_a_database_that_is_no_supabase_project_is_refused(project: Connection) -> None:
    name = f"bare_{uuid4().hex}"
    project.execute(f"create database {name}".encode())
    try:
        with (
            psycopg.connect(project.info.dsn, password=project.info.password, dbname=name, autocommit=True) as bare,
            pytest.raises(psycopg.errors.RaiseException, match="this is not a Supabase database"),
        ):
            migrate(bare)
    finally:
        project.execute(f"drop database {name}".encode())


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_uninstalling_leaves_the_public_tables_and_their_rows_and_nothing_of_the_runner(
    existing: bool, project: Connection
) -> None:
    if existing:
        project.execute(EXISTING_PROJECT)
    migrate(project)
    factory = Factory(project)
    system_user = factory.user()
    organization = factory.organization()
    factory.member(organization, system_user, role="owner")
    factory.contacts(organization, 3)
    factory.campaign(organization)
    launch(project, system_user, roles=["owner"])
    before = (
        schema(project),
        {
            table: rows
            for table, rows in records.everything(project).items()
            if not table.startswith("campaign_runner.")
        },
    )

    project.execute(UNINSTALL)

    assert (schema(project), records.everything(project)) == before
    assert indexes(project) == set()
    assert records.rows(project, "select from pg_namespace where nspname = 'campaign_runner'") == []
    assert records.rows(project, "select from pg_proc where proname like 'campaign%%runner%%'") == []
    assert records.rows(project, "select from pg_class where relname like 'campaign%%runner%%'") == []
    migrate(project)
    assert indexes(project) != set()


@pytest.mark.parametrize("table", ["contact_tags", "contact_tag_assignments", "activity_events"])
def test_a_project_of_its_own_may_do_without_tags_and_events(table: LiteralString, project: Connection) -> None:
    project.execute(EXISTING_PROJECT)
    project.execute(b"drop table if exists " + table.encode() + b" cascade")
    migrate(project)
    factory = Factory(project)
    system_user = factory.user()
    organization = factory.organization()
    factory.member(organization, system_user, role="owner")
    contacts = factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    factory.insert("campaign_target_rules", {"campaign_id": campaign, "exclude_tags": ["gone"]})

    assert launch(project, system_user, roles=["owner"])["processed_count"] == 1

    assert set(records.recipients(project, campaign)) == set(contacts)

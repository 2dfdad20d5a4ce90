"""Who may do what: nobody but the service role runs anything, and members see and edit what is theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.conftest import Connect, Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

OTHERS = ["anon", "authenticated"]
# These write to the project's tables, or call its function, by the search path of the app.
WRITERS = (
    "campaign_runner.call_exclusions(uuid,uuid[])",
    "campaign_runner.delete_recipients(uuid,uuid[],tid[])",
    "campaign_runner.insert_event(uuid,uuid,jsonb)",
    "campaign_runner.insert_recipients(uuid,uuid,uuid[])",
    "campaign_runner.set_sending(uuid)",
    "campaign_runner.set_sending_and_time(uuid,timestamp with time zone)",
)
FUNCTIONS = "p.pronamespace in (to_regnamespace('campaign_runner'), to_regnamespace('public'))"
CALLS: dict[str, Callable[[Automation], object]] = {
    "step": Automation.step,
    "report": Automation.report,
    "retry": Automation.retry,
    "preview": Automation.preview,
    "preview of a campaign": lambda run: run.preview_campaign(uuid4()),
    "health": Automation.health,
    "history": lambda run: run.history(uuid4()),
    "campaigns": Automation.campaigns,
    "doctor": Automation.doctor,
}
STATEMENTS: dict[str, LiteralString] = {
    "prune": "select campaign_runner.prune()",
    "audience": "select campaign_runner.evaluate_contacts(gen_random_uuid())",
    "mark_sending": "select campaign_runner.mark_sending(gen_random_uuid(), null, gen_random_uuid(), now())",
    "sendable": "select * from public.campaign_runner_sendable",
    "ledger": "select * from campaign_runner.launches",
    "recipients": "insert into campaign_recipients (campaign_id) values (gen_random_uuid())",
    "recipients of a campaign": "delete from campaign_recipients",
    "events": "insert into activity_events (event_type) values ('campaign.sending')",
    "membership": "insert into organization_members (user_id) values (gen_random_uuid())",
    "profile": "insert into profiles (id) values (gen_random_uuid())",
}


@pytest.fixture(params=OTHERS)
def owner(request: pytest.FixtureRequest, organization: UUID, factory: Factory, connect_as: Connect) -> Connection:
    """The connection of an owner of the organization, signed in and not."""
    user = factory.user()
    factory.member(organization, user, role="owner")
    return connect_as(request.param, user)


@pytest.mark.every_version
@pytest.mark.parametrize("call", CALLS)
def test_a_call_of_the_service_role_is_refused_to_others(call: str, owner: Connection, system_user: UUID) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        CALLS[call](Automation(owner, system_user))


@pytest.mark.every_version
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_of_the_service_role_is_refused_to_others(statement: str, owner: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute(STATEMENTS[statement])


def test_every_function_is_closed_to_others_and_open_to_the_service_role(database: Connection) -> None:
    query = f"""
        select p.oid::regprocedure::text as function
        from pg_proc p
        where {FUNCTIONS}
            and (
                has_function_privilege('anon', p.oid, 'execute')
                or has_function_privilege('authenticated', p.oid, 'execute')
                or p.proacl is null
                or exists (select from aclexplode(p.proacl) a where a.grantee = 0)
                or not has_function_privilege('service_role', p.oid, 'execute') and p.prorettype <> 'trigger'::regtype
            )
    """
    assert records.rows(database, query) == []


# The service role may not see what other sessions do.
DEFINERS = ("campaign_runner.blockers()",)


def test_every_function_fixes_its_search_path_runs_as_its_caller_and_has_a_comment(database: Connection) -> None:
    query = f"""
        select p.oid::regprocedure::text as function
        from pg_proc p
        where {FUNCTIONS}
            and (
                p.prosecdef and p.oid::regprocedure::text not in ({", ".join(f"'{name}'" for name in DEFINERS)})
                or obj_description(p.oid, 'pg_proc') is null
                -- A body that was parsed when the function was created looks nothing up.
                or not (p.prosqlbody is not null or 'search_path=pg_catalog, pg_temp' = any (p.proconfig))
                and p.oid::regprocedure::text not in ({", ".join(f"'{name}'" for name in WRITERS)})
            )
    """
    assert records.rows(database, query) == []


def test_every_table_has_row_level_security_and_a_comment(database: Connection) -> None:
    query = """
        select c.oid::regclass::text as "table" from pg_class c
        where c.relnamespace in ('campaign_runner'::regnamespace, 'public'::regnamespace)
            and c.relkind = 'r'
            and (not c.relrowsecurity or obj_description(c.oid, 'pg_class') is null)
    """
    assert records.rows(database, query) == []


def test_no_function_has_a_second_one_of_its_name(database: Connection) -> None:
    query = f"select proname from pg_proc p where {FUNCTIONS} group by pronamespace, proname having count(*) > 1"
    assert records.rows(database, query) == []


def test_a_stranger_sees_no_row(
    organization: UUID, factory: Factory, connect_as: Connect, automation: Automate
) -> None:
    factory.contacts(organization, 3)
    factory.campaign(organization, rules={})
    automation().launch()
    stranger = connect_as("authenticated", factory.user())
    for table in ("organizations", "contacts", "campaigns", "campaign_target_rules", "campaign_recipients"):
        assert records.rows(stranger, f"select from {table}") == []


def test_a_member_sees_the_rows_of_its_organization_only(
    organization: UUID, factory: Factory, connect_as: Connect, automation: Automate, system_user: UUID
) -> None:
    user = factory.user()
    factory.member(organization, user)
    other = factory.organization(system_user)
    for tenant in (organization, other):
        factory.tag(tenant, "vip", *factory.contacts(tenant, 2))
        factory.campaign(tenant, rules={})
    automation().launch()

    member = connect_as("authenticated", user)

    for table in (
        *("contacts", "contact_tags", "contact_tag_assignments", "campaigns", "campaign_target_rules"),
        *("campaign_recipients", "activity_events"),
    ):
        seen = records.rows(member, f"select organization_id from {table}")
        assert {row["organization_id"] for row in seen} == {organization}, table
    assert records.rows(member, "select id from organizations") == [{"id": organization}]
    assert records.rows(member, "select id from profiles") == [{"id": user}]
    assert {row["user_id"] for row in records.rows(member, "select user_id from organization_members")} == {user}


EDITS: dict[str, LiteralString] = {
    "contacts": "insert into contacts (organization_id, email) values (%s, 'new@example.org')",
    "contact_tags": "insert into contact_tags (organization_id, name) values (%s, 'new')",
    "campaigns": "insert into campaigns (organization_id, name) values (%s, 'new')",
}


@pytest.mark.parametrize("table", EDITS)
def test_a_member_edits_the_rows_of_its_organization_only(
    table: str, organization: UUID, factory: Factory, connect_as: Connect
) -> None:
    user = factory.user()
    factory.member(organization, user)
    member = connect_as("authenticated", user)

    assert member.execute(EDITS[table], (organization,)).rowcount == 1

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        member.execute(EDITS[table], (factory.organization(),))


def test_a_member_cannot_move_a_campaign_to_another_organization(
    organization: UUID, factory: Factory, connect_as: Connect
) -> None:
    user = factory.user()
    factory.member(organization, user)
    factory.campaign(organization)
    member = connect_as("authenticated", user)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        member.execute("update campaigns set organization_id = %s", (factory.organization(),))


def test_a_recipient_of_another_organization_cannot_be_written_at_all(
    organization: UUID, factory: Factory, database: Connection
) -> None:
    """Not even by the owner of the tables, whom no policy binds."""
    campaign = factory.campaign(organization)
    foreign = factory.contact(factory.organization())
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="campaign_recipients_contact_of_tenant"):
        factory.recipient(campaign, foreign)


def test_a_recipient_and_an_assignment_get_the_organization_that_they_belong_to(
    organization: UUID, factory: Factory, database: Connection
) -> None:
    contact, campaign = factory.contact(organization), factory.campaign(organization)
    tag = factory.tag(organization, "vip")

    factory.insert("campaign_recipients", {"campaign_id": campaign, "contact_id": contact})
    factory.insert("contact_tag_assignments", {"tag_id": tag, "contact_id": contact})

    for table in ("campaign_recipients", "contact_tag_assignments"):
        assert records.rows(database, f"select organization_id from {table}") == [{"organization_id": organization}]


def test_a_campaign_of_an_unknown_status_cannot_be_written(organization: UUID, factory: Factory) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="campaigns_status_is_known"):
        factory.campaign(organization, status="launched")


def test_everything_of_an_organization_goes_with_it(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.tag(organization, "vip", *factory.contacts(organization, 2))
    factory.campaign(organization, rules={})
    automation().launch()

    factory.delete("organizations", [organization])

    for table in ("contacts", "contact_tags", "campaigns", "campaign_recipients", "activity_events"):
        assert records.rows(database, f"select from {table}") == []
    assert automation(organization=None).launch()["processed_count"] == 0

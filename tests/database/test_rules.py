"""Rules on the data that people have: other tenants, absent columns, opt-outs, and rules of the project's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

HOOK = """
create table public.suppressed_addresses (email text primary key);
create function public.campaign_runner_exclusions(p_campaign_id uuid, p_contact_ids uuid[])
returns table (contact_id uuid, reason text)
language sql stable
as $$
    select c.id, 'suppressed' from contacts c join suppressed_addresses s on s.email = lower(c.email)
    where c.id = any (p_contact_ids)
$$;
grant select on public.suppressed_addresses to service_role;
grant execute on function public.campaign_runner_exclusions(uuid, uuid[]) to service_role;
"""


def launched(automation: Automate, database: Connection, campaign: UUID, **options: Any) -> set[UUID]:
    """The recipients of the campaign after its launch, which preview and oracle agree with."""
    preview = automation(**options).preview_campaign(campaign)
    automation(**options).launch()
    recipients = set(records.recipients(database, campaign))
    assert records.status(database, campaign) == "sending"
    assert preview["recipient_count"] == len(recipients)
    return recipients


def by_the_oracle(database: Connection, campaign: UUID) -> set[UUID]:
    return oracle.recipients(oracle.audience(oracle.read(database), campaign))


def test_rules_of_another_tenant_are_refused_by_the_tables_that_the_runner_makes(
    organization: UUID, factory: Factory, database: Connection
) -> None:
    campaign, other = factory.campaign(organization), factory.organization()
    with pytest.raises(Exception, match="campaign_target_rules_campaign_of_tenant"):
        factory.insert("campaign_target_rules", {"campaign_id": campaign, "organization_id": other})


def test_rules_and_tags_of_another_tenant_are_ignored_on_other_tables(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute("alter table campaign_target_rules drop constraint campaign_target_rules_campaign_of_tenant")
    database.execute(
        "alter table contact_tag_assignments drop constraint contact_tag_assignments_tag_of_tenant,"
        " drop constraint contact_tag_assignments_contact_of_tenant"
    )
    other = factory.organization()
    subscribed, unsubscribed = factory.contact(organization), factory.contact(organization, is_subscribed=False)
    campaign, tagged = factory.campaign(organization), factory.campaign(organization, rules={"exclude_tags": ["vip"]})
    factory.insert(
        "campaign_target_rules", {"campaign_id": campaign, "organization_id": other, "exclude_unsubscribed": False}
    )
    tag = factory.tag(organization, "vip")
    factory.insert("contact_tag_assignments", {"contact_id": subscribed, "tag_id": tag, "organization_id": other})
    assert launched(automation, database, campaign) == {subscribed} == by_the_oracle(database, campaign)
    assert set(records.recipients(database, tagged)) == {subscribed}
    assert unsubscribed not in records.recipients(database, campaign)


@pytest.mark.every_version
def test_rules_without_columns_or_without_their_table_are_not_set(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 2)
    factory.contact(organization, is_subscribed=False)
    database.execute(
        "alter table campaign_target_rules drop include_emails, drop include_tags, drop exclude_tags,"
        " drop exclude_countries, drop exclude_unsubscribed, drop exclude_inactive, drop exclude_bounced"
    )
    first = factory.campaign(organization, rules={})
    assert launched(automation, database, first) == set(contacts)
    database.execute("drop table campaign_target_rules")
    second = factory.campaign(organization)
    assert launched(automation, database, second) == set(contacts)


@pytest.mark.parametrize(
    "change",
    [
        "alter table campaigns add deleted_at timestamptz default now()",
        "alter table campaigns add archived_at timestamptz default now()",
        "alter table organizations add deleted_at timestamptz default now()",
        "alter table organizations add is_active boolean default false",
    ],
)
def test_what_is_deleted_archived_or_closed_is_not_due(
    change: str, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contact(organization)
    campaign = factory.campaign(organization)
    database.execute(change.encode())
    assert automation().launch() == {"processed_count": 0, "campaigns": [], "errors": []}
    assert automation().preview()["campaigns"] == []
    assert records.status(database, campaign) == "scheduled"


@pytest.mark.every_version
@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_an_address_that_opted_out_on_one_contact_opted_out_on_all(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contact(organization, email="ann@example.org", is_subscribed=False)
    factory.contact(organization, email=" Ann@example.org")
    factory.contact(organization, email="ben@example.org", is_subscribed=False, deleted_at="2026-01-01")
    ben = factory.contact(organization, email="ben@example.org")
    stranger = factory.organization()
    factory.contact(stranger, email="ben@example.org", is_subscribed=False)
    campaign = factory.campaign(organization)
    assert launched(automation, database, campaign, max_rows=max_rows) == {ben} == by_the_oracle(database, campaign)
    assert records.launch(database, campaign)["excluded"] == {"unsubscribed": 2, "deleted": 1}


def test_a_bounce_and_a_tag_stay_with_their_contact(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    bounced, tagged = (factory.contact(organization, email="ann@example.org") for _ in range(2))
    third = factory.contact(organization, email="ann@example.org")
    factory.recipient(factory.campaign(organization, status="sent"), bounced, status="bounced")
    factory.tag(organization, " VIP", tagged)
    campaign = factory.campaign(organization, rules={"exclude_bounced": True, "exclude_tags": ["vip "]})
    assert launched(automation, database, campaign) == {third} == by_the_oracle(database, campaign)


@pytest.mark.parametrize("blank", ["\u00a0", "\ufeff", "\u200b", "\u200d", " \t"])
def test_invisible_characters_around_an_address_are_blanks(
    blank: str, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    first = factory.contact(organization, id=UUID(int=1), email="ann@example.org")
    factory.contact(organization, id=UUID(int=2), email=f"{blank}Ann@example.org{blank}")
    factory.contact(organization, id=UUID(int=3), email=blank)
    campaign = factory.campaign(organization)
    assert launched(automation, database, campaign) == {first} == by_the_oracle(database, campaign)


@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_an_exclusion_that_matches_no_contact_is_a_warning_of_the_launch(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contact(organization, country=" de")
    factory.contact(organization, country="FR")
    factory.tag(organization, "vip")
    campaign = factory.campaign(
        organization, rules={"exclude_tags": ["VIP", "gone"], "exclude_countries": ["DE", "Atlantis"]}
    )
    run = automation(max_rows=max_rows)
    run.launch()
    unmatched = {"exclude_tags": ["gone"], "exclude_countries": ["atlantis"]}
    [shown] = automation().history(campaign)["launches"]
    assert shown["unmatched"] == unmatched
    assert [(w["campaign_id"], w["exclude_tags"], w["exclude_countries"]) for w in run.warnings] == [
        (str(campaign), unmatched["exclude_tags"], unmatched["exclude_countries"])
    ]


def test_a_launch_that_skips_generation_tells_how_many_recipients_were_there_and_how_many_are_pending(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    sent, pending = factory.contacts(organization, 2)
    copied, chosen = factory.campaign(organization), factory.campaign(organization)
    factory.recipient(copied, sent, status="sent")
    factory.recipient(chosen, sent, status="sent")
    factory.recipient(chosen, pending)
    run = automation()
    run.launch()
    for campaign, before in ((copied, (1, 0)), (chosen, (2, 1))):
        [shown] = automation().history(campaign)["launches"]
        assert (shown["recipients_before"], shown["pending_before"]) == before
    assert [warning["campaign_id"] for warning in run.warnings] == [str(copied)]


@pytest.mark.every_version
@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_the_projects_own_rules_count_everywhere(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute(HOOK)
    database.execute("insert into suppressed_addresses values ('ann@example.org')")
    factory.contact(organization, id=UUID(int=1), email="ann@example.org")
    others = factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    assert launched(automation, database, campaign, max_rows=max_rows) == set(others)
    assert records.launch(database, campaign)["excluded"] == {"project:suppressed": 1}
    database.execute("insert into suppressed_addresses select email from contacts where id = %s", (others[0],))
    [(sendable,)] = database.execute("select count(*) from campaign_runner_sendable").fetchall()
    assert sendable == 2


def test_a_twin_that_the_projects_rules_leave_out_takes_no_mail_away(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contact(organization, id=UUID(int=1), email="ann@example.org")
    second = factory.contact(organization, id=UUID(int=2), email="ann@example.org")
    database.execute(HOOK.replace("any (p_contact_ids)", f"any (p_contact_ids) and c.id <> '{second}'"))
    database.execute("insert into suppressed_addresses values ('ann@example.org')")
    campaign = factory.campaign(organization)
    by_itself = "select contact_id, reason from campaign_runner.evaluate_contacts(%s, %s)"
    assert database.execute(by_itself, (campaign, second)).fetchall() == [(second, None)]
    assert launched(automation, database, campaign, max_rows=1) == {second}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("alter function campaign_runner_exclusions(uuid, uuid[]) volatile", "is volatile"),
        ("alter function campaign_runner_exclusions(uuid, uuid[]) owner to service_role", "is not owned by the owner"),
        (
            "revoke execute on function campaign_runner_exclusions(uuid, uuid[]) from public, service_role",
            "cannot be executed by the service role",
        ),
        ("drop table suppressed_addresses", "SQLSTATE 42P01"),
    ],
)
def test_rules_of_the_project_that_cannot_be_used_are_the_error_of_a_campaign(
    change: str, words: str, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute(HOOK)
    database.execute("grant create on schema public to service_role")
    factory.contact(organization)
    factory.campaign(organization)
    database.execute(change.encode())
    [error] = automation().launch()["errors"]
    assert words in error["error"]


def test_reasons_of_the_project_are_bounded(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 30)
    numbered = "case c.id " + " ".join(f"when '{c}' then {n}" for n, c in enumerate(contacts)) + " end"
    database.execute(
        HOOK.replace(
            "'suppressed' from contacts c join suppressed_addresses s on s.email = lower(c.email)",
            f"case {numbered} when 0 then null when 1 then repeat('x', 64) else 'reason ' || {numbered} end"
            " from contacts c",
        )
    )
    campaign = factory.campaign(organization)
    assert launched(automation, database, campaign, max_rows=7) == set()
    excluded = records.launch(database, campaign)["excluded"]
    assert sum(excluded.values()) == 30
    assert len(excluded) <= 21
    assert excluded["project:other"] >= 2


@pytest.mark.every_version
@pytest.mark.parametrize("table", ["campaigns", "campaign_recipients", "activity_events"])
def test_a_trigger_of_the_project_finds_its_tables_without_a_schema(
    table: str, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    database.execute(
        f"""
        create table public.audit_log (what text);
        grant insert on public.audit_log to service_role;
        create function public.audit() returns trigger language plpgsql as $$
        begin
            insert into audit_log select '{table}' from contacts limit 1;
            return null;
        end $$;
        create trigger audit after insert or update on public.{table} for each row execute function public.audit();
        """.encode()
    )
    factory.contact(organization)
    database.execute("truncate audit_log")
    factory.campaign(organization)
    assert automation().launch()["errors"] == []
    assert database.execute("select count(*) > 0 from audit_log").fetchall() == [(True,)]


def test_an_object_that_was_planted_in_another_schema_is_never_used(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    """Operators and functions in `public` that fit better than those of Postgres, for a status that is an enum."""
    database.execute(
        """
        create type public.recipient_status as enum ('pending', 'sent', 'delivered', 'bounced', 'opened', 'clicked');
        alter table campaign_recipients drop constraint campaign_recipients_status_is_known;
        drop index campaign_runner_bounced_idx;
        drop view campaign_runner_sendable;
        alter table campaign_recipients alter status drop default;
        alter table campaign_recipients alter status type recipient_status using status::recipient_status;
        create function public.planted(recipient_status, recipient_status) returns boolean language plpgsql as
            'begin raise exception ''the planted operator was used''; end';
        create operator public.= (leftarg = recipient_status, rightarg = recipient_status, function = public.planted);
        create function public.unnest(uuid[]) returns setof uuid language plpgsql as
            'begin raise exception ''the planted function was used''; end';
        """
    )
    contacts = factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    run = automation(max_rows=1)
    run.first_chunk()
    factory.update("contacts", contacts[0], is_subscribed=False)
    assert run.launch()["errors"] == []
    assert set(records.recipients(database, campaign)) == set(contacts[1:])


def test_a_launch_that_rested_too_long_is_held_like_one_that_did_not_begin(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 4)
    campaign = factory.campaign(organization)
    automation(max_rows=1).first_chunk()
    database.execute("update campaigns set scheduled_at = scheduled_at - interval '14 days'")
    run = automation(max_rows=1, max_lateness_minutes=60)
    run.step()
    database.execute("update campaign_runner.launch_chunks set worked_at = worked_at - interval '14 days'")
    [error] = automation(max_lateness_minutes=60).launch()["errors"]
    assert "more than 60 minutes late" in error["error"]
    assert records.launch(database, campaign)["waiting"] == "held"


def test_recipients_are_not_handed_over_while_a_launch_of_their_campaign_is_open(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 4)
    campaign = factory.campaign(organization)
    automation(max_rows=1).first_chunk()
    factory.update("campaigns", campaign, status="sending")
    assert records.recipients(database, campaign)
    assert records.rows(database, "select from campaign_runner_sendable") == []


@pytest.mark.every_version
def test_no_letter_is_a_blank(organization: UUID, factory: Factory, automation: Automate, database: Connection) -> None:
    """Before Postgres 16, an escape for the vertical tab is the letter v."""
    addresses = [f"{letter}era@example.{letter}" for letter in "abefnrtvx0"] + ["era@example."]
    contacts = {factory.contact(organization, email=address) for address in addresses}
    campaign = factory.campaign(organization)
    assert launched(automation, database, campaign) == contacts == by_the_oracle(database, campaign)

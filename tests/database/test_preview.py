"""The preview of one campaign. That a launch gives just what it says is a law in test_audience.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.conftest import Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

NOTHING_UNMATCHED: dict[str, Any] = {
    "include_emails": [],
    "include_tags": [],
    "exclude_tags": [],
    "exclude_countries": [],
    "emails_not_looked_up": 0,
}


@pytest.mark.every_version
def test_a_draft_without_a_schedule_can_be_previewed(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contact(organization, id=UUID(int=1), email=" ann@example.org ")
    factory.contact(organization, id=UUID(int=2), email=None, mobile="+41 79 000 00 00")
    factory.contact(organization, id=UUID(int=3), is_subscribed=False)
    campaign = factory.campaign(organization, name="Spring sale", status="draft", due_in=None)

    assert automation().preview_campaign(campaign) == {
        "campaign_id": str(campaign),
        "name": "Spring sale",
        "status": "draft",
        "scheduled_at": None,
        "has_schedule": False,
        "recipient_count": 2,
        "contacts": 3,
        "excluded": {"unsubscribed": 1},
        "sample": ["ann@example.org", "+41 79 000 00 00"],
        "unmatched": NOTHING_UNMATCHED,
        "looks_wrong": {"contacts": 3, "addresses": 0, "mobiles": 0, "malformed": 0, "unknown": 0},
        "outsiders": 0,
        "generates": True,
        "pages": 1,
        "system_user_exists": True,
        "obstacles": [],
        "launch": None,
    }


def test_without_the_index_of_addresses_nothing_is_looked_for_in_the_contacts(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    factory.contact(organization, email="no address")
    assert automation().preview_campaign(campaign)["looks_wrong"]["malformed"] == 1
    database.execute("drop index campaign_runner_addresses_idx")
    assert automation().preview_campaign(campaign)["looks_wrong"] is None


@pytest.mark.parametrize("max_rows", [1, 2, 20_000])
def test_names_that_match_nobody_are_named(
    max_rows: int, organization: UUID, factory: Factory, automation: Automate
) -> None:
    ann = factory.contact(organization, email="Ann@example.org ", country="de")
    factory.contact(organization, email="gone@example.org", deleted_at="2026-01-01")
    factory.contact(organization, email="", country=" US")
    factory.contact(factory.organization(), email="foreign@example.org", country="FR")
    factory.tag(organization, "vip", ann)
    factory.tag(organization, "unused")
    campaign = factory.campaign(
        organization,
        status="draft",
        rules={
            "include_emails": [" ANN@example.org", "bob@example.org", "gone@example.org", "foreign@example.org", " "],
            "include_tags": ["vip", "VIP", "unused"],
            "exclude_tags": ["unused", "vip", "lapsed"],
            "exclude_countries": ["Germany", " De", "us", "FR", ""],
        },
    )
    assert automation(max_rows=max_rows).preview_campaign(campaign)["unmatched"] == {
        "include_emails": ["bob@example.org", "gone@example.org", "foreign@example.org", " "],
        "include_tags": ["unused"],
        "exclude_tags": ["unused", "lapsed"],
        "exclude_countries": ["Germany", "FR"],
        "emails_not_looked_up": 0,
    }


def test_more_addresses_than_one_statement_should_look_up_are_counted(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    addresses = [f"contact{n}@example.org" for n in range(1, 10_003)]
    factory.contacts(organization, 10_002)
    campaign = factory.campaign(organization, rules={"include_emails": [*addresses, "nobody@example.org"]})
    preview = automation().preview_campaign(campaign)
    assert preview["unmatched"] == {**NOTHING_UNMATCHED, "emails_not_looked_up": 3}
    assert preview["recipient_count"] == 10_002


def test_a_preview_whose_rules_change_between_two_pages_is_about_the_new_rules(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 5)
    campaign = factory.campaign(organization, rules={})
    run = automation(max_rows=2)
    first = run.preview_page(campaign, None)
    second = run.preview_page(campaign, first["cursor"])
    assert (first["contacts"], second["contacts"]) == (2, 4)

    database.execute("update campaign_target_rules set include_emails = '{contact1@example.org}'")
    third = run.preview_page(campaign, second["cursor"])

    assert third["contacts"] == 2
    last = run.preview_page(campaign, run.preview_page(campaign, third["cursor"])["cursor"])["preview"]
    assert (last["recipient_count"], last["excluded"], last["contacts"]) == (1, {"not_included": 4}, 5)


def test_a_launch_that_begins_between_two_pages_changes_nothing(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 5)
    campaign = factory.campaign(organization)
    run = automation(max_rows=3)
    first = run.preview_page(campaign, None)
    automation().launch()
    last = run.preview_page(campaign, first["cursor"])["preview"]
    assert (last["recipient_count"], last["excluded"], last["generates"]) == (5, {}, True)
    assert last["status"] == "sending"


def test_a_launch_that_is_half_done_is_seen(organization: UUID, factory: Factory, automation: Automate) -> None:
    factory.contacts(organization, 5)
    campaign = factory.campaign(organization)
    automation(max_rows=4).first_chunk()
    preview = automation().preview_campaign(campaign)
    assert preview["launch"] == {"state": "generating", "inserted": 2, "waits_because": None}
    assert (preview["recipient_count"], preview["generates"]) == (5, True)


def test_recipients_from_before_are_what_is_counted(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 5)
    factory.update("contacts", contacts[4], is_subscribed=False)
    campaign = factory.campaign(organization)
    for contact in (contacts[0], contacts[4]):
        factory.recipient(campaign, contact)
    preview = automation().preview_campaign(campaign)
    assert (preview["recipient_count"], preview["excluded"]) == (2, {"recipients_exist": 3})
    assert preview["generates"] is False


def test_recipients_that_are_no_contacts_of_the_organization_stand_apart(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    """As a project whose keys do not forbid them may have them. A launch takes away those of them that are pending."""
    database.execute("alter table campaign_recipients drop constraint campaign_recipients_contact_of_tenant")
    factory.contacts(organization, 4)
    campaign = factory.campaign(organization)
    run = automation(max_rows=2)
    run.step()
    for status in ("pending", "sent"):
        factory.recipient(campaign, factory.contact(factory.organization()), status=status)

    preview = automation().preview_campaign(campaign)

    assert (preview["contacts"], preview["excluded"], preview["outsiders"]) == (4, {}, 1)
    assert preview["recipient_count"] == run.launch()["campaigns"][0]["recipient_count"] == 5


def test_what_stands_in_the_way_of_a_launch_is_said(factory: Factory, automation: Automate, system_user: UUID) -> None:
    organization = factory.organization()
    campaign = factory.campaign(organization, due_in=timedelta(hours=-1))
    automation().launch()

    preview = automation(max_lateness_minutes=10).preview_campaign(campaign)

    assert len(preview["obstacles"]) == 1
    assert "may not act for this organization" in preview["obstacles"][0]
    assert "may not act for this organization" in preview["launch"]["waits_because"]
    factory.member(organization, system_user)
    preview = automation(max_lateness_minutes=10).preview_campaign(campaign)
    assert "more than 10 minutes late" in preview["obstacles"][0]
    assert preview["launch"]["waits_because"] is None


def test_a_campaign_that_is_not_scheduled_is_never_too_late(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    campaign = factory.campaign(organization, status="paused", due_in=timedelta(hours=-1))
    assert automation(max_lateness_minutes=10).preview_campaign(campaign)["obstacles"] == []


def test_a_campaign_of_no_organization_is_called_that_and_not_deleted(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    database.execute("alter table campaigns alter organization_id drop not null")
    database.execute("update campaigns set organization_id = null where id = %s", (campaign,))
    obstacles = automation().preview_campaign(campaign)["obstacles"]
    assert obstacles[0] == "The campaign belongs to no organization: the campaign is never due."
    assert not any("deleted" in each for each in obstacles)


def test_an_unknown_campaign_is_an_error(automation: Automate) -> None:
    with pytest.raises(psycopg.Error) as caught:
        automation().preview_campaign(uuid4())
    assert caught.value.sqlstate == "CR410"


def test_the_preview_writes_nothing(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 5)
    campaign = factory.campaign(organization, rules={"include_tags": ["vip"]})
    automation(max_rows=2).first_chunk()
    before = records.everything(database)
    automation(max_rows=2).preview_campaign(campaign)
    assert records.everything(database) == before

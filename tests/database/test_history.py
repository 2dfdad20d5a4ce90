"""The launches of one campaign, as the ledger has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import Connection
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

AGAIN = "update campaigns set status = 'scheduled', scheduled_at = now() where id = %s"


@pytest.mark.every_version
def test_a_launch_is_told_with_who_when_and_whom_it_left_out(
    organization: UUID, factory: Factory, automation: Automate, system_user: UUID
) -> None:
    factory.contacts(organization, 3)
    factory.contact(organization, is_subscribed=False)
    campaign = factory.campaign(organization, name="Spring sale")
    run = automation()
    run.launch()

    history = automation().history(campaign)

    [launch] = history["launches"]
    assert history["campaign"] == {"name": "Spring sale", "status": "sending"}
    assert history["is_cut"] is False
    told: dict[str, Any] = {
        "name": "Spring sale",
        "state": "launched",
        "run_id": str(run.run_id),
        "system_user_id": str(system_user),
        "organization_id": str(organization),
        "generates": True,
        "contacts": 4,
        "recipients_inserted": 3,
        "recipient_count": 3,
        "excluded": {"unsubscribed": 1},
        "attempts": 0,
        "error": None,
        "next_attempt_at": None,
        "waits_for_a_person": False,
    }
    assert told.items() <= launch.items()
    assert launch["late_seconds"] == pytest.approx(60, abs=30)
    assert 0 <= launch["duration_seconds"] < 30


def test_the_newest_come_first_and_that_there_are_more_is_said(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    campaign = factory.campaign(organization)
    runs = [automation() for _ in range(3)]
    for run in runs:
        database.execute(AGAIN, (campaign,))
        run.launch()

    history = automation().history(campaign, limit=2)

    assert [launch["run_id"] for launch in history["launches"]] == [str(runs[2].run_id), str(runs[1].run_id)]
    assert history["is_cut"] is True
    assert automation().history(campaign, limit=3)["is_cut"] is False


def test_the_launches_of_a_deleted_campaign_are_told(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    campaign = factory.campaign(organization, name="Gone")
    automation().launch()
    factory.delete("campaigns", [campaign])
    history = automation().history(campaign)
    assert history["campaign"] is None
    assert [launch["name"] for launch in history["launches"]] == ["Gone"]


def test_a_failure_is_told_in_our_words_and_apart_from_them_in_those_of_the_source(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 1)
    campaign = factory.campaign(organization)
    database.execute(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'CANARY-ROW %', new.contact_id; end $$"
    )
    database.execute(
        "create trigger refuse before insert on campaign_recipients for each row execute function refuse()"
    )
    automation().launch()
    [launch] = automation().history(campaign)["launches"]

    assert "SQLSTATE P0001" in launch["error"]
    assert launch.pop("detail").startswith("CANARY-ROW")
    assert "CANARY" not in str(launch)
    assert (launch["attempts"], launch["closed_at"], launch["waits_for_a_person"]) == (1, None, False)
    assert launch["next_attempt_at"] is not None
    database.execute("update campaign_runner.launches set waiting = 'needs_attention', next_attempt_at = null")
    [launch] = automation().history(campaign)["launches"]
    assert (launch["next_attempt_at"], launch["waits_for_a_person"]) == (None, True)


def test_an_open_launch_tells_what_it_has_written_up_to_now(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 5)
    campaign = factory.campaign(organization)
    automation(max_rows=4).first_chunk()
    [launch] = automation().history(campaign)["launches"]
    assert (launch["state"], launch["recipients_inserted"], launch["recipient_count"]) == ("generating", 2, None)


def test_a_campaign_that_was_never_launched_and_one_that_never_was_are_told_apart(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    campaign = factory.campaign(organization, name="Draft", status="draft")
    never_launched = {"campaign": {"name": "Draft", "status": "draft"}, "launches": [], "is_cut": False}
    assert automation().history(campaign) == never_launched
    assert automation().history(uuid4()) == {"campaign": None, "launches": [], "is_cut": False}

"""The report names each launch of its run, once; the dry run says the same beforehand and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.conftest import Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory

Automate = Callable[..., Automation]

NOTHING = {"processed_count": 0, "campaigns": [], "errors": []}


def by_campaign(report: dict[str, Any]) -> dict[str, Any]:
    """A report without the order of its lists."""
    return {name: sorted(report[name], key=lambda entry: str(entry["campaign_id"])) for name in ("campaigns", "errors")}


def test_a_report_can_be_asked_for_again(organization: UUID, factory: Factory, automation: Automate) -> None:
    factory.campaign(organization)
    factory.campaign(factory.organization())
    run = automation()

    first = run.launch()

    assert (len(first["campaigns"]), len(first["errors"])) == (1, 1)
    assert run.report() == first


def test_a_report_of_a_run_that_did_nothing_is_empty(automation: Automate) -> None:
    assert automation().report() == NOTHING


@pytest.mark.parametrize("steps", [0, 1])
def test_a_step_that_comes_after_the_report_is_refused_and_changes_nothing(
    steps: int, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    run = automation(max_rows=1)
    for _ in range(steps):
        run.step()
    run.report()
    before = records.everything(database)

    with pytest.raises(psycopg.Error) as raised:
        run.step()

    assert raised.value.sqlstate == "CR409"
    assert records.everything(database) == before
    assert records.status(database, campaign) == "scheduled"


def test_a_launch_is_in_the_report_of_the_run_that_completed_it_and_in_no_other(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    began, completed, late = automation(max_rows=2), automation(max_rows=2), automation()
    began.step()
    completed.finish()
    late.finish()

    reports = [run.report() for run in (began, completed, late)]

    assert [[c["campaign_id"] for c in report["campaigns"]] for report in reports] == [[], [str(campaign)], []]


def test_the_errors_of_a_run_are_in_its_report_only(organization: UUID, factory: Factory, automation: Automate) -> None:
    factory.campaign(factory.organization())
    first, second = automation(), automation()

    assert len(first.launch()["errors"]) == 1
    assert second.launch() == NOTHING


def test_a_report_names_the_campaigns_that_could_not_be_launched(
    organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    strange = factory.organization()
    named, nameless = factory.campaign(strange, name="Spring"), factory.campaign(strange)
    database.execute("alter table campaigns alter name drop not null")
    database.execute("update campaigns set name = null where id = %s", (nameless,))
    run = automation()
    assert len(run.launch()["errors"]) == 2
    assert run.names == {str(named): "Spring"}


def test_a_campaign_that_is_deleted_after_its_launch_is_still_in_the_report(
    organization: UUID, factory: Factory, automation: Automate
) -> None:
    campaign = factory.campaign(organization, name="Gone")
    run = automation().finish()
    factory.delete("campaigns", [campaign])

    [launched] = run.report()["campaigns"]

    assert (launched["campaign_id"], launched["name"]) == (str(campaign), "Gone")


def test_campaigns_are_reported_in_the_order_of_their_launches(
    factory: Factory, automation: Automate, system_user: UUID
) -> None:
    campaigns = [
        factory.campaign(factory.organization(system_user), due_in=timedelta(minutes=-age)) for age in (30, 20, 10)
    ]
    assert [c["campaign_id"] for c in automation().launch()["campaigns"]] == list(map(str, campaigns))


@pytest.fixture
def variety(organization: UUID, factory: Factory, system_user: UUID) -> list[UUID]:
    """Campaigns of every kind that a run meets."""
    contacts = factory.contacts(organization, 7)
    factory.contact(organization, id=UUID(int=0), email="ann@example.org")
    factory.contact(organization, id=UUID(int=2**128 - 1), email="Ann@example.org")
    factory.contact(organization, is_subscribed=False)
    factory.tag(organization, "vip", *contacts[:2])
    empty = factory.organization(system_user)
    chosen = factory.campaign(organization, name="chosen")
    factory.recipient(chosen, contacts[0])
    return [
        chosen,
        factory.campaign(organization, name="everybody"),
        factory.campaign(organization, name="some", rules={"include_tags": ["vip"]}, due_in=timedelta(minutes=-2)),
        factory.campaign(organization, name="nobody", rules={"include_tags": ["no such tag"]}),
        factory.campaign(empty, name="empty"),
        factory.campaign(empty, name="late", due_in=timedelta(hours=-1)),
        factory.campaign(factory.organization(), name="not permitted"),
    ]


@pytest.mark.every_version
@pytest.mark.parametrize("max_rows", [1, 2, 5, 20_000])
def test_the_dry_run_says_what_the_run_then_does(max_rows: int, variety: list[UUID], automation: Automate) -> None:
    preview = automation(max_rows=max_rows, max_lateness_minutes=30).preview()
    report = automation(max_lateness_minutes=30).launch()

    assert by_campaign(preview) == by_campaign(report)
    assert (len(report["campaigns"]), len(report["errors"])) == (5, 2)


@pytest.mark.parametrize("max_rows", [1, 20_000])
def test_the_dry_run_writes_nothing(
    max_rows: int, variety: list[UUID], automation: Automate, database: Connection
) -> None:
    before = records.everything(database)

    automation(max_rows=max_rows).preview()

    assert records.everything(database) == before


@pytest.mark.parametrize("steps", [1, 3, 9, 10])
def test_the_dry_run_knows_what_an_interrupted_launch_has_done_already(
    steps: int, organization: UUID, factory: Factory, automation: Automate
) -> None:
    factory.contacts(organization, 8)
    factory.campaign(organization)
    run = automation(max_rows=1)
    for _ in range(steps):
        run.step()

    preview = automation(max_rows=3).preview()

    assert by_campaign(preview) == by_campaign(run.launch())
    assert len(preview["campaigns"]) == 1


def test_the_dry_run_for_one_organization_leaves_the_others_out(
    organization: UUID, factory: Factory, automation: Automate, system_user: UUID
) -> None:
    campaign = factory.campaign(organization)
    factory.campaign(factory.organization(system_user))

    [previewed] = automation(organization=organization).preview()["campaigns"]

    assert previewed["campaign_id"] == str(campaign)


def test_the_dry_run_does_not_promise_what_backs_off(factory: Factory, automation: Automate) -> None:
    factory.campaign(factory.organization())
    automation().launch()
    assert automation().preview() == NOTHING


@pytest.mark.parametrize("edit", ["is_subscribed", "rules"])
def test_the_dry_run_of_an_interrupted_launch_is_about_the_rules_of_now(
    edit: str, organization: UUID, factory: Factory, automation: Automate, database: Connection
) -> None:
    contacts = factory.contacts(organization, 8)
    campaign = factory.campaign(organization, rules={})
    run = automation(max_rows=2)
    run.step()
    if edit == "rules":
        database.execute(
            "update campaign_target_rules set include_emails = '{contact1@example.org,contact8@example.org}'"
        )
    else:
        factory.update("contacts", contacts[0], is_subscribed=False)

    preview = automation(max_rows=3).preview()

    assert by_campaign(preview) == by_campaign(run.launch())
    assert preview["campaigns"][0]["recipient_count"] == len(records.recipients(database, campaign))

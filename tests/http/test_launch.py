"""The main job, through the real function, the real REST server and a real Postgres."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any
from uuid import UUID

from local.function import Function
from tests.support import records
from tests.support.service import Service


def launched(body: dict[str, Any]) -> list[str]:
    return [outcome["campaign_id"] for outcome in body["campaigns"]]


def test_the_rest_server_cuts_every_result_at_1000_rows(service: Service) -> None:
    """Not a law of ours, but what makes the next test worth something."""
    service.factory.crowd(service.organization(), 1_200)
    assert len(service.rest("contacts", select="id")) == 1_000


def test_an_audience_of_25000_arrives_whole(service: Service) -> None:
    organization = service.organization()
    contacts = service.factory.contacts(organization, 25_000)
    campaign = service.factory.campaign(organization, name="Everybody")

    body = service.run()

    assert body == {
        "processed_count": 1,
        "campaigns": [
            {
                "campaign_id": str(campaign),
                "organization_id": str(organization),
                "name": "Everybody",
                "previous_status": "scheduled",
                "new_status": "sending",
                "recipients_generated": True,
                "recipient_count": 25_000,
            }
        ],
        "errors": [],
    }
    assert records.recipients(service.database, campaign).keys() == set(contacts)
    assert records.status(service.database, campaign) == "sending"


def test_a_second_run_launches_nothing(service: Service) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 10)
    campaign = service.factory.campaign(organization)

    assert service.run()["processed_count"] == 1
    before = records.everything(service.database, with_last_call=False)
    assert service.run() == {"processed_count": 0, "campaigns": [], "errors": []}

    assert records.everything(service.database, with_last_call=False) == before
    assert records.status(service.database, campaign) == "sending"


def test_recipients_that_somebody_made_before_are_kept_as_they_are(service: Service) -> None:
    organization = service.organization()
    contacts = service.factory.contacts(organization, 10)
    campaign = service.factory.campaign(organization)
    for contact in contacts[:3]:
        service.factory.recipient(campaign, contact)

    [outcome] = service.run()["campaigns"]

    assert outcome["recipients_generated"] is False
    assert outcome["recipient_count"] == 3
    assert records.recipients(service.database, campaign).keys() == set(contacts[:3])


def test_a_campaign_that_is_sending_already_is_left_alone(service: Service) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 10)
    campaign = service.factory.campaign(organization, status="sending")

    assert service.run()["processed_count"] == 0
    assert records.recipients(service.database, campaign) == {}


def test_one_organization_is_launched_when_one_is_asked_for(service: Service) -> None:
    mine, other = service.organization(), service.organization()
    for organization in (mine, other):
        service.factory.crowd(organization, 5)
    my_campaign, other_campaign = service.factory.campaign(mine), service.factory.campaign(other)

    assert launched(service.run(params={"organization_id": str(mine)})) == [str(my_campaign)]
    assert records.status(service.database, other_campaign) == "scheduled"
    assert launched(service.run(json={"organization_id": str(other)})) == [str(other_campaign)]


def test_a_dry_run_answers_as_the_run_then_does_and_writes_nothing(service: Service) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 2_500)
    service.factory.campaign(organization)
    stranger = service.factory.organization()
    service.factory.campaign(stranger)
    before = records.everything(service.database, with_last_call=False)

    forecast = service.run(params={"dry_run": "true"})

    assert records.everything(service.database, with_last_call=False) == before
    assert forecast["processed_count"] == 1
    assert service.run() == forecast


def test_a_dry_run_of_several_pages_answers_as_the_run_then_does(service: Service, environment: dict[str, str]) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 2_500)
    service.factory.campaign(organization)
    with Function({**environment, "STEP_ROWS": "500"}) as function:
        small_pages = replace(service, url=function.url)
        forecast = small_pages.run(params={"dry_run": "true"})
        assert [campaign["recipient_count"] for campaign in forecast["campaigns"]] == [2_500]
        assert small_pages.run() == forecast


def test_a_campaign_that_may_not_be_launched_stands_in_errors_and_stops_no_other(service: Service) -> None:
    mine, stranger = service.organization(), service.factory.organization()
    for organization in (mine, stranger):
        service.factory.crowd(organization, 5)
    allowed, refused = service.factory.campaign(mine), service.factory.campaign(stranger)

    body = service.run()

    assert launched(body) == [str(allowed)]
    assert [e["campaign_id"] for e in body["errors"]] == [str(refused)]
    assert "organization_members" in body["errors"][0]["error"]
    assert records.status(service.database, refused) == "scheduled"
    assert records.recipients(service.database, refused) == {}


def test_twenty_simultaneous_calls_launch_each_of_fifty_campaigns_once(service: Service) -> None:
    campaigns: dict[UUID, list[UUID]] = {}
    for _ in range(5):
        organization = service.organization()
        contacts = service.factory.contacts(organization, 200)
        campaigns |= {service.factory.campaign(organization): contacts for _ in range(10)}
    start = Barrier(20, timeout=60)

    def call(_: int) -> list[str]:
        start.wait()
        body = service.run()
        assert body["errors"] == []
        return launched(body)

    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(call, range(20)))

    assert sorted(campaign for answer in answers for campaign in answer) == sorted(map(str, campaigns))
    for campaign, contacts in campaigns.items():
        assert records.recipients(service.database, campaign).keys() == set(contacts)
    [(rows, distinct_rows)] = service.execute(
        "select count(*), count(distinct (campaign_id, contact_id)) from campaign_recipients"
    )
    assert (rows, distinct_rows) == (10_000, 10_000)
    [(events,)] = service.execute("select count(*) from activity_events where event_type = 'campaign.sending'")
    assert events == 50

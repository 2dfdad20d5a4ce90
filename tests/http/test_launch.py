"""The main job, through the real function, the real REST server and a real Postgres."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

from local.function import Function
from tests.support.service import Service


def test_the_rest_server_cuts_every_result_at_1000_rows(service: Service) -> None:
    """Not a law of ours, but what makes the next test worth something."""
    service.add_contacts(service.add_organization(), 1_200)
    assert len(service.rest("contacts", select="id")) == 1_000


def test_an_audience_of_25000_arrives_whole(service: Service) -> None:
    organization = service.add_organization()
    service.add_contacts(organization, 25_000)
    campaign = service.add_campaign(organization, name="Everybody")

    body = service.run()

    assert body == {
        "processed_count": 1,
        "campaigns": [
            {
                "campaign_id": campaign,
                "organization_id": organization,
                "name": "Everybody",
                "previous_status": "scheduled",
                "new_status": "sending",
                "recipients_generated": True,
                "recipient_count": 25_000,
            }
        ],
        "errors": [],
    }
    assert service.recipients(campaign) == service.contacts(organization)
    assert service.status(campaign) == "sending"


def test_a_second_run_launches_nothing(service: Service) -> None:
    organization = service.add_organization()
    service.add_contacts(organization, 10)
    campaign = service.add_campaign(organization)

    assert service.run()["processed_count"] == 1
    before = service.snapshot()
    assert service.run() == {"processed_count": 0, "campaigns": [], "errors": []}

    assert service.snapshot() == before
    assert service.status(campaign) == "sending"


def test_recipients_that_somebody_made_before_are_kept_as_they_are(service: Service) -> None:
    organization = service.add_organization()
    service.add_contacts(organization, 10)
    campaign = service.add_campaign(organization)
    service.execute(
        "insert into campaign_recipients (campaign_id, contact_id, organization_id)"
        " select %s, id, organization_id from contacts order by id limit 3",
        campaign,
    )
    made = service.recipients(campaign)

    [outcome] = service.run()["campaigns"]

    assert outcome["recipients_generated"] is False
    assert outcome["recipient_count"] == 3
    assert service.recipients(campaign) == made


def test_a_campaign_that_is_sending_already_is_left_alone(service: Service) -> None:
    organization = service.add_organization()
    service.add_contacts(organization, 10)
    campaign = service.add_campaign(organization, status="sending")

    assert service.run()["processed_count"] == 0
    assert service.recipients(campaign) == set()


def test_one_organization_is_launched_when_one_is_asked_for(service: Service) -> None:
    mine, other = service.add_organization(), service.add_organization()
    for organization in (mine, other):
        service.add_contacts(organization, 5)
    my_campaign, other_campaign = service.add_campaign(mine), service.add_campaign(other)

    assert [c["campaign_id"] for c in service.run(params={"organization_id": mine})["campaigns"]] == [my_campaign]
    assert service.status(other_campaign) == "scheduled"
    assert [c["campaign_id"] for c in service.run(json={"organization_id": other})["campaigns"]] == [other_campaign]


def test_a_dry_run_answers_as_the_run_then_does_and_writes_nothing(service: Service) -> None:
    organization = service.add_organization()
    service.add_contacts(organization, 2_500)
    service.add_campaign(organization)
    stranger = service.add_organization(is_member=False)
    service.add_campaign(stranger)
    before = service.snapshot()

    forecast = service.run(params={"dry_run": "true"})

    assert service.snapshot() == before
    assert forecast["processed_count"] == 1
    assert service.run() == forecast


def test_a_dry_run_of_several_pages_answers_as_the_run_then_does(service: Service, environment: dict[str, str]) -> None:
    organization = service.add_organization()
    service.add_contacts(organization, 2_500)
    service.add_campaign(organization)
    with Function({**environment, "STEP_ROWS": "500"}) as function:
        small_pages = replace(service, url=function.url)
        forecast = small_pages.run(params={"dry_run": "true"})
        assert [campaign["recipient_count"] for campaign in forecast["campaigns"]] == [2_500]
        assert small_pages.run() == forecast


def test_a_campaign_that_may_not_be_launched_stands_in_errors_and_stops_no_other(service: Service) -> None:
    mine, stranger = service.add_organization(), service.add_organization(is_member=False)
    for organization in (mine, stranger):
        service.add_contacts(organization, 5)
    launched, refused = service.add_campaign(mine), service.add_campaign(stranger)

    body = service.run()

    assert [c["campaign_id"] for c in body["campaigns"]] == [launched]
    assert [e["campaign_id"] for e in body["errors"]] == [refused]
    assert "organization_members" in body["errors"][0]["error"]
    assert service.status(refused) == "scheduled"
    assert service.recipients(refused) == set()


def test_twenty_simultaneous_calls_launch_each_of_fifty_campaigns_once(service: Service) -> None:
    organizations = [service.add_organization() for _ in range(5)]
    for organization in organizations:
        service.add_contacts(organization, 200)
    campaigns = {service.add_campaign(organization): organization for organization in organizations * 10}
    start = Barrier(20, timeout=60)

    def call(_: int) -> list[str]:
        start.wait()
        body = service.run()
        assert body["errors"] == []
        return [outcome["campaign_id"] for outcome in body["campaigns"]]

    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(call, range(20)))

    assert sorted(campaign for answer in answers for campaign in answer) == sorted(campaigns)
    for campaign, organization in campaigns.items():
        assert service.recipients(campaign) == service.contacts(organization)
    [(rows, distinct_rows)] = service.execute(
        "select count(*), count(distinct (campaign_id, contact_id)) from campaign_recipients"
    )
    assert (rows, distinct_rows) == (10_000, 10_000)
    [(events,)] = service.execute("select count(*) from activity_events where event_type = 'campaign.sending'")
    assert events == 50

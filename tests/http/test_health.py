"""GET /health through the real server: late or not, and nothing changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from runner.health import Health
from tests.support import records
from tests.support.service import Service


def test_it_is_200_until_a_campaign_has_waited_too_long_and_again_after_its_launch(service: Service) -> None:
    campaign = service.due_campaign()
    before = records.everything(service.database)

    in_time = service.request("GET", "/health")
    assert in_time.status_code == 200
    assert in_time.headers["Content-Type"] == "application/json"
    assert in_time.headers["Cache-Control"] == "no-store"
    assert records.everything(service.database) == before

    service.execute("update campaigns set scheduled_at = now() - interval '11 minutes'")
    late = service.request("GET", "/health")
    assert late.status_code == 503
    assert late.headers["Content-Type"] == "application/json"
    assert late.headers["Retry-After"] == "60"
    assert late.json().keys() == in_time.json().keys()
    assert late.json()["oldest_due"]["campaign_id"] == str(campaign)
    assert records.status(service.database, campaign) == "scheduled"

    service.run()
    well = service.request("GET", "/health")
    assert well.status_code == 200
    health = Health.model_validate(well.json())
    assert (health.oldest_due, health.due.count) == (None, 0)
    assert [(run.launched, run.failed) for run in health.runs] == [(1, 0)]
    assert health.last_tick_at is not None
    assert datetime.now(UTC) - health.last_tick_at < timedelta(minutes=1)


def test_head_says_the_same_without_a_body(service: Service) -> None:
    assert service.request("HEAD", "/health").status_code == 200
    service.factory.campaign(service.organization())
    service.execute("update campaigns set scheduled_at = now() - interval '11 minutes'")
    late = service.request("HEAD", "/health")
    assert (late.status_code, late.content) == (503, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(service: Service, method: str) -> None:
    response = service.request(method, "/health")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert response.headers["Content-Type"] == "application/problem+json"


def test_it_needs_the_token_and_takes_no_parameters(service: Service) -> None:
    assert httpx.get(f"{service.url}/health").status_code == 401
    assert service.request("GET", "/health", params={"organization_id": "all"}).status_code == 400

"""GET /health through the real server: late or not, and nothing changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
    head = service.request("HEAD", "/health")
    assert (head.status_code, head.content) == (503, b"")
    assert records.status(service.database, campaign) == "scheduled"

    service.run()
    well = service.request("GET", "/health")
    assert well.status_code == 200
    health = Health.model_validate(well.json())
    assert (health.oldest_due, health.due.count) == (None, 0)
    assert [(run.launched, run.failed) for run in health.runs] == [(1, 0)]
    assert health.last_tick_at is not None
    assert datetime.now(UTC) - health.last_tick_at < timedelta(minutes=1)

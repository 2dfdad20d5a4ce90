from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from runner.database import Database
from runner.errors import OrganizationNotFound, StatementTimeout, Unreachable
from runner.run.automation import run_campaign_automation
from runner.run.dry_run import DryRun
from runner.run.results import RunReport
from runner.run.shutdown import Shutdown
from runner.settings import HttpSettings
from tests.support.fake_api import USER, FakeApi, FakeClock, failure, outcome, refusal, report

RUN = UUID("55555555-5555-4555-8555-555555555555")


def preview_page(*campaigns: dict[str, Any], cursor: str | None = None, failed: int = 0) -> dict[str, Any]:
    return {"campaigns": list(campaigns), "errors": [failure()] * failed, "cursor": cursor}


def execute(settings: HttpSettings, clock: FakeClock) -> RunReport:
    made = DryRun(Database(settings), settings, run_id=RUN, organization_id=None, clock=clock, shutdown=Shutdown())
    return made.execute()


def test_pages_are_read_until_the_last_and_joined(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    first, second = "after 1", "after 2"
    api.on(
        "preview",
        preview_page(outcome(1), cursor=first),
        preview_page(cursor=second, failed=1),
        preview_page(outcome(2), outcome(3)),
    )
    made = execute(settings, clock)
    assert made.complete
    assert made.result.model_dump(mode="json") == report(outcome(1), outcome(2), outcome(3), errors=(failure(),))
    assert [asked["p_cursor"] for asked in api.asked("preview")] == [None, first, second]


def test_a_page_takes_the_settings_of_the_run(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    api.on("preview", preview_page())
    execute(settings, clock)
    assert api.asked("preview") == [
        {
            "p_organization_id": None,
            "p_system_user_id": USER,
            "p_system_user_roles": ["owner", "admin", "member"],
            "p_max_rows": 20_000,
            "p_max_lateness_minutes": None,
            "p_cursor": None,
            "p_interface": 1,
        }
    ]


def test_a_dry_run_calls_nothing_that_writes(environ: pytest.MonkeyPatch, api: FakeApi) -> None:
    api.on("preview", preview_page(outcome()))
    assert run_campaign_automation(dry_run=True).processed_count == 1
    assert api.names() == ["preview"]


def test_a_statement_timeout_halves_and_the_same_page_is_read(
    settings: HttpSettings, api: FakeApi, clock: FakeClock
) -> None:
    slow = refusal("57014", 500)
    api.on("preview", preview_page(cursor="after 1"), slow, slow, preview_page(outcome()))
    assert execute(settings, clock).result.processed_count == 1
    asked = [(each["p_max_rows"], each["p_cursor"]) for each in api.asked("preview")]
    assert asked == [(20_000, None), (80_000, "after 1"), (40_000, "after 1"), (20_000, "after 1")]


def test_pages_grow_towards_what_takes_two_seconds(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    api.before = lambda name, parameters: clock.advance(parameters["p_max_rows"] / 20_000)
    api.on("preview", *[preview_page(cursor="more")] * 3, preview_page(outcome()))
    execute(settings, clock)
    assert [asked["p_max_rows"] for asked in api.asked("preview")] == [20_000, 40_000, 40_000, 40_000]


def test_a_page_that_is_always_too_slow_is_an_error(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    api.on("preview", refusal("57014", 500))
    with pytest.raises(StatementTimeout):
        execute(settings, clock)


def test_what_passes_is_tried_again(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    api.on("preview", httpx.ConnectError(""), httpx.ReadTimeout(""), preview_page(outcome()))
    assert execute(settings, clock).result.processed_count == 1
    assert clock.waits == [0.2, 0.4]


def test_what_stays_is_an_error(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    api.on("preview", httpx.ConnectError(""))
    with pytest.raises(Unreachable):
        execute(settings, clock)


def test_a_refusal_is_an_error_at_once(settings: HttpSettings, api: FakeApi, clock: FakeClock) -> None:
    api.on("preview", refusal("CR404", 404))
    with pytest.raises(OrganizationNotFound):
        execute(settings, clock)
    assert len(api.calls) == 1


def test_a_budget_that_ends_between_pages_leaves_the_answer_incomplete(
    settings: HttpSettings, api: FakeApi, clock: FakeClock
) -> None:
    api.before = lambda name, parameters: clock.advance(20.0)
    api.on("preview", preview_page(cursor="after 1"))
    made = execute(settings, clock)
    assert not made.complete
    assert 2 <= len(api.calls) <= 3

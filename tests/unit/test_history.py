from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fake_api import CAMPAIGN, ORGANIZATION, USER, FakeApi, page, refusal
from tests.unit.test_cli import invoke

RUN = "55555555-5555-4555-8555-555555555555"


def record(**changes: Any) -> dict[str, Any]:
    """A launch that went well, but for the changes."""
    launched = {
        "launch_id": 7,
        "name": "Spring sale",
        "organization_id": ORGANIZATION,
        "state": "launched",
        "run_id": RUN,
        "system_user_id": USER,
        "scheduled_at": "2026-12-01T10:00:00+00:00",
        "opened_at": "2026-12-01T10:00:30+00:00",
        "closed_at": "2026-12-01T11:02:03+00:00",
        "duration_seconds": 3693.4,
        "late_seconds": 30.25,
        "generates": True,
        "contacts": 9,
        "recipients_inserted": 2,
        "recipient_count": 2,
        "recipients_before": None,
        "pending_before": None,
        "excluded": {"unsubscribed": 6, "country": 1},
        "unmatched": {"exclude_tags": [], "exclude_countries": []},
        "attempts": 0,
        "next_attempt_at": None,
        "waits_for_a_person": False,
        "condition": "launched",
        "failed_with": None,
        "error": None,
        "detail": None,
    }
    return launched | changes


UNDER_WAY = {
    "state": "generating",
    "condition": "generating",
    "closed_at": None,
    "duration_seconds": None,
    "late_seconds": None,
    "run_id": None,
    "system_user_id": None,
    "recipient_count": None,
    "excluded": None,
    "contacts": None,
}


def history(*launches: dict[str, Any], is_cut: bool = False, is_there: bool = True) -> dict[str, Any]:
    campaign = {"name": "Spring sale", "status": "sending"} if is_there else None
    return {"campaign": campaign, "launches": list(launches), "is_cut": is_cut}


@pytest.fixture
def ledger(environ: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    environ.delenv("RUNNER_TOKENS")
    api.on("history", history(record()))
    return api


def shown(api: FakeApi, answer: dict[str, Any], *options: str) -> list[str]:
    api.on("history", answer)
    result = invoke("history", CAMPAIGN, *options)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def test_a_launch_reads_well(ledger: FakeApi) -> None:
    assert shown(ledger, history(record())) == [
        "Spring sale: sending",
        "",
        "launched at 2026-12-01 11:02:03 UTC, after 1 h 1 min",
        "  schedule        2026-12-01 10:00:00 UTC",
        "  opened          2026-12-01 10:00:30 UTC",
        "  late by         30 s",
        "  recipients      2, of which 2 inserted",
        "  contacts        9",
        "  excluded        country 1, unsubscribed 6",
        f"  in the name of  {USER}",
        f"  run             {RUN}",
    ]


def test_json_is_what_the_ledger_says(ledger: FakeApi) -> None:
    answer = history(record())
    assert json.loads("\n".join(shown(ledger, answer, "--json"))) == answer


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "generating: under way"),
        ({"waits_for_a_person": True, "attempts": 10}, "generating: waits for a person"),
        (
            {"next_attempt_at": "2026-12-01T10:05:00+00:00", "attempts": 3},
            "generating: is tried again at 2026-12-01 10:05:00 UTC",
        ),
        ({}, "  recipients  2 written up to now"),
        ({"error": "No \x1b table.", "attempts": 1}, "  last error  No ? table."),
        ({"attempts": 4}, "  failures    4"),
        ({"detail": "quota of Ann", "attempts": 1}, "  in its words  quota of Ann"),
        ({"condition": "failing"}, "generating: is tried again by the next call"),
        (
            {"condition": "resting"},
            "generating: rests, as the campaign is sending or not due. The runner goes on",
        ),
        (
            {"condition": "taken_over"},
            "generating: taken over. A person set the campaign to sending before its audience",
        ),
    ],
)
def test_a_launch_that_is_not_over_says_how_it_stands(changes: dict[str, Any], line: str, ledger: FakeApi) -> None:
    assert line in shown(ledger, history(record(**(UNDER_WAY | changes))))


def test_an_abandoned_launch_says_why(ledger: FakeApi) -> None:
    lines = shown(ledger, history(record(state="abandoned", condition="abandoned")))
    assert lines[2] == "abandoned at 2026-12-01 11:02:03 UTC: the campaign was deleted"


def test_an_exclusion_that_kept_no_contact_out_is_named(ledger: FakeApi) -> None:
    lines = shown(ledger, history(record(unmatched={"exclude_tags": ["VIP", "staff"], "exclude_countries": []})))
    assert "  unmatched exclude_tags  VIP, staff" in lines


def test_recipients_from_before_are_told_apart(ledger: FakeApi) -> None:
    lines = shown(ledger, history(record(generates=False, recipients_inserted=0, contacts=0, excluded={})))
    assert "  recipients      2, all from before the launch" in lines


def test_a_deleted_campaign_and_one_that_was_never_launched(ledger: FakeApi) -> None:
    assert shown(ledger, history(record(), is_there=False))[0] == "Spring sale: deleted; the ledger remembers it"
    assert shown(ledger, history()) == ["Spring sale: sending", "", "It was never launched."]


def test_that_there_are_older_launches_is_said(ledger: FakeApi) -> None:
    last = shown(ledger, history(record(), is_cut=True), "--limit", "1")[-1]
    assert last == "These are the newest 1; --limit shows more."
    assert ledger.asked("history") == [{"p_campaign_id": CAMPAIGN, "p_max_launches": 1}]


def test_a_time_that_python_does_not_know_is_shown_as_it_is(ledger: FakeApi) -> None:
    lines = shown(ledger, history(record(scheduled_at="12026-12-01T10:00:00+00:00")))
    assert "  schedule        12026-12-01T10:00:00+00:00" in lines


def test_no_campaign_and_no_launch_is_exit_code_1(ledger: FakeApi) -> None:
    ledger.on("history", history(is_there=False))
    result = invoke("history", CAMPAIGN)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There is no campaign with this id.\n"


def test_what_passes_is_tried_again_and_what_stays_is_exit_code_3(ledger: FakeApi) -> None:
    ledger.on("history", page(502), history(record()))
    assert invoke("history", CAMPAIGN).exit_code == 0
    ledger.on("history", refusal("PGRST202"))
    assert invoke("history", CAMPAIGN).exit_code == 3


@pytest.mark.parametrize("arguments", [(), ("Spring sale",), (CAMPAIGN, "--limit", "0")])
def test_history_wants_the_id_of_a_campaign(ledger: FakeApi, arguments: tuple[str, ...]) -> None:
    assert invoke("history", *arguments).exit_code == 2
    assert ledger.calls == []

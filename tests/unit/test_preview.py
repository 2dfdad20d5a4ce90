from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from click.testing import Result

from tests.support.fake_api import CAMPAIGN, FakeApi, page, refusal
from tests.unit.test_cli import invoke

LOOKS_WRONG = {"contacts": 2, "addresses": 0, "mobiles": 0, "malformed": 0, "unknown": 0}
UNMATCHED = {
    "include_emails": [],
    "include_tags": [],
    "exclude_tags": [],
    "exclude_countries": [],
    "emails_not_looked_up": 0,
}


def found(**changes: Any) -> dict[str, Any]:
    """The last page of a preview in which nothing is remarkable, but for the changes."""
    preview = {
        "campaign_id": CAMPAIGN,
        "name": "Spring sale",
        "status": "draft",
        "scheduled_at": "2026-12-01T11:00:00+01:00",
        "has_schedule": True,
        "recipient_count": 2,
        "contacts": 9,
        "excluded": {"country": 1, "unsubscribed": 6},
        "sample": ["ann@example.org", "bob@example.org"],
        "unmatched": UNMATCHED,
        "looks_wrong": LOOKS_WRONG,
        "outsiders": 0,
        "generates": True,
        "pages": 1,
        "system_user_exists": True,
        "obstacles": [],
        "launch": None,
    }
    return {"contacts": 9, "cursor": None, "preview": preview | changes}


def part(contacts: int, cursor: str) -> dict[str, Any]:
    return {"contacts": contacts, "cursor": cursor, "preview": None}


@pytest.fixture
def campaign(environ: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    """A database with one campaign. The command line needs no token."""
    environ.delenv("RUNNER_TOKENS")
    api.on("preview_campaign", found())
    return api


def warnings(api: FakeApi, **changes: Any) -> list[str]:
    api.on("preview_campaign", found(**changes))
    result = invoke("preview", CAMPAIGN, "--json")
    assert result.exit_code == 0
    said: list[str] = json.loads(result.stdout)["warnings"]
    return said


def test_the_preview_reads_well(campaign: FakeApi) -> None:
    result = invoke("preview", CAMPAIGN)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "Spring sale",
        f"  {CAMPAIGN}",
        "  draft, for 2026-12-01 10:00:00 UTC",
        "  2 recipients, of 9 contacts.",
        "",
        "LEFT OUT BECAUSE  CONTACTS",
        "unsubscribed      6",
        "country           1",
        "",
        "Some of the recipients:",
        "  ann@example.org",
        "  bob@example.org",
    ]


def test_a_campaign_without_a_time_is_told_as_one(campaign: FakeApi) -> None:
    campaign.on("preview_campaign", found(scheduled_at=None, has_schedule=False))
    assert invoke("preview", CAMPAIGN).stdout.splitlines()[2] == "  draft, without a time"


def test_json_has_the_keys_of_the_contract(campaign: FakeApi) -> None:
    assert json.loads(invoke("preview", CAMPAIGN, "--json").stdout) == {
        "campaign_id": CAMPAIGN,
        "name": "Spring sale",
        "status": "draft",
        "scheduled_at": "2026-12-01T11:00:00+01:00",
        "recipient_count": 2,
        "contacts": 9,
        "excluded": {"country": 1, "unsubscribed": 6},
        "sample": ["ann@example.org", "bob@example.org"],
        "generates": True,
        "unmatched": {name: [] for name in UNMATCHED if name != "emails_not_looked_up"},
        "warnings": [],
        "pages": 1,
    }


def test_names_that_match_nobody_are_pointed_out(campaign: FakeApi) -> None:
    names = [f"nobody{n}@example.org" for n in range(22)]
    campaign.on("preview_campaign", found(unmatched=UNMATCHED | {"include_emails": names, "include_tags": ["V\x1bIP"]}))
    paragraphs = [" ".join(part.split()) for part in invoke("preview", CAMPAIGN).stdout.split("\n\n")]
    assert "No contact matches, in include_tags: V?IP" in paragraphs
    [emails] = [paragraph for paragraph in paragraphs if "include_emails" in paragraph]
    assert emails.endswith("nobody19@example.org, and 2 more")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"system_user_exists": False}, "SYSTEM_USER_ID names nobody"),
        ({"obstacles": ["The system user may not act for this organization."]}, "may not act"),
        ({"status": "scheduled", "has_schedule": False, "scheduled_at": None}, "set scheduled_at, or it is never due"),
        ({"status": "sent"}, "Its status is sent"),
        ({"generates": False}, "recipients from before"),
        ({"launch": {"state": "generating", "inserted": 7, "waits_because": None}}, "half done, with 7 recipients"),
        ({"launch": {"state": "opened", "inserted": 0, "waits_because": "No table."}}, "waits: No table."),
        ({"outsiders": 3}, "3 recipients are no contacts"),
        ({"looks_wrong": LOOKS_WRONG | {"malformed": 2}}, "2 addresses malformed, in the first 2 contacts"),
        ({"looks_wrong": LOOKS_WRONG | {"unknown": 1}}, "1 contact without is_subscribed, in the first 2 contacts"),
        ({"looks_wrong": LOOKS_WRONG | {"mobiles": 1}}, "1 mobile number of several contacts without an address"),
        ({"recipient_count": 0}, "Nobody gets it"),
        ({"status": "paused"}, "Its status is paused: no run launches the campaign until its status is scheduled."),
        ({"unmatched": UNMATCHED | {"emails_not_looked_up": 4}}, "the last 4 were not looked up"),
    ],
)
def test_what_somebody_should_know_before_is_a_warning(
    changes: dict[str, Any], sentence: str, campaign: FakeApi
) -> None:
    [warning] = warnings(campaign, **changes)
    assert sentence in warning
    assert f"Warning: {warning}" in " ".join(invoke("preview", CAMPAIGN).stdout.split())


def test_a_campaign_that_is_planned_well_has_no_warning(campaign: FakeApi) -> None:
    for status in ("draft", "scheduled"):
        assert warnings(campaign, status=status) == []
    assert warnings(campaign, launch={"state": "opened", "inserted": 0, "waits_because": None}) == []


def test_pages_are_read_to_the_end_and_a_timeout_asks_for_less(campaign: FakeApi) -> None:
    slow = refusal("57014", 500)
    campaign.on("preview_campaign", part(20_000, "a"), slow, part(30_000, "b"), page(502), found(pages=3))
    result = invoke("preview", CAMPAIGN)
    assert result.stdout.split("\n\n")[-1].startswith("The contacts were read in 3 parts")
    asked = [each["p_cursor"] for each in campaign.asked("preview_campaign")]
    assert asked == [None, "a", "a", "b", "b"]
    rows = [each["p_max_rows"] for each in campaign.asked("preview_campaign")]
    assert rows[2] == rows[1] // 2


def test_progress_is_for_a_terminal_alone(campaign: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def previewed() -> Result:
        campaign.on("preview_campaign", part(20_000, "a"), found())
        return invoke("preview", CAMPAIGN)

    assert previewed().stderr == ""
    monkeypatch.setattr("runner.commands.terminal.sys", Terminal())
    assert previewed().exit_code == 0
    assert "20,000 contacts evaluated" in Terminal.shown
    assert Terminal.shown.endswith("\r\x1b[K")


class Terminal:
    """In the place of `sys`, with a stderr that is a terminal."""

    shown = ""

    @property
    def stderr(self) -> Terminal:
        return self

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        Terminal.shown += text

    def flush(self) -> None:
        sys.stderr.flush()


def test_text_from_the_database_cannot_steer_the_terminal(campaign: FakeApi) -> None:
    evil = "\x1b[2J\x07\u202e\n"
    changes = {"name": evil, "sample": [evil], "obstacles": [evil], "status": evil, "excluded": {evil: 1}}
    campaign.on("preview_campaign", found(**changes))
    printed = invoke("preview", CAMPAIGN).stdout
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "\x1b" not in invoke("preview", CAMPAIGN, "--json").stdout


def test_a_campaign_that_there_is_not_is_exit_code_1(campaign: FakeApi) -> None:
    campaign.on("preview_campaign", refusal("CR410"))
    result = invoke("preview", CAMPAIGN)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There is no campaign with this id.\n"


def test_a_database_that_cannot_be_asked_is_exit_code_3(campaign: FakeApi) -> None:
    campaign.on("preview_campaign", refusal("PGRST202"))
    assert invoke("preview", CAMPAIGN).exit_code == 3


def test_an_answer_that_is_neither_a_page_nor_the_last_is_nonsense(campaign: FakeApi) -> None:
    campaign.on("preview_campaign", {"contacts": 1, "cursor": None, "preview": None})
    result = invoke("preview", CAMPAIGN)
    assert result.exit_code == 3
    assert "unknown shape" in result.stderr


def test_ctrl_c_says_that_nothing_was_written(campaign: FakeApi) -> None:
    def interrupt(name: str, parameters: object) -> None:
        raise KeyboardInterrupt

    campaign.before = interrupt
    result = invoke("preview", CAMPAIGN)
    assert result.exit_code == 130
    assert result.stderr == "Error: interrupted; nothing was written.\n"


@pytest.mark.parametrize("arguments", [("preview",), ("preview", "Spring sale")])
def test_preview_wants_the_id_of_a_campaign(campaign: FakeApi, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2
    assert campaign.calls == []

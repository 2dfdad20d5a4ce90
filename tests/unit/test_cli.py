from __future__ import annotations

import json
import signal
from contextlib import nullcontext

import httpx
import pytest
from click.testing import CliRunner, Result

from runner import __version__
from runner.commands import cli
from runner.run.shutdown import Shutdown
from tests.support.fake_api import (
    CAMPAIGN,
    ORGANIZATION,
    ROW_DATA,
    FakeApi,
    Reply,
    failure,
    health,
    outcome,
    page,
    refusal,
    report,
    step,
    stuck,
)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture
def launches(environ: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    """A database with one campaign that is due. The command line needs no token."""
    environ.delenv("RUNNER_TOKENS")
    api.on("step", step(to_report=True))
    api.on("report", report(outcome(1, recipients=20_000)))
    api.on("health", health())
    return api


def test_a_campaign_that_could_not_be_launched_has_its_name(launches: FakeApi) -> None:
    launches.on("report", report(errors=(failure(),)) | {"names": {CAMPAIGN: "Spring\x1b sale"}})
    head, id_, error, *_ = invoke("run").stdout.splitlines()
    assert (head, id_.strip()) == ("Not launched: Spring? sale", CAMPAIGN)
    assert error.strip() == "The audience is too large."


def test_what_was_launched_is_shown_in_a_table(launches: FakeApi) -> None:
    result = invoke("run")
    assert result.exit_code == 0
    head, row, blank, total = result.stdout.splitlines()
    assert head.split() == ["CAMPAIGN", "RECIPIENTS", "ID"]
    assert row.split() == ["Campaign", "1", "20,000", outcome(1)["campaign_id"]]
    assert head.index("RECIPIENTS") == row.index("20,000")
    assert (blank, total) == ("", "1 launched, 0 failed.")


@pytest.mark.parametrize("columns", [40, 61, 80])
def test_no_line_of_the_table_is_wider_than_the_terminal(
    launches: FakeApi, columns: int, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COLUMNS", str(columns))
    named = outcome(1) | {"name": "A campaign with a name of more than forty letters"}
    launches.on("report", report(named, errors=(failure("The audience is too large. " * 9),)))
    lines = invoke("run").stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert any(named["campaign_id"] in line for line in lines)
    assert f"  {CAMPAIGN}" in lines


def test_json_is_the_body_of_the_contract_and_alone_on_stdout(launches: FakeApi) -> None:
    result = invoke("run", "--json")
    assert json.loads(result.stdout) == report(outcome(1, recipients=20_000)) | {"complete": True}
    messages = [json.loads(line)["message"] for line in result.stderr.splitlines()]
    assert messages == ["A campaign was launched to 20000 recipients.", "Run finished: 1 launched, 0 failed."]


def test_an_idle_run_is_no_error(launches: FakeApi) -> None:
    launches.on("step", step())
    result = invoke("run")
    assert (result.exit_code, result.stdout) == (0, "0 launched, 0 failed.\n")


def test_a_campaign_that_failed_is_exit_code_1(launches: FakeApi) -> None:
    launches.on("report", report(outcome(), errors=(failure("The audience is too large."),)))
    result = invoke("run")
    assert result.exit_code == 1
    assert "The audience is too large." in result.stdout
    assert invoke("run", "--json").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--organization-id", ""),
        ("run", "--organization-id", "all"),
        ("run", "--organisation-id", ORGANIZATION),
        ("run", "extra"),
        ("walk",),
    ],
)
def test_a_wrong_usage_is_exit_code_2_and_runs_nothing(launches: FakeApi, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2
    assert launches.calls == []


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (refusal("CR404"), "Error: There is no organization with this id."),
        (refusal("PGRST202"), "apply the migrations"),
        (refusal(None, 401), "SUPABASE_SECRET_KEY"),
        (page(503), "HTTP 503"),
        (httpx.ConnectError(ROW_DATA), "Error: The connection to the database broke (ConnectError)."),
    ],
    ids=["organization", "migrations", "key", "gateway", "connection"],
)
def test_a_run_that_was_not_possible_is_exit_code_3_and_one_sentence(
    launches: FakeApi, reply: Reply, sentence: str
) -> None:
    launches.on("step", reply)
    launches.on("report", reply)
    result = invoke("run")
    assert result.exit_code == 3
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert sentence in line
    assert "CANARY" not in line


def test_a_wrong_configuration_is_exit_code_3_and_named(launches: FakeApi, environ: pytest.MonkeyPatch) -> None:
    environ.delenv("SUPABASE_URL")
    environ.delenv("SYSTEM_USER_ID")
    result = invoke("run")
    assert result.exit_code == 3
    assert result.stderr == "Error: Invalid settings: SUPABASE_URL is not set; SYSTEM_USER_ID is not set.\n"


def test_a_mistake_of_ours_is_exit_code_3_and_its_message_stays_inside(
    launches: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError(ROW_DATA)

    monkeypatch.setattr("runner.commands.run.automate", broken)
    result = invoke("run")
    assert result.exit_code == 3
    assert "builtins.KeyError" in result.stderr
    assert "CANARY" not in result.output


def test_one_organization_may_be_asked_for(launches: FakeApi) -> None:
    assert invoke("run", "--organization-id", ORGANIZATION.upper()).exit_code == 0
    assert launches.asked("step")[0]["p_organization_id"] == ORGANIZATION


def test_campaigns_that_no_run_launches_are_counted_for_a_person(
    launches: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.commands.run._progress", lambda *_, **__: nullcontext())
    monkeypatch.setattr("runner.commands.run.is_watched", lambda: True)
    launches.on("health", health(held=stuck(), backing_off=stuck()))
    last = invoke("run", "--organization-id", ORGANIZATION).stdout.splitlines()[-1]
    assert last == "2 campaigns wait or fail: `python -m runner status` shows why."
    launches.on("health", refusal("PGRST202"))
    assert invoke("run").stdout.splitlines()[-1] == "1 launched, 0 failed."


def test_a_dry_run_says_what_would_be(launches: FakeApi) -> None:
    launches.on("preview", {"campaigns": [outcome()], "errors": [], "cursor": None})
    result = invoke("run", "--dry-run")
    assert result.stdout.splitlines()[-1] == "1 would be launched, 0 failed."
    assert launches.names() == ["preview", "health"]


def test_a_dry_run_says_that_others_wait(launches: FakeApi) -> None:
    launches.on("preview", {"campaigns": [], "errors": [], "cursor": None})
    launches.on("health", health(needs_attention=stuck()))
    last = invoke("run", "--dry-run").stdout.splitlines()[-1]
    assert last == "1 campaign waits or fails: `python -m runner status` shows why."


def test_text_from_the_database_cannot_steer_the_terminal(launches: FakeApi) -> None:
    launches.on("report", report(outcome() | {"name": "\x1b[2J\x07evil\n\u202e"}, errors=(failure("\x1b[31m"),)))
    result = invoke("run")
    assert "?[2J?evil??" in result.stdout
    assert "\x1b" not in result.stdout


def test_sigterm_lets_the_step_end_and_the_table_says_that_work_is_left(launches: FakeApi) -> None:
    launches.before = lambda name, parameters: signal.raise_signal(signal.SIGTERM) if name == "step" else None
    launches.on("step", step(work_left=True, to_report=True))
    result = invoke("run")
    assert launches.names() == ["step", "report"]
    assert result.exit_code == 130
    assert result.stdout.splitlines()[-1] == "Work is left: run again to go on."


def test_a_second_ctrl_c_is_exit_code_130(launches: FakeApi) -> None:
    def impatient(name: str, parameters: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    launches.before = impatient
    result = invoke("run")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_the_signals_reach_the_run(launches: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[object] = []

    def remember(*_: object, shutdown: object, **__: object) -> None:
        stops.append(shutdown)
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.commands.run.automate", remember)
    invoke("run")
    assert isinstance(stops[0], Shutdown)


@pytest.fixture
def waiting(launches: FakeApi) -> FakeApi:
    """One campaign that waits after a failure."""
    freed = {"campaign_id": CAMPAIGN, "organization_id": ORGANIZATION, "name": "Spring\nsale", "attempts": 10}
    launches.on("retry", {"freed": [freed | {"error": "The database refused to write."}]})
    return launches


@pytest.mark.parametrize(("argument", "asked"), [(CAMPAIGN, CAMPAIGN), ("--all", None)])
def test_retry_frees_what_it_is_told_and_shows_it(waiting: FakeApi, argument: str, asked: str | None) -> None:
    result = invoke("retry", argument)
    assert result.exit_code == 0
    assert waiting.calls == [("campaign_runner_retry", {"p_campaign_id": asked})]
    head, row, blank, total = result.stdout.splitlines()
    assert head.split() == ["CAMPAIGN", "FAILED", "ID"]
    assert row.split() == ["Spring?sale", "10", CAMPAIGN]
    assert (blank, total) == ("", "1 campaign will be tried by the next run.")
    [freed] = json.loads(invoke("retry", argument, "--json").stdout)["freed"]
    assert (freed["campaign_id"], freed["attempts"]) == (CAMPAIGN, 10)


def test_retry_of_a_campaign_that_waits_for_nothing_is_exit_code_1(waiting: FakeApi) -> None:
    waiting.on("retry", {"freed": []})
    waiting.on("history", {"campaign": {"name": "Spring sale", "status": "paused"}, "launches": [], "is_cut": False})
    result = invoke("retry", CAMPAIGN)
    assert result.exit_code == 1
    assert result.stdout.startswith("Spring sale waits for nothing: it has the status paused")
    assert invoke("retry", "--all").exit_code == 0
    assert invoke("retry", "--all").stdout == "0 campaigns will be tried by the next run.\n"


def test_retry_of_a_campaign_that_is_unknown_is_exit_code_1_and_says_so(waiting: FakeApi) -> None:
    waiting.on("retry", {"freed": []})
    waiting.on("history", {"campaign": None, "launches": [], "is_cut": False})
    result = invoke("retry", CAMPAIGN)
    assert (result.exit_code, result.stderr) == (1, "Error: There is no campaign with this id.\n")


def test_a_warning_of_a_launch_is_shown(launches: FakeApi) -> None:
    warning = {"recipients_before": 5, "pending_before": 0, "exclude_tags": ["VIP"], "exclude_countries": []}
    launched = outcome(1)
    warnings = [{"campaign_id": launched["campaign_id"], **warning}]
    launches.on("report", report(launched) | {"warnings": warnings})
    shown = invoke("run").stdout
    assert "Warning: Campaign 1\n  It was launched with 5 recipients" in shown
    assert "1 names in exclude_tags kept no contact out" in shown


def test_a_lock_that_has_lasted_leaves_the_run_incomplete(launches: FakeApi) -> None:
    launches.on("step", step(failed=1, locked=1, to_report=True))
    launches.on("report", report(errors=(failure("Another transaction has locked this campaign."),)))
    assert json.loads(invoke("run", "--json").stdout)["complete"] is False


def test_campaigns_are_listed_with_their_ids(launches: FakeApi) -> None:
    row = {"campaign_id": CAMPAIGN, "organization_id": ORGANIZATION, "organization_name": "Acme", "name": "Spring"}
    found = {"campaigns": [row | {"status": "scheduled", "scheduled_at": "2062-01-01T10:00:00+00:00"}], "is_cut": True}
    launches.on("campaigns", found)
    result = invoke("campaigns", "--status", "scheduled", "--limit", "1")
    assert CAMPAIGN in result.stdout
    assert "2062-01-01 10:00:00 UTC" in result.stdout
    assert result.stdout.splitlines()[-1] == "These are the first 1; --limit shows more."
    selection = {"p_organization_id": None, "p_status": "scheduled", "p_max_campaigns": 1}
    assert launches.asked("campaigns") == [selection]
    assert json.loads(invoke("campaigns", "--json").stdout) == found
    launches.on("campaigns", {"campaigns": [], "is_cut": False})
    assert invoke("campaigns").stdout == "There are no such campaigns.\n"


@pytest.mark.parametrize("arguments", [(), (CAMPAIGN, "--all"), ("Spring sale",)])
def test_retry_wants_one_campaign_or_all(waiting: FakeApi, arguments: tuple[str, ...]) -> None:
    assert invoke("retry", *arguments).exit_code == 2
    assert waiting.calls == []


def test_retry_tries_again_where_the_database_cannot_be_asked(waiting: FakeApi) -> None:
    waiting.replies["campaign_runner_retry"].insert(0, page(502))
    assert invoke("retry", "--all").exit_code == 0
    waiting.on("retry", refusal("PGRST202"))
    assert invoke("retry", "--all").exit_code == 3


def test_version_and_help(launches: FakeApi) -> None:
    assert __version__ in invoke("--version").stdout
    for arguments in (("--help",), ("-h",)):
        result = invoke(*arguments)
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage:")
    for command in cli.commands:
        shown = invoke(command, "--help").stdout
        assert f"\n  Examples:\n    python -m runner {command}" in shown
        assert "\n  Exit codes:\n    0  " in shown
    assert launches.calls == []

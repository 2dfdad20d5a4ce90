from __future__ import annotations

import json
import signal

import httpx
import pytest
from click.testing import CliRunner, Result

from runner import __version__
from runner.cli import cli
from runner.stop import Stop
from tests.support.fake_api import (
    CAMPAIGN,
    ORGANIZATION,
    ROW_DATA,
    FakeApi,
    Reply,
    failure,
    outcome,
    page,
    refusal,
    report,
    step,
)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.fixture
def launches(environ: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    """A database with one campaign that is due. The command line needs no token."""
    environ.delenv("RUNNER_TOKENS")
    api.on("step", step(to_report=True))
    api.on("report", report(outcome(1, recipients=20_000)))
    return api


def test_what_was_launched_is_shown_in_a_table(launches: FakeApi) -> None:
    result = invoke("run")
    assert result.exit_code == 0
    head, row, blank, total = result.stdout.splitlines()
    assert head.split() == ["CAMPAIGN", "ID", "STATUS", "RECIPIENTS", "ORGANIZATION"]
    assert row.split() == ["Campaign", "1", outcome(1)["campaign_id"], "sending", "20,000", ORGANIZATION]
    assert head.index("STATUS") == row.index("sending")
    assert (blank, total) == ("", "1 launched, 0 failed.")


def test_json_is_the_body_of_the_contract_and_alone_on_stdout(launches: FakeApi) -> None:
    result = invoke("run", "--json")
    assert json.loads(result.stdout) == report(outcome(1, recipients=20_000))
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
        (httpx.ConnectError(ROW_DATA), "Error: No answer from the database (ConnectError)."),
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

    monkeypatch.setattr("runner.cli.automate", broken)
    result = invoke("run")
    assert result.exit_code == 3
    assert "builtins.KeyError" in result.stderr
    assert "CANARY" not in result.output


def test_one_organization_may_be_asked_for(launches: FakeApi) -> None:
    assert invoke("run", "--organization-id", ORGANIZATION.upper()).exit_code == 0
    assert launches.asked("step")[0]["p_organization_id"] == ORGANIZATION


def test_a_dry_run_says_what_would_be(launches: FakeApi) -> None:
    launches.on("preview", {"campaigns": [outcome()], "errors": [], "cursor": None})
    result = invoke("run", "--dry-run")
    assert result.stdout.splitlines()[-1] == "1 would be launched, 0 failed."
    assert launches.names() == ["preview"]


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
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "Work is left: run again to go on."


def test_a_second_ctrl_c_is_exit_code_3(launches: FakeApi) -> None:
    def impatient(name: str, parameters: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    launches.before = impatient
    result = invoke("run")
    assert result.exit_code == 3
    assert "interrupted" in result.stderr


def test_the_signals_reach_the_run(launches: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[object] = []

    def remember(*_: object, stop: object, **__: object) -> None:
        stops.append(stop)
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.cli.automate", remember)
    invoke("run")
    assert isinstance(stops[0], Stop)


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
    assert head.split() == ["CAMPAIGN", "ID", "ATTEMPTS", "LAST", "ERROR"]
    assert row.split() == ["Spring?sale", CAMPAIGN, "10", "The", "database", "refused", "to", "write."]
    assert (blank, total) == ("", "1 freed for the next run.")
    [freed] = json.loads(invoke("retry", argument, "--json").stdout)["freed"]
    assert (freed["campaign_id"], freed["attempts"]) == (CAMPAIGN, 10)


def test_retry_of_a_campaign_that_waits_for_nothing_is_exit_code_1(waiting: FakeApi) -> None:
    waiting.on("retry", {"freed": []})
    assert invoke("retry", CAMPAIGN).exit_code == 1
    assert invoke("retry", "--all").exit_code == 0
    assert invoke("retry", "--all").stdout == "0 freed for the next run.\n"


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

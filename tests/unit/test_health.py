"""GET /health and `status`: the same figures for a monitor and for a person."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from runner.commands import cli
from runner.commands.terminal import duration
from runner.settings import Settings
from tests.support.fake_api import (
    CAMPAIGN,
    ORGANIZATION,
    ROW_DATA,
    TOKEN,
    USER,
    FakeApi,
    Reply,
    health,
    listed,
    named,
    page,
    refusal,
    stuck,
)
from tests.unit.test_endpoint import AUTHORIZED, problem, start

DUE = listed(name="Late")
UNDER_WAY = {
    "state": "generating",
    "contacts_done": 450_000,
    "contacts_total": 1_000_000,
    "is_total_estimated": True,
    "percent": 45,
    "recipients_inserted": 440_000,
    "since": "2026-11-25T11:59:00Z",
    "worked_at": "2026-11-25T11:59:59Z",
    "attempts": 0,
    "failed_with": None,
    "last_error": None,
}


@pytest.fixture
def watched(environ: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    """A runner that is well."""
    api.on("health", health())
    return api


@pytest.fixture
def client(watched: FakeApi) -> FlaskClient:
    return start()


def late(seconds: int) -> dict[str, Any]:
    return health(oldest_due=DUE, oldest_due_seconds=seconds)


class TestEndpoint:
    def test_the_answer_is_what_the_database_says(self, client: FlaskClient, watched: FakeApi) -> None:
        response = client.get("/health", headers=AUTHORIZED)
        assert response.status_code == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert "X-Run-Id" not in response.headers
        assert "Retry-After" not in response.headers
        assert response.json == health()
        arguments = {"p_organization_id": None, "p_system_user_id": USER}
        roles = {"p_system_user_roles": ["owner", "admin", "member"]}
        without_details = {"p_with_details": False}
        assert watched.calls == [("campaign_runner_health", arguments | roles | without_details)]

    @pytest.mark.parametrize(("seconds", "status"), [(600, 200), (601, 503)])
    def test_a_campaign_that_waits_too_long_is_503_with_the_same_body(
        self, client: FlaskClient, watched: FakeApi, seconds: int, status: int
    ) -> None:
        watched.on("health", late(seconds))
        response = client.get("/health", headers=AUTHORIZED)
        assert response.status_code == status
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers.get("Retry-After") == (None if status == 200 else "60")
        assert response.json == late(seconds)

    def test_the_limit_can_be_set(self, client: FlaskClient, watched: FakeApi, environ: pytest.MonkeyPatch) -> None:
        environ.setenv("HEALTH_MAX_LATENESS_MINUTES", "60")
        watched.on("health", late(3600))
        assert client.get("/health", headers=AUTHORIZED).status_code == 200
        watched.on("health", late(3601))
        assert client.get("/health", headers=AUTHORIZED).status_code == 503

    @pytest.mark.parametrize("condition", ["held", "needs_attention", "backing_off", "taken_over"])
    def test_a_campaign_that_is_not_launched_is_503_and_a_line_in_the_log(
        self, client: FlaskClient, watched: FakeApi, condition: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client.get("/health", headers=AUTHORIZED)
        assert capsys.readouterr().err == ""
        watched.on("health", health(**{condition: stuck()}))
        assert client.get("/health", headers=AUTHORIZED).status_code == 503
        (line,) = capsys.readouterr().err.splitlines()
        entry = json.loads(line)
        assert (entry["severity"], entry["event"], entry[condition]) == ("WARNING", "campaign_stuck", 1)

    def test_what_is_under_way_or_has_no_time_is_no_503(self, client: FlaskClient, watched: FakeApi) -> None:
        watched.on("health", health(generating=stuck(**UNDER_WAY), unscheduled=named()))
        assert client.get("/health", headers=AUTHORIZED).status_code == 200

    def test_a_campaign_that_waits_too_long_is_in_the_log(
        self, client: FlaskClient, watched: FakeApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        watched.on("health", late(1200))
        client.get("/health", headers=AUTHORIZED)
        (line,) = capsys.readouterr().err.splitlines()
        entry = json.loads(line)
        assert (entry["severity"], entry["late_seconds"]) == ("WARNING", 1200)

    def test_head_is_the_same_without_the_body(self, client: FlaskClient, watched: FakeApi) -> None:
        watched.on("health", late(1200))
        response = client.head("/health", headers=AUTHORIZED)
        assert (response.status_code, response.data) == (503, b"")
        assert response.headers["Retry-After"] == "60"

    @pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {TOKEN}x"}])
    def test_nobody_without_the_token_learns_anything(
        self, client: FlaskClient, watched: FakeApi, headers: dict[str, str]
    ) -> None:
        response = client.get("/health", headers=headers)
        assert response.status_code == 401
        problem(response)
        assert watched.calls == []

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def test_other_methods_are_405(self, client: FlaskClient, watched: FakeApi, method: str) -> None:
        response = client.open("/health", method=method, headers=AUTHORIZED)
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD"
        problem(response)
        assert watched.calls == []

    def test_parameters_are_refused(self, client: FlaskClient, watched: FakeApi) -> None:
        """An organization_id that was passed over would make somebody believe that all is well with that one."""
        response = client.get(f"/health?organization_id={ORGANIZATION}", headers=AUTHORIZED)
        assert response.status_code == 400
        assert "no parameters" in problem(response)["detail"]
        assert watched.calls == []

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (httpx.ConnectError(ROW_DATA), 503),
            (page(502), 503),
            ({"due": ROW_DATA}, 503),
            (refusal("CR500"), 500),
            (refusal("PGRST202"), 500),
        ],
        ids=["connection", "gateway", "nonsense", "system user", "migrations"],
    )
    def test_a_database_that_cannot_be_asked_is_a_problem(
        self, client: FlaskClient, watched: FakeApi, reply: Reply, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("runner.health.PATIENCE_SECONDS", 0.0)
        watched.on("health", reply)
        response = client.get("/health", headers=AUTHORIZED)
        assert response.status_code == status
        assert "CANARY" not in json.dumps(problem(response))
        assert response.headers.get("Retry-After") == ("10" if status == 503 else None)

    def test_one_lost_answer_is_no_alarm(self, client: FlaskClient, watched: FakeApi) -> None:
        watched.on("health", page(502), health())
        assert client.get("/health", headers=AUTHORIZED).status_code == 200


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


class TestStatus:
    def test_it_shows_how_things_are(self, watched: FakeApi) -> None:
        run = {"run_id": USER, "opened_at": "2026-11-25T11:56:58Z", "closed_at": "2026-11-25T11:57:00Z"}
        failing = {"attempts": 3, "next_attempt_at": "2026-11-25T12:04:00Z", "detail": "the quota of Ann is used up"}
        watched.on(
            "health",
            health(
                due={"count": 10_000, "is_capped": True},
                generating=stuck(**UNDER_WAY | {"stalled_since": "2026-11-25T11:50:00Z"}),
                backing_off=stuck(**failing),
                upcoming=[listed(name="Summer sale", scheduled_at="2062-07-01T10:00:00Z", organization_name=None)],
                runs=[run | {"launched": 7, "failed": 1, "duration_seconds": 2.0}],
            ),
        )
        assert (
            invoke("status").stdout
            == f"""\
Last call        12 s ago
Last run ended   3 min ago
Due              10,000+
Waits for a run  none

Need attention: none

Held, too late: none

Taken over: none

Failing: 1
  Spring sale
    {CAMPAIGN}
    of Acme {ORGANIZATION}
    due for 2 min, 3 failed attempts, tried again in 4 min
    The database refused.
    In the words of the source: the quota of Ann is used up

Remedies: python -m runner doctor

Under way: 1
  Spring sale
    {CAMPAIGN}
    45 % [####......] generating
    450,000 of about 1,000,000 contacts, 440,000 recipients written
    since 1 min ago, 2 min late
    of Acme {ORGANIZATION}
    stalled: no step has worked on it since 10 min ago

Without a time: none

Next:
  Summer sale
    {CAMPAIGN}
    at 2062-07-01 10:00:00 UTC, in 13,001 d 22 h
    of organization {ORGANIZATION}

Last runs:
  {USER}
    began 3 min ago, 7 launched, 1 failed, took 2.0 s
"""
        )

    @pytest.mark.parametrize(("columns", "widest"), [(40, 40), (80, 80), (300, 100)])
    def test_no_line_is_wider_than_the_terminal(
        self, watched: FakeApi, columns: int, widest: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        words = {"name": "Spring sale " * 9, "last_error": "The database refused. " * 9, "detail": "no " * 99}
        watched.on("health", health(held=stuck(**words), generating=stuck(**UNDER_WAY | words), oldest_due=DUE))
        lines = invoke("status").stdout.splitlines()
        assert max(map(len, lines)) <= widest
        assert max(map(len, lines)) > widest - 15

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({}, 0),
            ({"generating": stuck(**UNDER_WAY)}, 0),
            ({"unscheduled": named()}, 0),
            ({"oldest_due": DUE, "oldest_due_seconds": 600}, 0),
            ({"oldest_due": DUE, "oldest_due_seconds": 601}, 1),
            ({"backing_off": stuck()}, 1),
            ({"held": stuck()}, 1),
            ({"needs_attention": stuck()}, 1),
            ({"taken_over": stuck()}, 1),
            ({"is_read_only": True}, 0),
            ({"is_read_only": True, "due": {"count": 1, "is_capped": False}}, 1),
        ],
        ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
    )
    @pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
    def test_exit_code_1_says_that_a_due_campaign_is_not_being_launched(
        self, watched: FakeApi, changes: dict[str, Any], code: int, option: list[str]
    ) -> None:
        watched.on("health", health(**changes))
        assert invoke("status", *option).exit_code == code

    def test_what_is_too_late_is_called_that(self, watched: FakeApi) -> None:
        watched.on("health", late(7300))
        assert "Waits for a run  2 h 1 min (too late: over 10 min), Late" in invoke("status").stdout

    def test_json_is_the_body_of_get_health_with_details(self, watched: FakeApi) -> None:
        answer = health(generating=stuck(**UNDER_WAY), held=stuck(detail="no"))
        watched.on("health", answer)
        assert json.loads(invoke("status", "--json").stdout) == answer
        assert watched.asked("health")[0]["p_with_details"] is True

    def test_one_organization_may_be_asked_for(self, watched: FakeApi) -> None:
        assert invoke("status", "--organization-id", ORGANIZATION).exit_code == 0
        assert watched.asked("health")[0]["p_organization_id"] == ORGANIZATION

    def test_a_database_that_cannot_be_asked_is_exit_code_3(self, watched: FakeApi) -> None:
        watched.on("health", refusal("PGRST202"))
        result = invoke("status")
        assert (result.exit_code, result.stdout) == (3, "")
        assert "apply the migrations" in result.stderr

    def test_names_cannot_steer_the_terminal(self, watched: FakeApi) -> None:
        evil = {"name": "\x1b[2Jevil"}
        watched.on(
            "health",
            health(unscheduled=named(**evil), oldest_due=DUE | evil, oldest_due_seconds=1, held=stuck(**evil)),
        )
        assert "\x1b" not in invoke("status").stdout

    def test_help(self, watched: FakeApi) -> None:
        result = invoke("status", "--help")
        assert result.exit_code == 0
        assert "Examples:" in result.stdout
        assert watched.calls == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.25, "0.2 s"),
        (9.94, "9.9 s"),
        (9.96, "9 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_length_of_time_has_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("minutes", ["0", "-1", "ten", "1.5"])
def test_a_limit_that_is_none_is_a_wrong_setting(environ: pytest.MonkeyPatch, minutes: str) -> None:
    environ.setenv("HEALTH_MAX_LATENESS_MINUTES", minutes)
    with pytest.raises(Exception, match="HEALTH_MAX_LATENESS_MINUTES"):
        Settings.load()

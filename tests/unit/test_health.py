"""GET /health and `status`: the same figures for a monitor and for a person."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from runner.cli import cli
from runner.settings import Settings
from runner.status import duration
from tests.support.fake_api import (
    CAMPAIGN,
    ORGANIZATION,
    ROW_DATA,
    TOKEN,
    USER,
    FakeApi,
    Reply,
    health,
    named,
    page,
    refusal,
)
from tests.unit.test_endpoint import AUTHORIZED, problem, start

DUE = {"campaign_id": CAMPAIGN, "organization_id": ORGANIZATION, "name": "Late", "scheduled_at": "2026-11-25T11:00:00Z"}
FAILED = {"attempts": 10, "next_attempt_at": None, "last_error": "The database refused."}
UNDER_WAY = {
    "state": "generating",
    "contacts_done": 450_000,
    "contacts_total": 1_000_000,
    "is_total_estimated": True,
    "percent": 45,
    "recipients_inserted": 440_000,
    "since": "2026-11-25T11:59:00Z",
    "worked_at": "2026-11-25T11:59:59Z",
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
        assert watched.calls == [("campaign_runner_health", arguments | roles)]

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

    def test_what_waits_for_a_person_is_no_503(self, client: FlaskClient, watched: FakeApi) -> None:
        """The runner is well, and calling it again mends nothing."""
        watched.on("health", health(needs_attention=named(**FAILED)))
        assert client.get("/health", headers=AUTHORIZED).status_code == 200

    def test_a_campaign_that_waits_too_long_is_in_the_log(
        self, client: FlaskClient, watched: FakeApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client.get("/health", headers=AUTHORIZED)
        assert capsys.readouterr().err == ""
        watched.on("health", late(1200))
        client.get("/health", headers=AUTHORIZED)
        (line,) = capsys.readouterr().err.splitlines()
        assert json.loads(line)["severity"] == "WARNING"
        assert "1200 s" in json.loads(line)["message"]

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
        watched.on(
            "health",
            health(
                due={"count": 10_000, "is_capped": True},
                generating=named(**UNDER_WAY),
                backing_off=named(**FAILED | {"attempts": 3, "next_attempt_at": "2026-11-25T12:04:00Z"}),
                runs=[run | {"launched": 7, "failed": 1, "duration_seconds": 2.0}],
            ),
        )
        result = invoke("status")
        assert result.exit_code == 0
        assert (
            result.stdout
            == f"""\
Last tick:          12 s ago
Last run ended:     3 min ago
Due:                10000+
Longest free wait:  none
Without a time:     0
Generating:         1
Backing off:        1
Held, too late:     0
Needs attention:    0

BACKING OFF  ID                                    ATTEMPTS  NEXT ATTEMPT  LAST ERROR
Spring sale  {CAMPAIGN}  3         in 4 min      The database refused.

GENERATING   ID                                    STATE       DONE  CONTACTS                    INSERTED  SINCE
Spring sale  {CAMPAIGN}  generating  45 %  450,000 of about 1,000,000  440,000   1 min ago

LAST RUNS  RUN                                   LAUNCHED  FAILED  TOOK
3 min ago  {USER}  7         1       2 s
"""
        )

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({}, 0),
            ({"backing_off": named(**FAILED)}, 0),
            ({"generating": named(**UNDER_WAY)}, 0),
            ({"oldest_due": DUE, "oldest_due_seconds": 600}, 0),
            ({"oldest_due": DUE, "oldest_due_seconds": 601}, 1),
            ({"held": named(**FAILED)}, 1),
            ({"needs_attention": named(**FAILED)}, 1),
            ({"unscheduled": named()}, 1),
        ],
        ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
    )
    @pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "json"])
    def test_exit_code_1_says_that_something_needs_a_person_or_is_too_late(
        self, watched: FakeApi, changes: dict[str, Any], code: int, option: list[str]
    ) -> None:
        watched.on("health", health(**changes))
        assert invoke("status", *option).exit_code == code

    def test_what_is_too_late_is_called_that(self, watched: FakeApi) -> None:
        watched.on("health", late(7300))
        line = f"Longest free wait:  2 h (too late: over 10 min), Late {CAMPAIGN}"
        assert line in invoke("status").stdout.splitlines()

    def test_json_is_the_body_of_get_health(self, watched: FakeApi) -> None:
        watched.on("health", health(generating=named(**UNDER_WAY)))
        result = invoke("status", "--json")
        assert json.loads(result.stdout) == health(generating=named(**UNDER_WAY))

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
            health(unscheduled=named(**evil), oldest_due=DUE | evil, oldest_due_seconds=1, held=named(**FAILED | evil)),
        )
        assert "\x1b" not in invoke("status").stdout

    def test_help(self, watched: FakeApi) -> None:
        result = invoke("status", "--help")
        assert result.exit_code == 0
        assert "Examples:" in result.stdout
        assert watched.calls == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_length_of_time_has_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("minutes", ["0", "-1", "ten", "1.5"])
def test_a_limit_that_is_none_is_a_wrong_setting(environ: pytest.MonkeyPatch, minutes: str) -> None:
    environ.setenv("HEALTH_MAX_LATENESS_MINUTES", minutes)
    with pytest.raises(Exception, match="HEALTH_MAX_LATENESS_MINUTES"):
        Settings.load()


def test_a_cold_start_loads_none_of_this() -> None:
    code = "import sys, runner.endpoint, runner.cli; sys.exit('runner.health' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

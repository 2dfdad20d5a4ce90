"""The Edge Function under real Deno, in front of the running function."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local.binaries import NODE_MODULES
from local.loopback import http_status
from local.service import Service as Server
from tests.support import records
from tests.support.programs import miss
from tests.support.service import Service

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "supabase" / "functions"
SOURCE = FOLDER / "run-campaigns" / "index.ts"
KEY, LEGACY_KEY, PUBLISHABLE_KEY = "sb_secret_edge", "eyJ.service_role", "sb_publishable_edge"


def deno() -> str:
    for program in NODE_MODULES.glob("@deno/*/deno"):
        return str(program)
    miss("npm has no Deno for this machine")


class EdgeFunction(Server):
    """`index.ts` with these secrets, where nothing may be imported from elsewhere."""

    name = "edge-function"

    def __init__(self, **secrets: str) -> None:
        super().__init__()
        self._program = deno()
        self._secrets = secrets

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/run-campaigns"

    def command(self) -> Sequence[str]:
        return [self._program, "run", "--no-remote", "--no-prompt", "--allow-env", "--allow-net=127.0.0.1", str(SOURCE)]

    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment(),
            "DENO_SERVE_ADDRESS": f"tcp:127.0.0.1:{self.port}",
            "DENO_DIR": str(self.directory / "cache"),
            "DENO_NO_UPDATE_CHECK": "1",
            "SUPABASE_SECRET_KEYS": json.dumps({"default": KEY, "other": "sb_secret_other"}),
            "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": PUBLISHABLE_KEY}),
            "SUPABASE_SERVICE_ROLE_KEY": LEGACY_KEY,
            **self._secrets,
        }

    def is_ready(self) -> bool:
        return http_status(self.port, "/run-campaigns", {}) == 405


@contextmanager
def edge_function(service: Service, **secrets: str) -> Iterator[Service]:
    """The service as a caller of the Edge Function sees it."""
    with EdgeFunction(**{"RUNNER_URL": service.url, "RUNNER_TOKEN": service.token, **secrets}) as function:
        yield replace(service, url=function.url, token=KEY)


def problem(response: httpx.Response) -> int:
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body.keys() >= {"type", "title", "status", "detail"}
    assert body["status"] == response.status_code
    return response.status_code


def test_types_and_style_are_right(tmp_path: Path) -> None:
    environment = {"DENO_DIR": str(tmp_path), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    for command in (["check", "--no-remote"], ["lint"], ["fmt", "--check", "--line-width=120"]):
        subprocess.run([deno(), *command, str(SOURCE)], env=environment, check=True)


def test_a_due_campaign_is_launched_and_the_answer_passed_on(service: Service) -> None:
    organization, another = service.organization(), service.organization()
    service.factory.crowd(organization, 3)
    campaign, other = service.factory.campaign(organization), service.factory.campaign(another)
    with edge_function(service) as edge:
        forecast = edge.post(f"?dry_run=true&organization_id={organization}")
        assert forecast.headers["X-Dry-Run"] == "true"
        assert records.status(service.database, campaign) == "scheduled"
        in_body = edge.post(json={"organization_id": str(organization), "name": "Functions"})
        assert records.status(service.database, other) == "scheduled"
        in_query = edge.post(f"?organization_id={another}")
    assert in_body.status_code == 200
    assert in_body.headers["Content-Type"] == "application/json"
    assert in_body.headers["X-Run-Complete"] == "true"
    assert in_body.headers["X-Dry-Run"] == "false"
    assert in_body.headers["X-Run-Id"]
    assert in_body.json() == forecast.json()
    assert [outcome["campaign_id"] for outcome in in_body.json()["campaigns"]] == [str(campaign)]
    assert [outcome["campaign_id"] for outcome in in_query.json()["campaigns"]] == [str(other)]


def test_only_a_secret_key_of_the_project_admits(service: Service) -> None:
    campaign = service.factory.campaign(service.organization())
    with edge_function(service) as edge:
        for headers in (
            {"Authorization": ""},
            {"Authorization": f"Bearer {PUBLISHABLE_KEY}"},
            {"Authorization": f"Bearer {service.token}"},
            {"apikey": PUBLISHABLE_KEY},
            {"apikey": ""},
            {"apikey": PUBLISHABLE_KEY, "Authorization": f"Bearer {KEY}"},
        ):
            assert problem(edge.post(headers=headers)) == 401
        assert records.status(service.database, campaign) == "scheduled"
        for key in (KEY, "sb_secret_other", LEGACY_KEY):
            assert edge.post(headers={"apikey": key, "Authorization": "Bearer of a user"}).status_code == 200
    assert records.status(service.database, campaign) == "sending"
    with edge_function(service, SUPABASE_SECRET_KEYS="", SUPABASE_SERVICE_ROLE_KEY="") as edge:
        assert problem(edge.post(headers={"apikey": ""})) == 401


def test_what_the_runner_refuses_is_passed_on(service: Service) -> None:
    with edge_function(service) as edge:
        assert problem(edge.post("?organisation_id=misspelt")) == 400
        assert problem(edge.post(json={"organization_id": "no UUID"})) == 400
        assert problem(edge.post(json={"name": "x" * 20_000})) == 413
        assert problem(edge.post(content=b'{"dry_run": true}')) == 415
        assert problem(edge.post(content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})) == 415
        response = edge.request("GET")
        assert problem(response) == 405
        assert response.headers["Allow"] == "POST"
    with edge_function(service, RUNNER_TOKEN="x" * 40) as edge:
        assert problem(edge.post()) == 401


def test_a_runner_that_does_not_answer_is_given_up_on(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with edge_function(service, RUNNER_URL=url, RUNNER_TIMEOUT_SECONDS="0.2") as edge:
            assert problem(edge.post()) == 504
    with edge_function(service, RUNNER_URL=url) as edge:
        assert problem(edge.post()) == 502


@pytest.mark.parametrize("secret", [{"RUNNER_URL": ""}, {"RUNNER_TOKEN": ""}, {"RUNNER_URL": "nonsense"}], ids=str)
def test_a_missing_secret_is_named_in_the_log_alone(service: Service, secret: dict[str, str]) -> None:
    with EdgeFunction(**{"RUNNER_URL": service.url, "RUNNER_TOKEN": service.token, **secret}) as function:
        response = httpx.post(function.url, headers={"apikey": KEY})
        assert problem(response) == 500
        assert "RUNNER_" not in response.text
        assert "RUNNER_URL" in function.log.read_text()

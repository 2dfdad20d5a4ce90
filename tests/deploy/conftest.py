"""A project in a stand-in for Google Cloud, and the function that it says it has deployed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from runner.errors import Unauthorized
from runner.http.auth import authorize
from tests.support import stand_in_server
from tests.support.google_cloud import Cloud

REPORT = {
    "processed_count": 1,
    "campaigns": [{"campaign_id": "77d2", "name": "Spring sale", "recipient_count": 20000}],
    "errors": [],
}


class Handler(stand_in_server.Handler):
    server: Deployed

    def do_POST(self) -> None:
        header = self.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ")
        self.server.before(token)
        try:
            authorize(header, [SecretStr(each) for each in self.server.cloud.accepted_tokens()])
            status = self.server.status
        except Unauthorized:
            status = 401
        self.server.requests.append((self.path, token, status))
        body = json.dumps(REPORT, separators=(",", ":")).encode() if status == 200 else b'{"detail":"refused"}'
        self.send_response(status)
        self.send_header("X-Run-Complete", "true")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Deployed(stand_in_server.StandInServer):
    """Answers as the function does, to the tokens that the stand-in has deployed. `before` is called first."""

    handler = Handler
    cloud: Cloud
    status = 200

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, int]] = []
        self.before: Callable[[str], None] = lambda token: None


@pytest.fixture
def function() -> Iterator[Deployed]:
    with Deployed() as server:
        yield server


@pytest.fixture
def cloud(tmp_path: Path, function: Deployed) -> Cloud:
    cloud = Cloud(tmp_path / "cloud", function.url)
    function.cloud = cloud
    return cloud


@pytest.fixture(scope="session")
def state_of_a_deployment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a first deployment leaves."""
    with Deployed() as server:
        cloud = Cloud(tmp_path_factory.mktemp("first") / "cloud", server.url)
        server.cloud = cloud
        result = cloud.deploy("--yes")
        assert result.returncode == 0, result.stderr
        return cloud.state


@pytest.fixture
def deployed(cloud: Cloud, state_of_a_deployment: dict[str, Any]) -> Cloud:
    """The project after a first deployment."""
    cloud.state = state_of_a_deployment
    return cloud

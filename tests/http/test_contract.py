"""Every bad input has its exact status, content type and headers, through the real server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support import records
from tests.support.service import Service

UNKNOWN = "11111111-1111-4111-8111-111111111111"
JSON = {"Content-Type": "application/json"}


def assert_problem(response: httpx.Response, status: int) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()


@pytest.mark.parametrize("path", ["/", "/api/campaigns/run-automation"])
def test_both_paths_run(service: Service, path: str) -> None:
    response = service.post(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"processed_count": 0, "campaigns": [], "errors": []}
    assert response.headers["X-Run-Id"]
    assert response.headers["X-Run-Complete"] == "true"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer wrong",
        b"Basic abcdef",
        "Bearer gültig".encode(),
        "Bearer gültig".encode("latin-1"),
        b"Bearer " + b"x" * 6_000,
    ],
    ids=["missing", "blank", "scheme only", "wrong", "other scheme", "utf-8", "latin-1", "6,000 bytes"],
)
@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_without_the_token_everything_is_401(service: Service, path: str, authorization: bytes | None) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization}
    response = httpx.post(service.url + path, headers=headers)
    assert_problem(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_is_read_in_any_case(service: Service) -> None:
    assert service.post(headers={"Authorization": f"bEARER {service.token}"}).status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/api/campaigns", "/api/campaigns/run-automation/", "/health/"])
def test_other_paths_are_404(service: Service, path: str) -> None:
    assert_problem(service.post(path), 404)


def test_another_method_is_405(service: Service) -> None:
    response = service.request("GET", "/")
    assert_problem(response, 405)
    assert response.headers["Allow"] == "POST"


def test_bad_parameters_are_400(service: Service) -> None:
    assert_problem(service.post(params={"organization_id": "not-a-uuid"}), 400)
    assert_problem(service.post(content=b"[" * 10_000, headers=JSON), 400)


def test_every_200_says_whether_the_run_was_dry(service: Service) -> None:
    assert service.post().headers["X-Dry-Run"] == "false"
    assert service.post(params={"dry_run": "true"}).headers["X-Dry-Run"] == "true"
    assert service.post(json={"dry_run": True}).headers["X-Dry-Run"] == "true"


def test_a_mistaken_dry_run_is_415_and_launches_nothing(service: Service) -> None:
    campaign = service.factory.campaign(service.organization())
    assert_problem(service.post(data={"dry_run": "true"}), 415)
    assert_problem(service.post(files={"dry_run": (None, "true")}), 415)
    assert_problem(service.post(json={"dryRun": True}), 400)
    assert records.status(service.database, campaign) == "scheduled"


def test_an_unknown_organization_is_404(service: Service) -> None:
    assert_problem(service.post(params={"organization_id": UNKNOWN}), 404)
    assert_problem(service.post(json={"organization_id": UNKNOWN}), 404)


def test_a_body_over_16_kib_is_413(service: Service) -> None:
    assert_problem(service.post(content=b" " * (16 * 1024 + 1)), 413)
    assert_problem(service.post(content=iter([b" " * 10_000, b" " * 10_000])), 413)  # chunked: no Content-Length
    assert service.post(content=b" " * (16 * 1024)).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"content": b"{", "headers": {"Content-Type": "application/octet-stream"}},
        {"json": {"name": "Functions"}},
    ],
    ids=str,
)
def test_the_bodies_that_schedulers_send_are_fine(service: Service, request_: dict[str, Any]) -> None:
    assert service.post(**request_).status_code == 200


def test_headers_beyond_the_limit_of_the_server_never_reach_us(service: Service) -> None:
    assert service.post(headers={"X-Long": "x" * 9_000}).status_code == 431

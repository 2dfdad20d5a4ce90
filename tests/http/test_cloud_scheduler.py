"""Requests as Cloud Scheduler sends them, with ID tokens that the function verifies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from local.function import Function
from tests.support import records, stand_in_server
from tests.support.service import Service
from tests.support.step_gate import gate, wait_until_held_up
from tests.support.token_issuer import AUDIENCE, SERVICE_ACCOUNT, TokenIssuer

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("function_with_issuer.py")
ROOT = Path(__file__).parents[2]


class CertificateHandler(stand_in_server.Handler):
    server: CertificateServer

    def do_GET(self) -> None:
        self.send_response(200 if self.server.works else 500)
        self.send_header("Cache-Control", "public, max-age=20000")
        self.end_headers()
        self.wfile.write(json.dumps(self.server.issuer.certificates).encode())


class CertificateServer(stand_in_server.StandInServer):
    """Where the issuer publishes its certificates. `works`: whether it answers with them."""

    handler = CertificateHandler

    def __init__(self, issuer: TokenIssuer) -> None:
        super().__init__()
        self.issuer = issuer
        self.works = True


@pytest.fixture(scope="module")
def certificate_server() -> Iterator[CertificateServer]:
    with CertificateServer(TokenIssuer()) as server:
        yield server


@pytest.fixture
def issuer(certificate_server: CertificateServer) -> TokenIssuer:
    return certificate_server.issuer


@pytest.fixture(scope="module")
def oidc_environment(environment: dict[str, str], certificate_server: CertificateServer) -> dict[str, str]:
    """As deploy.sh sets it, and the issuer."""
    return {
        **environment,
        "OIDC_AUDIENCE": AUDIENCE,
        "OIDC_SERVICE_ACCOUNT": SERVICE_ACCOUNT,
        "CERTIFICATES_URL": f"{certificate_server.url}/certs",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def oidc_function(oidc_environment: dict[str, str]) -> Iterator[Function]:
    with Function(oidc_environment, source=SOURCE) as function:
        yield function


@pytest.fixture
def scheduled(service: Service, oidc_function: Function) -> Service:
    return replace(service, url=oidc_function.url)


def call(service: Service, token: str, **changes: Any) -> httpx.Response:
    """What the job of deploy.sh sends: no body, and the content type that the Scheduler gives to that."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/octet-stream",
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": "campaign-runner",
        "X-CloudScheduler-ScheduleTime": "2026-11-24T21:31:00Z",
    }
    return service.post("/api/campaigns/run-automation", **{"headers": headers, "content": b"", **changes})


def launched(response: httpx.Response) -> list[UUID]:
    assert response.status_code == 200, response.text
    return [UUID(outcome["campaign_id"]) for outcome in response.json()["campaigns"]]


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe"])
def test_a_call_launches_what_is_due_whatever_bytes_its_body_holds(
    scheduled: Service, issuer: TokenIssuer, body: bytes
) -> None:
    """Only a body that is declared as JSON has parameters."""
    campaign = scheduled.factory.campaign(scheduled.organization())
    assert launched(call(scheduled, issuer.token(), content=body)) == [campaign]


def test_the_static_token_works_beside_it_and_nothing_else(scheduled: Service, issuer: TokenIssuer) -> None:
    campaign = scheduled.factory.campaign(scheduled.organization())
    for token in (
        issuer.token(aud=scheduled.url),
        issuer.token(email="a@b.c"),
        issuer.forged({"alg": "none"}),
        "x" * 40,
    ):
        response = call(scheduled, token)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.json()["detail"] == "A valid bearer token is required."
    assert records.status(scheduled.database, campaign) == "scheduled"
    assert launched(scheduled.post()) == [campaign]


def test_without_static_tokens_the_scheduler_alone_comes_in(
    service: Service, oidc_environment: dict[str, str], issuer: TokenIssuer
) -> None:
    with Function({**oidc_environment, "RUNNER_TOKENS": ""}, source=SOURCE) as function:
        alone = replace(service, url=function.url)
        assert alone.post().status_code == 401
        assert alone.post(headers={"Authorization": "Bearer"}).status_code == 401
        assert launched(call(alone, issuer.token())) == []


def test_while_certificates_cannot_be_fetched_a_call_is_told_to_come_again(
    service: Service, oidc_environment: dict[str, str], certificate_server: CertificateServer, issuer: TokenIssuer
) -> None:
    campaign = service.factory.campaign(service.organization())
    with Function(oidc_environment, source=SOURCE) as function:
        waiting = replace(service, url=function.url)
        certificate_server.works = False
        try:
            response = call(waiting, issuer.token())
        finally:
            certificate_server.works = True
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "10"
        assert certificate_server.url not in response.text
        assert records.status(service.database, campaign) == "scheduled"
        assert launched(waiting.post()) == [campaign]  # with the static token


def test_duplicates_of_one_call_launch_a_campaign_once(scheduled: Service, issuer: TokenIssuer) -> None:
    organization = scheduled.organization()
    contacts = scheduled.factory.contacts(organization, 500)
    campaign = scheduled.factory.campaign(organization)
    token, together = issuer.token(), threading.Barrier(4, timeout=60)

    def send() -> httpx.Response:
        together.wait()
        return call(scheduled, token)

    with ThreadPoolExecutor(4) as senders:
        answers = [sent.result() for sent in [senders.submit(send) for _ in range(4)]]

    assert [one for answer in answers for one in launched(answer)] == [campaign]
    assert records.recipients(scheduled.database, campaign).keys() == set(contacts)


def test_a_retry_while_the_first_attempt_still_runs_launches_the_rest_and_nothing_twice(
    scheduled: Service, issuer: TokenIssuer
) -> None:
    slow, other = scheduled.organization(), scheduled.organization()
    held, *_ = scheduled.factory.contacts(slow, 100)
    campaign = scheduled.factory.campaign(slow)
    with ThreadPoolExecutor(1) as scheduler:
        with gate(scheduled.project.database_url, held):
            first = scheduler.submit(call, scheduled, issuer.token())
            wait_until_held_up(scheduled.project.database_url)
            due_meanwhile = scheduled.factory.campaign(other)
            retry = call(scheduled, issuer.token())
            assert launched(retry) == [due_meanwhile]
            assert records.status(scheduled.database, campaign) == "scheduled"
        assert launched(first.result()) == [campaign]
    assert launched(call(scheduled, issuer.token())) == []


def test_a_manual_run_under_the_time_of_an_earlier_call_is_a_run_of_its_own(
    scheduled: Service, issuer: TokenIssuer
) -> None:
    organization = scheduled.organization()
    for _ in range(2):
        campaign = scheduled.factory.campaign(organization)
        assert launched(call(scheduled, issuer.token())) == [campaign]

"""ID tokens of Google's, signed here with keys of our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from runner.errors import CertificatesUnreachable, Unauthorized
from runner.http import certificates
from runner.http.auth import authorize
from runner.http.certificates import Certificates
from runner.settings import Identity
from tests.support.fake_api import TOKEN, FakeClock
from tests.support.token_issuer import AUDIENCE, SERVICE_ACCOUNT, Key, TokenIssuer

IDENTITY = Identity(AUDIENCE, SERVICE_ACCOUNT)


class Endpoint:
    """Google's address of certificates."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self.issuer = issuer
        self.requests = 0
        self.answer: Callable[[httpx.Request], httpx.Response] = self.publish

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return self.answer(request)

    def publish(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=self.issuer.certificates, headers={"Cache-Control": "public, max-age=20000"})


@pytest.fixture(scope="module")
def first_key() -> TokenIssuer:
    return TokenIssuer()  # making a key takes a moment


@pytest.fixture
def issuer(first_key: TokenIssuer) -> TokenIssuer:
    issuer = TokenIssuer.__new__(TokenIssuer)
    issuer.key, issuer.certificates = first_key.key, dict(first_key.certificates)
    return issuer


@pytest.fixture
def endpoint(issuer: TokenIssuer) -> Endpoint:
    return Endpoint(issuer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> FakeClock:
    """The clock of the certificates, which start unknown."""
    clock = FakeClock()
    monkeypatch.setattr(certificates, "shared", Certificates(clock=clock, transport=httpx.MockTransport(endpoint)))
    return clock


def enter(token: str) -> None:
    authorize(f"Bearer {token}", (SecretStr(TOKEN),), IDENTITY)


def is_refused(token: str) -> bool:
    try:
        enter(token)
    except Unauthorized:
        return True
    return False


@pytest.mark.parametrize("issuer_name", ["https://accounts.google.com", "accounts.google.com"])
def test_a_token_of_the_service_account_passes(clock: FakeClock, issuer: TokenIssuer, issuer_name: str) -> None:
    enter(issuer.token(iss=issuer_name))
    authorize(f"bearer {issuer.token()}", (), IDENTITY)


def test_without_an_identity_no_id_token_passes(clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint) -> None:
    with pytest.raises(Unauthorized):
        authorize(f"Bearer {issuer.token()}", (SecretStr(TOKEN),))
    assert endpoint.requests == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://example.org"},
        {"aud": [AUDIENCE]},
        {"aud": None},
        {"email": "somebody@test.iam.gserviceaccount.com"},
        {"email": SERVICE_ACCOUNT.upper()},
        {"email": None},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"iss": "https://accounts.google.com.example.org"},
        {"iss": None},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused_before_anything_is_fetched(
    clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint, changes: dict[str, Any]
) -> None:
    assert is_refused(issuer.token(**changes))
    assert endpoint.requests == 0


@pytest.mark.parametrize(
    ("claim", "seconds"), [("exp", -60), ("exp", -1_000_000), ("iat", 600)], ids=["expired", "long ago", "too early"]
)
def test_a_token_out_of_its_time_is_refused(clock: FakeClock, issuer: TokenIssuer, claim: str, seconds: int) -> None:
    changes: dict[str, Any] = {claim: int(time.time()) + seconds}
    assert is_refused(issuer.token(**changes))
    enter(issuer.token())


@pytest.mark.parametrize("changes", [{"exp": None}, {"exp": "x"}, {"iat": None}, {"iat": []}], ids=str)
def test_a_token_without_a_time_is_refused(clock: FakeClock, issuer: TokenIssuer, changes: dict[str, Any]) -> None:
    assert is_refused(issuer.token(**changes))


def test_a_few_seconds_between_the_clocks_do_not_matter(clock: FakeClock, issuer: TokenIssuer) -> None:
    enter(issuer.token(iat=int(time.time()) + 5))


def test_a_token_signed_with_another_key_under_a_known_name_is_refused(clock: FakeClock, issuer: TokenIssuer) -> None:
    assert is_refused(issuer.token(key=Key(issuer.key.id)))


def test_a_token_whose_claims_were_changed_after_signing_is_refused(clock: FakeClock, issuer: TokenIssuer) -> None:
    header, _, signature = issuer.token(exp=1).split(".")
    _, claims, _ = issuer.token().split(".")
    assert is_refused(f"{header}.{claims}.{signature}")


def test_a_token_without_a_signature_is_refused(clock: FakeClock, issuer: TokenIssuer) -> None:
    kid = issuer.key.id
    for algorithm in ("none", "None", "", None, ["RS256"], 1):
        assert is_refused(issuer.forged({"alg": algorithm, "kid": kid}))
    assert is_refused(issuer.forged({"kid": kid}))
    assert is_refused(issuer.forged({"alg": "RS256", "kid": kid}))


def test_the_public_certificate_is_no_shared_secret(clock: FakeClock, issuer: TokenIssuer) -> None:
    unsigned = issuer.forged({"alg": "HS256", "kid": issuer.key.id}).rpartition(".")[0]
    signature = hmac.new(issuer.key.certificate.encode(), unsigned.encode(), hashlib.sha256).digest()
    assert is_refused(issuer.forged({"alg": "HS256", "kid": issuer.key.id}, signature))


def test_a_token_that_names_no_key_is_refused(clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint) -> None:
    unusable: tuple[object, ...] = (None, 1, ["first"], {})
    for kid in unusable:
        assert is_refused(issuer.forged({"alg": "RS256", "kid": kid}))
    assert endpoint.requests == 0


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        "e30.e30.",
        "e30.W10.x",
        "W10.e30.x",
        "\u00e9.\u00ff.x",
        "." * 2 + "x" * 6000,
        "x" * 7000 + ".e30.e30",
    ],
)
def test_what_only_looks_like_a_token_is_refused(clock: FakeClock, token: str) -> None:
    assert is_refused(token)


def test_nesting_without_end_is_refused(clock: FakeClock) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 6000).decode()
    assert is_refused(f"e30.{deep}.x")


def test_certificates_are_fetched_once_until_they_are_old(
    clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint
) -> None:
    enter(issuer.token())
    clock.advance(19_999)
    enter(issuer.token())
    assert endpoint.requests == 1
    clock.advance(1)
    enter(issuer.token())
    assert endpoint.requests == 2


def test_a_token_of_a_new_key_passes_at_once_after_a_rotation_and_one_of_the_old_key_no_more(
    clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint
) -> None:
    old = issuer.token()
    enter(old)
    clock.advance(60)
    issuer.rotate()
    enter(issuer.token())
    assert endpoint.requests == 2
    assert is_refused(old)


def test_tokens_that_name_unknown_keys_cause_no_flood_of_requests(
    clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint
) -> None:
    enter(issuer.token())
    clock.advance(60)
    assert all(is_refused(issuer.forged({"alg": "RS256", "kid": f"unknown {n}"})) for n in range(50))
    assert endpoint.requests == 2
    enter(issuer.token())


FAILURES: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "500": lambda request: httpx.Response(500),
    "404": lambda request: httpx.Response(404, json={}),
    "a redirect": lambda request: httpx.Response(302, headers={"Location": "https://example.org"}),
    "HTML": lambda request: httpx.Response(200, text="<html>"),
    "another shape": lambda request: httpx.Response(200, json={"keys": []}),
    "nothing": lambda request: httpx.Response(200, json={}),
}


def refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def time_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too slow", request=request)


@pytest.mark.parametrize("answer", [*FAILURES.values(), refuse_connection, time_out])
def test_without_certificates_a_valid_token_is_neither_refused_nor_admitted(
    clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    endpoint.answer = answer
    for _ in range(2):
        with pytest.raises(CertificatesUnreachable):
            enter(issuer.token())
    assert endpoint.requests == 1
    enter(TOKEN)  # for which nothing has to be fetched

    endpoint.answer = endpoint.publish
    clock.advance(10)
    enter(issuer.token())


def test_certificates_that_are_there_outlast_an_endpoint_that_is_down(
    clock: FakeClock, issuer: TokenIssuer, endpoint: Endpoint
) -> None:
    enter(issuer.token())
    clock.advance(600)
    endpoint.answer = FAILURES["500"]
    with pytest.raises(CertificatesUnreachable):
        enter(issuer.forged({"alg": "RS256", "kid": "perhaps new"}))
    enter(issuer.token())
    clock.advance(20_000)
    with pytest.raises(CertificatesUnreachable):
        enter(issuer.token())


def test_the_log_says_why_and_shows_no_token(
    clock: FakeClock, issuer: TokenIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    token = issuer.token(aud="another")
    with caplog.at_level(logging.WARNING, "runner"):
        assert is_refused(token)
    assert caplog.messages == ["Refused an ID token: its audience is not OIDC_AUDIENCE."]
    assert not any(part in json.dumps(caplog.text) for part in token.split("."))


def test_a_static_token_loads_nothing_of_googles() -> None:
    code = (
        "import sys; from pydantic import SecretStr;"
        "from runner.http.auth import authorize; from runner.settings import Identity;"
        "authorize('Bearer ' + 'x' * 32, (SecretStr('x' * 32),), Identity('a', 'b@c'));"
        "import main; sys.exit('google.auth' in sys.modules or 'runner.http.certificates' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

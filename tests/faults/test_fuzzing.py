"""Five thousand requests that no scheduler sends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

import psutil
import pytest

from local.function import Function
from tests.support import records
from tests.support.factory import Factory
from tests.support.rig import Rig

pytestmark = pytest.mark.slow

SEED = 20_261_124
REQUESTS = 5_000
THREADS = 8
SECONDS = 20.0  # an exchange that takes longer hangs
CANARY = "CANARY5f0c"

OURS = {200, 400, 401, 404, 405, 413, 415}
# Before we are called, gunicorn refuses what is no HTTP, with a page that quotes it; and the framework answers requests
# for /robots.txt and /favicon.ico, and redirects paths without a slash, or with two.
SERVERS = {308, 400, 404, 431}

METHODS = ["POST"] * 8 + [
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "post",
    "BREW",
    "",
    "P OST",
]
PATHS = ["/"] * 4 + ["/api/campaigns/run-automation"] * 4
PATHS += ["/health", "/robots.txt", "/favicon.ico", "//", "/../../etc/passwd", "/%00", "/%ff%fe", "/%2e%2e/", "*", ""]
PATHS += [
    f"/{CANARY}",
    "/" + "a" * 9_000,
    "http://other.example/",
    "/é",
    "/api/campaigns/run-automation/",
    "/;a=b",
    "/\x7f",
]
QUERIES = [""] * 6 + ["?", "?&&&", "?=", "?organization_id", "?organization_id=", "?dry_run=true", "?dry_run=maybe"]
QUERIES += ["?organization_id=0b7c0f0e-5b0e-4c3e-9d57-1f6f3b1a2c3d", "?organization_id=%00", "?organization_id=%ff"]
QUERIES += [f"?organization_id={CANARY}", "?unknown=1", "?dry_run=1&dry_run=0", "?dry_run=%zz", "?" + "a=b&" * 2_000]
TYPES = ["application/json"] * 6 + [
    "text/plain",
    "application/json; charset=utf-16",
    "application/x-www-form-urlencoded",
]
TYPES += ["multipart/form-data; boundary=x", "application/vnd.api+json", "", ";;;", "application/" + "j" * 500]
BODIES = [
    b"",
    b"{}",
    b" ",
    b"null",
    b"[]",
    b'"a"',
    b"{",
    b'{"dry_run": true}',
    b'{"dry_run": NaN}',
    b'{"a": 1, "a": 2}',
]
BODIES += [
    b"[" * 15_000,
    b'{"organization_id": 5}',
    b'{"organization_id": "%s"}' % CANARY.encode(),
    b"\xff\xfe{\x00}\x00",
]
BODIES += [b"\xef\xbb\xbf{}", b'{"\\ud800": 1}', b"9" * 16_384, b" " * 16_385, b"x" * 300_000, b'{"dry_run": 1e999}']
BODIES += [b'{"organization_id": null}', b"a=b&c=d", b"\x1f\x8b\x08\x00" + b"z" * 50, b"\x00" * 64]
HEADERS = ["X-A: b"] * 4 + [
    f"X-Canary: {CANARY}",
    f"traceparent: {CANARY}",
    "X-Cloud-Trace-Context: /;o=1",
    "Expect: 100-continue",
]
HEADERS += ["Content-Encoding: gzip", "X-Forwarded-Proto: https", "X-HTTP-Method-Override: DELETE", "Host: two.example"]
HEADERS += [
    "X-Long: " + "l" * 9_000,
    "no colon",
    "X-Nul: \x00",
    "X-Folded: a\r\n b",
    ": nameless",
    "Cookie: " + "c=d;" * 500,
]
HEADERS += [
    "Transfer-Encoding: identity",
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: many",
    "Upgrade: h2c",
]
CHUNKS = [b"%x\r\n%s\r\n0\r\n\r\n", b"%x\r\n%s\r\n", b"zz%x\r\n%s\r\n0\r\n\r\n", b"%x;a=b\r\n%s\r\n0\r\nX-T: r\r\n\r\n"]


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it."""

    request: bytes
    is_authorized: bool  # as it was sent: the server may not even have read it so
    answer: bytes | None  # None: it hung

    @property
    def status(self) -> int | None:
        """The status of the answer. None: the server closed the connection without one."""
        return int(self._final.split(b" ", 2)[1]) if self._final else None

    @property
    def body(self) -> bytes:
        """The body of the answer."""
        return self._final.partition(b"\r\n\r\n")[2]

    @property
    def is_ours(self) -> bool:
        """Whether the function made the answer."""
        return b"cache-control: no-store" in self._final.partition(b"\r\n\r\n")[0].lower()

    @property
    def _final(self) -> bytes:
        return (self.answer or b"").removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")

    def __repr__(self) -> str:
        return f"{self.request[:600]!r} was answered with {self.answer and self.answer[:600]!r}"


def compose(random: Random, token: str) -> tuple[bytes, bool]:
    """A request, and whether it has the right token."""
    method, path, query = random.choice(METHODS), random.choice(PATHS), random.choice(QUERIES)
    if random.random() < 0.05:
        path += quote(random.randbytes(8))
    body = random.choice(BODIES) if random.random() < 0.95 else random.randbytes(random.randrange(200))
    headers = [f"Content-Type: {random.choice(TYPES)}", "Connection: close"]
    if random.random() < 0.95:
        headers.append("Host: runner.example")
    is_authorized = random.random() < 0.15
    tokens = [token[:-1], token + "a", CANARY, "", "é" * 32, token.swapcase()]
    scheme = random.choice(["Bearer", "bearer"] if is_authorized else ["Bearer", "Basic", "", "Bearer Bearer"])
    if is_authorized or random.random() < 0.8:
        headers.append(f"Authorization: {scheme} {token if is_authorized else random.choice(tokens)}")
    if random.random() < 0.3:
        headers += random.sample(HEADERS, random.randint(1, 3))
    if random.random() < 0.15:
        headers.append("Transfer-Encoding: chunked")
        body = random.choice(CHUNKS) % (len(body), body)
    elif random.random() < 0.9:
        headers.append(f"Content-Length: {len(body) + random.choice([0] * 18 + [7, -1])}")
    random.shuffle(headers)
    head = "\r\n".join([f"{method} {path}{query} HTTP/{random.choice(['1.1'] * 18 + ['1.0', '3'])}", *headers])
    return head.encode() + b"\r\n\r\n" + body, is_authorized


def exchange(port: int, request: bytes) -> bytes | None:
    """Send it, end the sending, and read to the end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        try:
            # The server may answer and close before it has read everything.
            with suppress(ConnectionError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                answer += part
        except TimeoutError:
            return None
        except (ConnectionError, OSError):
            pass
    return answer


@dataclass(frozen=True)
class Aftermath:
    """All exchanges, and what they left behind."""

    exchanges: list[Exchange]
    log: str
    secrets: tuple[str, ...]
    wrote: bool
    is_well: bool


@pytest.fixture(scope="module")
def aftermath(rig: Rig) -> Iterator[Aftermath]:
    rig.set_scene()
    with rig.connect() as database, Function(rig.environment()) as function:
        factory = Factory(database)
        factory.empty_ledger()
        database.execute("delete from campaigns where status = 'scheduled'")
        factory.contacts(factory.organization(rig.system_user), 3)
        rig.call(function)
        before, workers = _tables(rig), _workers(function)
        random = Random(SEED)
        requests = [compose(random, rig.token) for _ in range(REQUESTS)]
        with ThreadPoolExecutor(THREADS) as clients:
            answers = clients.map(lambda each: exchange(function.port, each[0]), requests)
            exchanges = [Exchange(*request, answer) for request, answer in zip(requests, answers, strict=True)]
        is_well = function.exit_code is None and _workers(function) == workers and rig.call(function).status_code == 200
        yield Aftermath(
            exchanges,
            function.log.read_text(errors="replace"),
            (CANARY, rig.token, rig.stack.project.secret_key),
            _tables(rig) != before,
            is_well,
        )


def _workers(function: Function) -> set[int]:
    return {child.pid for child in psutil.Process(function.pid).children()}


def _tables(rig: Rig) -> dict[str, list[str]]:
    with rig.connect() as database:
        return records.everything(database, with_last_call=False)


def test_no_request_hangs_and_the_function_is_well_afterwards(aftermath: Aftermath) -> None:
    assert [each for each in aftermath.exchanges if each.answer is None][:3] == []
    assert aftermath.is_well


def test_every_answer_is_one_that_the_contract_names(aftermath: Aftermath) -> None:
    strange = [
        each
        for each in aftermath.exchanges
        if each.status is not None and each.status not in (OURS if each.is_ours else SERVERS)
    ]
    assert strange[:3] == []


def test_only_what_has_the_token_learns_more_than_that_it_has_none(aftermath: Aftermath) -> None:
    ours = [each for each in aftermath.exchanges if each.is_ours]
    assert len(ours) > REQUESTS / 3
    assert [each for each in ours if not each.is_authorized and each.status != 401][:3] == []
    statuses = {each.status for each in ours if each.is_authorized}
    assert statuses - {401} == OURS - {401}  # each of them was met; a second Authorization header would be 401


def test_every_refusal_is_a_problem_with_the_keys_of_the_contract(aftermath: Aftermath) -> None:
    for each in aftermath.exchanges:
        if each.is_ours and each.status != 200 and not each.request.startswith(b"HEAD"):
            problem = json.loads(each.body)
            assert problem.keys() - {"run_id"} == {"type", "title", "status", "detail"}, each
            assert problem["status"] == each.status, each


def test_no_answer_and_no_line_of_the_log_repeats_a_secret_or_the_request(aftermath: Aftermath) -> None:
    ours = [each for each in aftermath.exchanges if each.is_ours]
    for secret in aftermath.secrets:
        assert [each for each in ours if each.answer and secret.encode() in each.answer][:3] == []
        assert secret not in aftermath.log
    assert "Traceback" not in aftermath.log
    for line in aftermath.log.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["severity"] in ("INFO", "WARNING"), line


def test_nothing_was_written(aftermath: Aftermath) -> None:
    assert not aftermath.wrote

"""A proxy between the function and the REST server, which loses, spoils and delays what passes through it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Self
from urllib.parse import urlsplit

DELAY_SECONDS = 0.3
PAGE = b"<html><head><title>%d</title></head><body><h1>CANARY-PAGE</h1></body></html>"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Fault(Enum):
    """What happens to a request."""

    CUT_BEFORE = "the connection is cut before the request arrives"
    CUT_DURING = "the connection is cut in the middle of the request"
    CUT_AFTER = "the connection is cut after the database committed, before the answer"
    CUT_ANSWER = "the connection is cut in the middle of the answer"
    DELAY = "the answer is delayed"
    BAD_GATEWAY = "a 502 page in HTML after the database committed"
    TIMEOUT_PAGE = "a 524 page in HTML after the database committed"
    TRUNCATED = "the JSON of the answer is truncated"
    WRONG_TYPE = "an HTML page with status 200"


Plan = Callable[[int, str], Fault | None]  # takes the number of the request, from 1, and the name of the RPC function


def no_fault(number: int, function: str) -> Fault | None:
    """The plan of a healthy network."""
    return None


class FaultProxy:
    """Forwards to the REST server, by a plan that may be changed at any time. A context manager."""

    def __init__(self, upstream: str) -> None:
        self.plan: Plan = no_fault
        self.upstream = urlsplit(upstream)
        self._lock = Lock()
        self._requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def follow(self, plan: Plan) -> None:
        """Follow this plan from now on, and count from 1 again."""
        with self._lock:
            self.plan, self._requests = plan, 0

    def next_fault(self, function: str) -> Fault | None:
        """The fault of the request that has just come."""
        with self._lock:
            self._requests += 1
            number, plan = self._requests, self.plan
        return plan(number, function)


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = proxy.next_fault(self.path.removeprefix("/rest/v1/rpc/campaign_runner_"))
            if fault is Fault.CUT_BEFORE:
                return self._cut()
            if fault is Fault.CUT_DURING:
                self._forward_half(body)
                return self._cut()
            answer = self._forward(body)
            if fault is Fault.CUT_AFTER:
                return self._cut()
            if fault is Fault.DELAY:
                Event().wait(DELAY_SECONDS)
            if answer is None or fault is Fault.BAD_GATEWAY:
                return self._answer(502, "text/html", PAGE % 502)
            if fault is Fault.TIMEOUT_PAGE:
                return self._answer(524, "text/html", PAGE % 524)
            if fault is Fault.WRONG_TYPE:
                return self._answer(200, "text/html", PAGE % 200)
            status, content_type, content = answer
            if fault is Fault.TRUNCATED:
                content = content[: len(content) // 2]
            self._answer(status, content_type, content, cut=fault is Fault.CUT_ANSWER)
            return None

        def _forward(self, body: bytes) -> tuple[int, str, bytes] | None:
            connection = http.client.HTTPConnection(proxy.upstream.hostname or "", proxy.upstream.port, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            try:
                connection.request("POST", self.path, body, headers)
                response = connection.getresponse()
                return response.status, response.headers.get("Content-Type", ""), response.read()
            except (OSError, http.client.HTTPException):
                return None
            finally:
                connection.close()

        def _forward_half(self, body: bytes) -> None:
            with suppress(OSError), socket.create_connection((proxy.upstream.hostname, proxy.upstream.port)) as half:
                headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
                half.sendall(f"POST {self.path} HTTP/1.1\r\n{headers}\r\n".encode() + body[: len(body) // 2])

        def _answer(self, status: int, content_type: str, content: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self._cut()

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            with suppress(OSError):  # the function was killed
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

"""The function as its callers see it: an address, and a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Calls the function. `answers` keeps the body of each run that was answered by 200, by the id of the run."""

    url: str
    token: str
    timeout: float = 90
    send: Callable[..., httpx.Response] = httpx.request
    answers: dict[UUID, Any] | None = None

    def request(self, method: str, path: str = "/", **kwargs: Any) -> httpx.Response:
        """Call with the right token, unless the headers bring another."""
        headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}
        return self.send(method, self.url + path, headers=headers, timeout=self.timeout, **kwargs)

    def post(self, path: str = "/", **kwargs: Any) -> httpx.Response:
        """POST with the right token."""
        response = self.request("POST", path, **kwargs)
        if self.answers is not None and response.status_code == 200:
            self.answers[UUID(response.headers["X-Run-Id"])] = response.json()
        return response

    def run(self, path: str = "/", **kwargs: Any) -> dict[str, Any]:
        """The body of a run that must be answered by 200."""
        response = self.post(path, **kwargs)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

"""Seams for the unit tests: an API behind httpx.MockTransport, and a clock that never sleeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from uuid import UUID

import httpx

from runner.run.clock import Clock

URL = "https://canary-project.supabase.co"
KEY = "sb_secret_CANARY_KEY_4f1d"
TOKEN = "CANARY-TOKEN-0123456789-0123456789-0123456789"
USER = "11111111-1111-4111-8111-111111111111"
ORGANIZATION = "22222222-2222-4222-8222-222222222222"
CAMPAIGN = "33333333-3333-4333-8333-333333333333"
ROW_DATA = "CANARY-ROW jane@example.com"

Reply = dict[str, Any] | httpx.Response | Exception | Callable[[], dict[str, Any]]


class FakeClock(Clock):
    """Time passes when somebody waits, and when a test says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 1000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    def wait(self, over: Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.advance(seconds)
        return over.wait(0.0005)  # lets other threads have their turn

    def jitter(self) -> float:
        return 1.0

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


@dataclass
class FakeApi:
    """Answers each function from its list of replies, and with the last one from then on; a reply may be a function."""

    replies: dict[str, list[Reply]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    before: Callable[[str, dict[str, Any]], None] = lambda name, parameters: None

    def on(self, name: str, *replies: Reply) -> None:
        self.replies["campaign_runner_" + name] = list(replies)

    def names(self) -> list[str]:
        return [name.removeprefix("campaign_runner_") for name, _ in self.calls]

    def asked(self, name: str) -> list[dict[str, Any]]:
        return [parameters for each, parameters in self.calls if each == "campaign_runner_" + name]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/rest/v1/rpc/")
        parameters = json.loads(request.content)
        self.requests.append(request)
        self.calls.append((name, parameters))
        self.before(name.removeprefix("campaign_runner_"), parameters)
        replies = self.replies[name]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        if callable(reply) and not isinstance(reply, httpx.Response):
            reply = reply()
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)


def step(**changes: Any) -> dict[str, Any]:
    """The answer of a step; that of an idle one, but for the changes."""
    idle = {
        "work_left": False,
        "laid_out": False,
        "busy": 0,
        "contacts": 0,
        "reconciled": 0,
        "launched": 0,
        "failed": 0,
        "locked": 0,
        "timed_out": False,
        "unrecorded": None,
        "to_report": False,
    }
    return idle | changes


def outcome(number: int = 0, *, recipients: int = 3) -> dict[str, Any]:
    return {
        "campaign_id": str(UUID(int=UUID(CAMPAIGN).int + number)),
        "organization_id": ORGANIZATION,
        "name": f"Campaign {number}",
        "previous_status": "scheduled",
        "new_status": "sending",
        "recipients_generated": recipients > 0,
        "recipient_count": recipients,
    }


def report(*campaigns: dict[str, Any], errors: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"processed_count": len(campaigns), "campaigns": list(campaigns), "errors": list(errors)}


def health(**changes: Any) -> dict[str, Any]:
    """The answer of `campaign_runner_health` where all is well, but for the changes."""
    nothing = {"count": 0, "is_capped": False}
    lists = ("unscheduled", "generating", "held", "needs_attention", "backing_off", "taken_over")
    well: dict[str, Any] = {
        "checked_at": "2026-11-25T12:00:00Z",
        "is_read_only": False,
        "last_tick_at": "2026-11-25T11:59:48Z",
        "last_run_ended_at": "2026-11-25T11:57:00Z",
        "oldest_due_seconds": None,
        "oldest_due": None,
        "due": nothing,
        **{name: {**nothing, "campaigns": []} for name in lists},
        "upcoming": [],
        "runs": [],
    }
    return well | changes


def listed(**fields: Any) -> dict[str, Any]:
    """A campaign as the health lists it."""
    campaign = {
        "campaign_id": CAMPAIGN,
        "organization_id": ORGANIZATION,
        "organization_name": "Acme",
        "name": "Spring sale",
        "scheduled_at": "2026-11-25T11:58:00Z",
    }
    return campaign | fields


def named(**fields: Any) -> dict[str, Any]:
    """A campaign of a list of the health, in a list of its own."""
    return {"count": 1, "is_capped": False, "campaigns": [listed(**fields)]}


def stuck(**fields: Any) -> dict[str, Any]:
    """A launch that has failed ten times, in a list of its own."""
    launch = {
        "state": "opened",
        "since": "2026-11-25T11:59:00Z",
        "late_seconds": 120,
        "contacts_done": 0,
        "contacts_total": None,
        "is_total_estimated": False,
        "percent": None,
        "recipients_inserted": 0,
        "worked_at": None,
        "stalled_since": None,
        "attempts": 10,
        "next_attempt_at": None,
        "failed_with": "P0001",
        "last_error": "The database refused.",
        "detail": None,
    }
    return named(**launch | fields)


def failure(text: str = "The audience is too large.") -> dict[str, Any]:
    return {"campaign_id": CAMPAIGN, "error": text}


def refusal(code: str | None, status: int = 400, message: str = ROW_DATA) -> httpx.Response:
    """An error as PostgREST gives it, full of what nobody may see."""
    body = {"message": message, "details": f"Failing row contains ({ROW_DATA})", "hint": ROW_DATA}
    return httpx.Response(status, json=body if code is None else {"code": code, **body})


def page(status: int) -> httpx.Response:
    """An error page of a gateway."""
    return httpx.Response(status, html=f"<html><body>{ROW_DATA} error {status}</body></html>")

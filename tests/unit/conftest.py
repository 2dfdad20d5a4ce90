from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import httpx
import pytest

from runner import database, log
from runner.settings import HttpSettings
from tests.support.fake_api import KEY, TOKEN, URL, USER, FakeApi, FakeClock


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches them."""
    names = {name.upper() for name in HttpSettings.model_fields} | {"SUPABASE_SERVICE_ROLE_KEY"}
    for name in list(os.environ):
        if name.upper() in names:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a process keeps begins anew: the database, and the logging."""
    monkeypatch.setattr(database, "_shared", None)
    logger = logging.getLogger("runner")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A valid environment."""
    monkeypatch.setenv("SUPABASE_URL", URL)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    monkeypatch.setenv("SYSTEM_USER_ID", USER)
    monkeypatch.setenv("RUNNER_TOKENS", TOKEN)
    return monkeypatch


@pytest.fixture
def settings(environ: pytest.MonkeyPatch) -> HttpSettings:
    return HttpSettings.load()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of every run in this test."""
    clock = FakeClock()
    for module in ("query", "run.automation", "commands.preview", "commands.doctor"):
        monkeypatch.setattr(f"runner.{module}.Clock", lambda: clock)
    return clock


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> FakeApi:
    """The API that everything in this test connects to."""
    api = FakeApi()
    new_client = database._new_http_client
    monkeypatch.setattr(database, "_new_http_client", lambda _: new_client(httpx.MockTransport(api)))
    log.configure()
    return api

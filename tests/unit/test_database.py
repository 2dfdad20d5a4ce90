from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import httpx
import pytest

from runner import database
from runner.database import Database
from runner.errors import (
    CampaignNotFound,
    DatabaseRefused,
    Impaired,
    InvalidProject,
    Nonsense,
    OrganizationNotFound,
    RunClosed,
    RunnerError,
    StatementTimeout,
    Unavailable,
    Unreachable,
)
from runner.run.results import StepResult
from runner.settings import HttpSettings
from tests.support.fake_api import (
    KEY,
    ORGANIZATION,
    ROW_DATA,
    URL,
    FakeApi,
    Reply,
    page,
    refusal,
    step,
)

RUN = UUID("55555555-5555-4555-8555-555555555555")

MISCONFIGURED = [
    *("PGRST106", "PGRST202", "PGRST203", "42883", "42P01", "42501", "3F000"),
    *("PGRST301", "PGRST302", "PGRST303"),
]
PASSING = [
    *("08006", "40001", "40P01", "53300", "53400", "55P03", "57P01", "57P03", "58030", "25006"),
    *("PGRST000", "PGRST001", "PGRST002", "PGRST003"),
    "CR503",
]
REFUSED = ["P0001", "23505", "22P02", "XX000", "PGRST116", "weird", "5701400"]


def ask(settings: HttpSettings, *, timeout: float = 3.0) -> StepResult:
    return Database(settings).call("campaign_runner_step", {"p_run_id": RUN}, StepResult, timeout=timeout)


def call(settings: HttpSettings, api: FakeApi, reply: Reply) -> RunnerError:
    api.on("step", reply)
    with pytest.raises(RunnerError) as caught:
        ask(settings)
    return caught.value


def test_a_call_is_one_post_with_its_parameters(settings: HttpSettings, api: FakeApi) -> None:
    api.on("step", step(work_left=True, contacts=7))
    result = ask(settings)
    assert (result.work_left, result.contacts) == (True, 7)
    (request,) = api.requests
    assert request.method == "POST"
    assert str(request.url) == URL + "/rest/v1/rpc/campaign_runner_step"
    assert json.loads(request.content) == {"p_run_id": str(RUN)}


def test_a_request_carries_the_key_and_our_name(settings: HttpSettings, api: FakeApi) -> None:
    api.on("step", step())
    ask(settings)
    headers = api.requests[0].headers
    assert headers["apikey"] == KEY
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["user-agent"].startswith("campaign-runner/")
    assert headers["x-client-info"].startswith("campaign-runner/")


def test_each_call_has_its_own_time_to_read(settings: HttpSettings, api: FakeApi) -> None:
    api.on("step", step())
    connected = Database(settings)
    for seconds in (3.0, 12.5):
        connected.call("campaign_runner_step", {}, StepResult, timeout=seconds)
    timeouts = [request.extensions["timeout"] for request in api.requests]
    assert [each["read"] for each in timeouts] == [3.0, 12.5]
    assert [each["connect"] for each in timeouts] == [5.0, 5.0]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal("CR404", 404), OrganizationNotFound),
        (refusal("CR410", 400), CampaignNotFound),
        (refusal("CR409", 409), RunClosed),
        (refusal("CR500", 500), InvalidProject),
        (refusal("57014", 500), StatementTimeout),
        *[(refusal(code), InvalidProject) for code in MISCONFIGURED],
        (refusal(None, 401), InvalidProject),
        (refusal(None, 403), InvalidProject),
        (refusal(None, 404), InvalidProject),
        *[(refusal(code, 500), Unreachable if code.startswith("PGRST") else Impaired) for code in PASSING],
        *[(reply, Impaired) for status in (402, 540) for reply in (page(status), refusal(None, status))],
        (refusal(None, 429), Unreachable),
        (refusal(None, 503), Unreachable),
        *[(page(status), Unreachable) for status in (429, 500, 502, 503, 504, 520, 521, 522, 523, 524)],
        (httpx.Response(503), Unreachable),
        (httpx.Response(307, headers={"Location": "https://elsewhere.example"}), Unreachable),
        (httpx.ConnectError(ROW_DATA), Unreachable),
        (httpx.ConnectTimeout(ROW_DATA), Unreachable),
        (httpx.ReadTimeout(ROW_DATA), Unreachable),
        (httpx.PoolTimeout(ROW_DATA), Unreachable),
        (httpx.WriteError(ROW_DATA), Unreachable),
        (httpx.RemoteProtocolError(ROW_DATA), Unreachable),
        (httpx.DecodingError(ROW_DATA), Unreachable),
        *[(refusal(code), DatabaseRefused) for code in REFUSED],
        (page(200), Nonsense),
        (httpx.Response(200, json=None), Nonsense),
        (httpx.Response(200, json=[]), Nonsense),
        (httpx.Response(200, json=step() | {"work_left": "yes"}), Nonsense),
        (httpx.Response(200, content=b"[" * 100_000), Nonsense),
        (httpx.Response(200, content=b'{"work_left": "\xff"}'), Nonsense),
        (httpx.Response(204), Nonsense),
    ],
)
def test_every_foreign_error_becomes_one_of_ours_in_our_own_words(
    settings: HttpSettings, api: FakeApi, reply: Reply, kind: type[RunnerError]
) -> None:
    error = call(settings, api, reply)
    assert type(error) is kind
    assert error.__cause__ is not None or kind is Nonsense
    if not (isinstance(reply, httpx.Response) and b"CR500" in reply.content):
        assert "CANARY" not in str(error)
    assert "CANARY" not in error.detail


def test_the_message_of_a_misconfiguration_is_ours_and_kept(settings: HttpSettings, api: FakeApi) -> None:
    error = call(settings, api, refusal("CR500", 500, "The system user is not in profiles."))
    assert str(error) == "The system user is not in profiles."
    assert "profiles" not in error.detail


def test_missing_migrations_and_a_wrong_key_say_what_to_do(settings: HttpSettings, api: FakeApi) -> None:
    assert "apply the migrations" in str(call(settings, api, refusal("PGRST202", 404)))
    assert "SUPABASE_SECRET_KEY" in str(call(settings, api, refusal(None, 401)))
    assert "SUPABASE_SECRET_KEY" in str(call(settings, api, refusal("PGRST301", 401)))
    assert "SUPABASE_URL" in str(call(settings, api, refusal(None, 404)))


def test_what_may_pass_is_tried_once_here(settings: HttpSettings, api: FakeApi) -> None:
    assert isinstance(call(settings, api, page(503)), Unavailable)
    assert len(api.requests) == 1


def test_a_redirect_is_not_followed_with_the_key(settings: HttpSettings, api: FakeApi) -> None:
    call(settings, api, httpx.Response(307, headers={"Location": "https://elsewhere.example"}))
    assert [request.url.host for request in api.requests] == ["canary-project.supabase.co"]


def test_a_process_connects_once_however_many_threads_ask(settings: HttpSettings) -> None:
    connected: list[Database] = []
    together = Barrier(8, timeout=60)

    def connect(of: HttpSettings) -> Database:
        connected.append(Database(of))
        return connected[-1]

    def ask() -> Database:
        together.wait()
        return database.shared(settings, connect)  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as pool:
        answers = [done.result() for done in [pool.submit(ask) for _ in range(8)]]
    assert len(connected) == 1
    assert all(answer is connected[0] for answer in answers)
    connected[0].close()


def test_other_settings_mean_another_database(environ: pytest.MonkeyPatch, settings: HttpSettings) -> None:
    first = database.shared(settings)
    assert database.shared(HttpSettings.load()) is first
    environ.setenv("SYSTEM_USER_ID", ORGANIZATION)
    assert database.shared(HttpSettings.load()) is not first


def test_threads_keep_their_own_timeouts(settings: HttpSettings, api: FakeApi) -> None:
    connected, together = Database(settings), Barrier(4)
    api.on("step", step())
    api.before = lambda name, parameters: (together.wait(5), None)[1]

    def ask(seconds: int) -> None:
        connected.call("campaign_runner_step", {"p_max_rows": seconds}, StepResult, timeout=float(seconds))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ask, seconds) for seconds in (3, 5, 7, 9)]:
            done.result()
    seen = {json.loads(each.content)["p_max_rows"]: each.extensions["timeout"]["read"] for each in api.requests}
    assert seen == {3: 3.0, 5: 5.0, 7: 7.0, 9: 9.0}

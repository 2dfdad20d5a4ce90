from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import functions_framework
import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.fake_api import (
    KEY,
    ORGANIZATION,
    ROW_DATA,
    TOKEN,
    FakeApi,
    Reply,
    failure,
    outcome,
    page,
    refusal,
    report,
    step,
)

MAIN = Path(__file__).parents[2] / "main.py"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
PATH = "/api/campaigns/run-automation"


@pytest.fixture
def client(environ: pytest.MonkeyPatch, api: FakeApi) -> FlaskClient:
    """The function as the framework serves it, where the database is idle."""
    api.on("step", step())
    api.on("report", report())
    return start()


def start() -> FlaskClient:
    app: Flask = functions_framework.create_app("run_campaigns", str(MAIN))  # type: ignore[no-untyped-call]
    return app.test_client()


def problem(response: TestResponse) -> dict[str, Any]:
    """The problem that a response carries, in the form that RFC 9457 and the contract demand."""
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    body = json.loads(response.data)
    assert set(body) - {"run_id"} == {"type", "title", "status", "detail"}
    assert body["type"] == "about:blank"
    assert body["status"] == response.status_code
    assert body.get("run_id") == response.headers.get("X-Run-Id")
    assert "X-Run-Complete" not in response.headers
    assert "X-Dry-Run" not in response.headers
    return dict(body)


class TestSuccess:
    @pytest.mark.parametrize("path", ["/", PATH])
    def test_a_run_is_answered_with_exactly_the_contract(self, client: FlaskClient, api: FakeApi, path: str) -> None:
        api.on("step", step(to_report=True))
        api.on("report", report(outcome(1), outcome(2, recipients=0), errors=(failure(),)))
        response = client.post(path, headers=AUTHORIZED)
        assert response.status_code == 200
        assert response.content_type == "application/json"
        assert response.json == report(outcome(1), outcome(2, recipients=0), errors=(failure(),))
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Run-Complete"] == "true"
        assert response.headers["X-Dry-Run"] == "false"
        assert response.headers["X-Run-Id"] == api.asked("step")[0]["p_run_id"]

    def test_an_idle_tick_is_one_request(self, client: FlaskClient, api: FakeApi) -> None:
        response = client.post("/", headers=AUTHORIZED)
        assert response.json == {"processed_count": 0, "campaigns": [], "errors": []}
        assert api.names() == ["step"]

    def test_each_request_is_a_run_of_its_own(self, client: FlaskClient) -> None:
        ids = {client.post("/", headers=AUTHORIZED).headers["X-Run-Id"] for _ in range(3)}
        assert len({UUID(each) for each in ids}) == 3

    def test_a_run_that_leaves_work_says_so(self, client: FlaskClient, api: FakeApi, clock: Any) -> None:
        api.before = lambda name, parameters: clock.advance(30.0) if name == "step" else None
        api.on("step", step(work_left=True))
        assert client.post("/", headers=AUTHORIZED).headers["X-Run-Complete"] == "false"

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            (f"?organization_id={ORGANIZATION}", None),
            ("", {"organization_id": ORGANIZATION}),
            (f"?organization_id={ORGANIZATION.upper()}", {"organization_id": ORGANIZATION}),
        ],
    )
    def test_one_organization_may_be_asked_for(self, client: FlaskClient, api: FakeApi, query: str, body: Any) -> None:
        assert client.post(PATH + query, headers=AUTHORIZED, json=body).status_code == 200
        assert api.asked("step")[0]["p_organization_id"] == ORGANIZATION

    @pytest.mark.parametrize(("query", "body"), [("?dry_run=true", None), ("", {"dry_run": True})])
    def test_a_dry_run_previews(self, client: FlaskClient, api: FakeApi, query: str, body: Any) -> None:
        api.on("preview", {"campaigns": [outcome()], "errors": [failure()], "cursor": None})
        response = client.post("/" + query, headers=AUTHORIZED, json=body)
        assert response.json == report(outcome(), errors=(failure(),))
        assert response.headers["X-Run-Complete"] == "true"
        assert response.headers["X-Dry-Run"] == "true"
        assert api.names() == ["preview"]

    @pytest.mark.parametrize(
        ("data", "content_type"),
        [
            (b"", None),
            (b"", "application/json"),
            (b"{}", "application/json; charset=utf-8"),
            (b"\x00\xff", "application/octet-stream"),
            (b"a=b", "application/x-www-form-urlencoded"),
            (b'{"name": "Functions"}', "application/json"),
            (b" " * 16_384, "application/json"),
        ],
    )
    def test_the_bodies_of_schedulers_are_fine(self, client: FlaskClient, data: bytes, content_type: str) -> None:
        response = client.post("/", headers=AUTHORIZED, data=data, content_type=content_type)
        assert response.status_code == 200
        assert response.headers["X-Dry-Run"] == "false"


class TestAuthentication:
    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer " + "\u00e9\u00ff" * 30,
            "Bearer " + "x" * 6000,
            f"Bearer {TOKEN}{TOKEN}",
        ],
    )
    def test_nobody_without_the_token_runs_anything(
        self, client: FlaskClient, api: FakeApi, header: str | None
    ) -> None:
        headers = {} if header is None else {"Authorization": header}
        response = client.post("/", headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "run_id" not in problem(response)
        assert api.calls == []

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_scheme_may_be_in_any_case(self, client: FlaskClient, scheme: str) -> None:
        assert client.post("/", headers={"Authorization": f"{scheme} {TOKEN}"}).status_code == 200

    def test_every_configured_token_works(self, environ: pytest.MonkeyPatch, client: FlaskClient) -> None:
        environ.setenv("RUNNER_TOKENS", f"{'a' * 32},{'b' * 32}")
        environ.setenv("RUNNER_TOKEN", "c" * 32)
        statuses = {
            letter: client.post("/", headers={"Authorization": f"Bearer {letter * 32}"}).status_code
            for letter in "abcd"
        }
        assert statuses == {"a": 200, "b": 200, "c": 200, "d": 401}

    @pytest.mark.parametrize(
        "request_",
        [
            {"path": "/nowhere"},
            {"method": "GET"},
            {"method": "OPTIONS"},
            {"data": b"{", "content_type": "application/json"},
            {"data": b"x" * 20_000},
            {"path": "/?organization_id=x"},
        ],
        ids=["path", "method", "options", "json", "size", "query"],
    )
    def test_it_comes_before_anything_else(self, client: FlaskClient, request_: dict[str, Any]) -> None:
        assert client.open(**{"path": "/", "method": "POST", **request_}).status_code == 401


class TestBadRequests:
    @pytest.mark.parametrize("path", ["/nowhere", PATH + "/", "/api", "/main.py"])
    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_other_paths_are_not_there(self, client: FlaskClient, path: str, method: str) -> None:
        response = client.open(path, method=method, headers=AUTHORIZED)
        assert response.status_code == 404
        problem(response)

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    @pytest.mark.parametrize("path", ["/", PATH])
    def test_other_methods_are_not_allowed(self, client: FlaskClient, api: FakeApi, method: str, path: str) -> None:
        response = client.open(path, method=method, headers=AUTHORIZED)
        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
        assert response.headers["Cache-Control"] == "no-store"
        if method != "HEAD":
            problem(response)
        assert api.calls == []

    @pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", None])
    def test_a_large_body_is_refused(self, client: FlaskClient, api: FakeApi, content_type: str | None) -> None:
        response = client.post("/", headers=AUTHORIZED, data=b" " * 16_385, content_type=content_type)
        assert response.status_code == 413
        problem(response)
        assert api.calls == []

    def test_a_large_body_of_unknown_length_is_refused(self, client: FlaskClient, api: FakeApi) -> None:
        chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        response = client.post(
            "/", headers=AUTHORIZED, input_stream=io.BytesIO(b"x" * 20_000), environ_overrides=chunked
        )
        assert response.status_code == 413
        problem(response)
        assert api.calls == []

    def test_a_body_that_ends_early_launches_nothing(self, client: FlaskClient, api: FakeApi) -> None:
        short = {"wsgi.input": io.BytesIO(b"{}"), "CONTENT_LENGTH": "100"}
        response = client.post("/", headers=AUTHORIZED, environ_overrides=short)
        assert response.status_code >= 400  # our 400 becomes a 500 where the framework reads the rest of the body
        assert api.calls == []

    @pytest.mark.parametrize(
        ("query", "data", "detail"),
        [
            ("?organization_id=", b"", "organization_id must be a UUID."),
            ("?organization_id=all", b"", "organization_id must be a UUID."),
            ("?organization_id=%ff", b"", "organization_id must be a UUID."),
            (f"?organization_id={ORGANIZATION}&organization_id={ORGANIZATION}", b"", "organization_id is given"),
            ("?organisation_id=" + ORGANIZATION, b"", "Unknown query parameter 'organisation_id'"),
            ("?dry_run=maybe", b"", "dry_run must be true or false."),
            ("?dry_run", b"", "dry_run must be true or false."),
            ("?dry_run=true", b'{"dry_run": false}', "dry_run is not the same"),
            ("", b'{"organization_id": 1}', "organization_id must be a UUID."),
            ("", b'{"organization_id": "", "dry_run": true}', "organization_id must be a UUID."),
            ("", b"{", "The body is not valid JSON."),
            ("", b'{"x": NaN}', "The body is not valid JSON."),
            ("", b'{"x": 1, "x": 2}', "The body is not valid JSON."),
            ("", b"\xff", "The body is not valid JSON."),
            ("", b"[" * 16_000, "The body is not valid JSON."),
            ("", b"[]", "The body must be a JSON object."),
            ("", b"null", "The body must be a JSON object."),
            ("", b'{"dryRun": true}', "The body has 'dryRun' in a place or a spelling that is not read."),
        ],
    )
    def test_bad_input_launches_nothing(
        self, client: FlaskClient, api: FakeApi, query: str, data: bytes, detail: str
    ) -> None:
        response = client.post("/" + query, headers=AUTHORIZED, data=data, content_type="application/json")
        assert response.status_code == 400
        assert problem(response)["detail"].startswith(detail)
        assert api.calls == []

    @pytest.mark.parametrize(
        "request_",
        [
            {"data": b'{"dry_run": true}', "content_type": "application/x-www-form-urlencoded"},
            {"data": b'{"dry_run": true}'},
            {"data": {"dry_run": "true"}},
            {"data": {"dry_run": "true"}, "content_type": "multipart/form-data"},
            {"data": b"dry_run=true", "content_type": "application/json, text/plain"},
            {"data": b"dry_run=true", "query_string": "dry_run=true"},
        ],
        ids=["curl -d", "no type", "form", "curl -F", "two types", "query, too"],
    )
    def test_a_mistaken_dry_run_launches_nothing_and_is_logged(
        self, client: FlaskClient, api: FakeApi, capsys: pytest.CaptureFixture[str], request_: dict[str, Any]
    ) -> None:
        response = client.post("/", headers=AUTHORIZED, **request_)
        assert response.status_code == 415
        assert "?dry_run=true" in problem(response)["detail"]
        assert api.calls == []
        [line] = capsys.readouterr().err.splitlines()
        logged = json.loads(line)
        assert (logged["event"], logged["status"]) == ("request_refused", 415)
        assert problem(response)["detail"] in logged["message"]

    def test_a_compressed_body_launches_nothing(self, client: FlaskClient, api: FakeApi) -> None:
        compressed = {**AUTHORIZED, "Content-Encoding": "gzip"}
        assert client.post("/", headers=compressed, data=b"\x1f\x8b").status_code == 415
        assert api.calls == []


class TestFailures:
    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (refusal("CR404", 404), 404),
            (refusal("CR500", 500), 500),
            (refusal("PGRST202", 404), 500),
            (refusal("42501", 403), 500),
            (refusal("PGRST301", 401), 500),
            (refusal(None, 401), 500),
            (refusal("XX000", 500), 500),
            (httpx.ConnectError(ROW_DATA), 503),
            (refusal("PGRST002", 503), 503),
            (page(524), 503),
            ({"nonsense": ROW_DATA}, 503),
            (httpx.Response(200, json=[]), 503),
        ],
        ids=str,
    )
    def test_a_database_that_fails_is_a_problem_that_tells_nothing(
        self, client: FlaskClient, api: FakeApi, capsys: pytest.CaptureFixture[str], reply: Reply, status: int
    ) -> None:
        api.on("step", reply)
        api.on("report", reply)
        response = client.post("/", headers=AUTHORIZED)
        assert response.status_code == status
        assert problem(response)["run_id"] == api.calls[0][1]["p_run_id"]
        assert ("Retry-After" in response.headers) == (status == 503)
        assert "CANARY" not in response.text
        error = json.loads(capsys.readouterr().err.splitlines()[-1])
        assert error["severity"] == ("WARNING" if status == 404 else "ERROR")
        assert error["run_id"] == problem(response)["run_id"]

    def test_a_report_that_waits_for_running_steps_is_a_503(self, client: FlaskClient, api: FakeApi) -> None:
        api.on("step", step(launched=1, to_report=True))
        api.on("report", refusal("55P03", 500))
        response = client.post("/", headers=AUTHORIZED)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert len(api.asked("report")) > 1

    def test_a_mistake_of_ours_is_a_problem_and_its_message_stays_inside(
        self, client: FlaskClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise KeyError(ROW_DATA)

        monkeypatch.setattr("runner.http.endpoint.automate", broken)
        response = client.post("/", headers=AUTHORIZED)
        assert response.status_code == 500
        run_id = problem(response)["run_id"]
        (line,) = capsys.readouterr().err.splitlines()
        error = json.loads(line)
        assert error["run_id"] == run_id
        assert "builtins.KeyError" in error["stack_trace"]
        assert "CANARY" not in line + response.text


class TestConfiguration:
    def test_a_missing_setting_is_logged_at_the_start_and_answered_with_500(
        self, environ: pytest.MonkeyPatch, api: FakeApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        environ.delenv("SUPABASE_URL")
        environ.setenv("STEP_ROWS", "CANARY")
        client = start()
        at_start = json.loads(capsys.readouterr().err)
        assert at_start["severity"] == "CRITICAL"
        response = client.post("/", headers=AUTHORIZED)
        assert response.status_code == 500
        assert "SUPABASE_URL" not in response.text
        problem(response)
        at_request = json.loads(capsys.readouterr().err)
        for line in (at_start, at_request):
            assert "SUPABASE_URL is not set" in line["message"]
            assert "STEP_ROWS" in line["message"]
            assert "CANARY" not in line["message"]

    @pytest.mark.parametrize("value", [None, "", " , "])
    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}, AUTHORIZED])
    def test_without_a_configured_token_nobody_comes_in(
        self, environ: pytest.MonkeyPatch, api: FakeApi, value: str | None, header: dict[str, str]
    ) -> None:
        environ.delenv("RUNNER_TOKENS") if value is None else environ.setenv("RUNNER_TOKENS", value)
        assert start().post("/", headers=header).status_code == 500
        assert api.calls == []

    def test_a_setting_that_is_mended_works_at_once(self, environ: pytest.MonkeyPatch, api: FakeApi) -> None:
        api.on("step", step())
        environ.setenv("RUN_CONCURRENCY", "none")
        client = start()
        assert client.post("/", headers=AUTHORIZED).status_code == 500
        environ.setenv("RUN_CONCURRENCY", "2")
        assert client.post("/", headers=AUTHORIZED).status_code == 200

    def test_the_start_connects_to_nothing(self, environ: pytest.MonkeyPatch, api: FakeApi) -> None:
        start()
        assert api.calls == []


class TestLog:
    def test_lines_carry_the_trace_of_their_request(
        self, environ: pytest.MonkeyPatch, client: FlaskClient, capsys: pytest.CaptureFixture[str]
    ) -> None:
        environ.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
        trace = "0af7651916cd43dd8448eb211c80319c"
        client.post("/", headers={**AUTHORIZED, "X-Cloud-Trace-Context": f"{trace}/1;o=1"})
        client.post("/")
        first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
        assert first["logging.googleapis.com/trace"] == f"projects/my-project/traces/{trace}"
        assert "logging.googleapis.com/trace" not in second

    def test_no_secret_ever_reaches_an_answer_or_the_log(
        self, environ: pytest.MonkeyPatch, client: FlaskClient, api: FakeApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        environ.setenv("LOG_LEVEL", "DEBUG")
        replies: list[Reply] = [step(), refusal("CR404"), refusal("P0001"), page(503), httpx.ReadTimeout(ROW_DATA), {}]
        seen = ""
        for reply in replies:
            api.on("step", reply)
            for headers in (AUTHORIZED, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {KEY}"}):
                for path in ("/", "/?dry_run=CANARY", "/nowhere"):
                    response = client.post(path, headers=headers, json={"CANARY": "CANARY"})
                    seen += response.text + str(response.headers)
        captured = capsys.readouterr()
        assert "Answered with" in captured.err
        assert "CANARY" not in seen + captured.out + captured.err

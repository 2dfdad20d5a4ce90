"""What docs/contract.md says is true: its commands are run, its examples are held against docs/openapi.yaml."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import schemathesis
from click.testing import CliRunner
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from local.loopback import free_port
from runner.commands import cli
from runner.http.endpoint import BODY_BYTES
from tests.support.documentation import ROOT, Page, shell
from tests.support.service import Service

pytestmark = pytest.mark.slow

PAGE = Page("docs/contract.md")
ORGANIZATION = UUID("9a1b6c1e-52c7-4f0e-8f53-6d2f1f1c7a10")


@pytest.fixture(scope="module")
def api() -> Any:
    return schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")


@pytest.fixture
def campaign(service: Service) -> UUID:
    """Due, in the organization of the examples."""
    service.factory.organization(service.system_user, id=ORGANIZATION)
    service.factory.crowd(ORGANIZATION, 3)
    return service.factory.campaign(ORGANIZATION)


def documents(output: str) -> list[dict[str, Any]]:
    """JSON objects that stand one after the other."""
    found, rest = [], output.strip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        found.append(document)
        rest = rest[end:].strip()
    return found


def test_the_curl_commands_forecast_and_then_launch_what_is_due(
    service: Service, campaign: UUID, tmp_path: Path
) -> None:
    access = {"RUNNER_URL": service.url, "RUNNER_TOKEN": service.token}
    answers = [answer for block in PAGE.blocks("sh", "curl") for answer in documents(shell(block, access, tmp_path))]
    *runs, health = answers
    launched = [[UUID(outcome["campaign_id"]) for outcome in run["campaigns"]] for run in runs]
    assert launched == [[campaign], [campaign], []]
    assert runs[0] == runs[1]
    assert health["due"]["count"] == 0


def test_the_shell_commands_do_the_same(service: Service, campaign: UUID, tmp_path: Path) -> None:
    [block] = PAGE.blocks("sh", "python -m runner")
    output = shell(block, service.settings, tmp_path)
    assert "1 would be launched, 0 failed." in output
    [answer] = documents(output[output.index("{") :])
    assert [outcome["campaign_id"] for outcome in answer["campaigns"]] == [str(campaign)]


def test_the_python_example_tells_the_three_cases_apart(service: Service, campaign: UUID, tmp_path: Path) -> None:
    [block] = PAGE.blocks("python")
    (tmp_path / "example.py").write_text(block)

    def printed(**changes: str) -> str:
        return shell("python example.py", {**service.settings, **changes}, tmp_path)

    assert printed() == "1 [3] []\n"
    assert printed(SUPABASE_URL=f"http://127.0.0.1:{free_port()}", RUN_TIME_BUDGET_SECONDS="1") == "Later, then.\n"
    assert printed(STEP_ROWS="many").startswith("This does not mend itself: Invalid settings: STEP_ROWS")


@pytest.mark.parametrize("block", PAGE.blocks("json"))
def test_every_example_of_an_answer_is_one_of_the_document(block: str, api: Any) -> None:
    example = json.loads(block)
    problem = "status" in example
    response = httpx.Response(
        example["status"] if problem else 200,
        content=block,
        headers={"Content-Type": "application/problem+json" if problem else "application/json"},
        request=httpx.Request("POST", "http://127.0.0.1/"),
    )
    response.elapsed = timedelta()
    checks = [status_code_conformance, response_schema_conformance]
    api["/"]["POST"].Case().validate_response(response, checks=checks)


def test_the_statuses_and_headers_are_those_of_the_document(api: Any) -> None:
    statuses = set(re.findall(r"^\| ([2-5]\d\d) \|", PAGE.text, re.MULTILINE))
    assert statuses == {*api.raw_schema["paths"]["/"]["post"]["responses"], "405"}
    documented = {name for each in api.raw_schema["components"]["responses"].values() for name in each["headers"]}
    assert set(re.findall(r"^\| `([A-Z][\w-]+)` \|", PAGE.text, re.MULTILINE)) == {*documented, "Allow"}
    assert f"{BODY_BYTES // 1024} KiB" in PAGE.text


def test_the_exit_codes_are_those_of_the_help() -> None:
    help_text = CliRunner().invoke(cli, ["run", "--help"]).output
    codes = re.findall(r"^\| (1?\d|130) \| ([^|:]*?)(?::[^|]*)? \|$", PAGE.text, re.MULTILINE)
    assert codes == re.findall(r"^ +(\d|130)  (.*)$", help_text, re.MULTILINE)
    assert len(codes) == 5

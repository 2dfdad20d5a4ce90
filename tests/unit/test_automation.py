from __future__ import annotations

import subprocess
import sys
from uuid import UUID

import pytest

import runner
from runner import run_campaign_automation
from runner.errors import InvalidRequest, InvalidSettings, Unavailable
from runner.run.results import RunResult
from tests.support.fake_api import ORGANIZATION, FakeApi, outcome, page, report, step


def test_it_returns_what_http_answers(environ: pytest.MonkeyPatch, api: FakeApi) -> None:
    api.on("step", step(to_report=True))
    api.on("report", report(outcome()))
    result = run_campaign_automation()
    assert isinstance(result, RunResult)
    assert result.model_dump(mode="json") == report(outcome())


@pytest.mark.parametrize("organization_id", [ORGANIZATION, UUID(ORGANIZATION)], ids=["text", "uuid"])
def test_it_takes_one_organization(environ: pytest.MonkeyPatch, api: FakeApi, organization_id: str | UUID) -> None:
    api.on("step", step())
    run_campaign_automation(organization_id)
    (asked,) = api.asked("step")
    assert asked["p_organization_id"] == ORGANIZATION


@pytest.mark.parametrize("organization_id", ["", "all", "None"])
def test_what_is_no_organization_id_does_not_mean_all_of_them(
    environ: pytest.MonkeyPatch, api: FakeApi, organization_id: str
) -> None:
    with pytest.raises(InvalidRequest):
        run_campaign_automation(organization_id)
    assert api.calls == []


def test_each_call_is_a_run_of_its_own(environ: pytest.MonkeyPatch, api: FakeApi) -> None:
    api.on("step", step())
    run_campaign_automation()
    run_campaign_automation()
    first, second = (asked["p_run_id"] for asked in api.asked("step"))
    assert first != second


def test_it_needs_no_token(environ: pytest.MonkeyPatch, api: FakeApi) -> None:
    environ.delenv("RUNNER_TOKENS")
    api.on("step", step())
    assert run_campaign_automation().processed_count == 0


def test_errors_are_raised_as_ours(monkeypatch: pytest.MonkeyPatch, environ: pytest.MonkeyPatch, api: FakeApi) -> None:
    api.on("step", page(503))
    api.on("report", page(503))
    with pytest.raises(Unavailable):
        run_campaign_automation()
    monkeypatch.delenv("SUPABASE_URL")
    with pytest.raises(InvalidSettings):
        run_campaign_automation()


def test_the_function_imports_its_client_of_the_database_at_its_start() -> None:
    """A broken import fails the deployment, and not the first call. The rest of supabase would cost half a second."""
    code = "import sys, main; print('postgrest' in sys.modules, 'supabase' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "True False\n"


def test_the_function_imports_no_command() -> None:
    code = "import sys, main; print([name for name in sys.modules if name.startswith('runner.commands')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_package_says_its_version_and_its_function() -> None:
    assert runner.__all__ == ["__version__", "run_campaign_automation"]
    assert runner.__version__.count(".") == 2

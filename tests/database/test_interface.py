"""The functions of the database are called by the package by the names and arguments that they have."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from runner import database
from runner.commands import cli
from runner.commands.history import History
from runner.commands.preview import CampaignPreview
from runner.database import INTERFACE
from runner.run.results import RunResult, StepResult
from tests.conftest import Connect, Connection
from tests.database.test_privileges import CALLS
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.fake_api import KEY, URL, USER, FakeApi, health, refusal, report, step


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Each RPC of the package, with the names of the arguments that it sends."""
    monkeypatch.setenv("SUPABASE_URL", URL)
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    monkeypatch.setenv("SYSTEM_USER_ID", USER)
    api = FakeApi()
    api.on("step", step(to_report=True))
    api.on("report", report())
    api.on("preview", {"campaigns": [], "errors": [], "cursor": None})
    api.on("preview_campaign", refusal("CR410"))
    api.on("history", {"campaign": None, "launches": [], "is_cut": False})
    api.on("campaigns", {"campaigns": [], "is_cut": False})
    api.on("doctor", {"clock": 0.0, "facts": {}, "errors": {}})
    api.on("retry", {"freed": []})
    api.on("health", health())
    # The commands set up the log of this process, which other tests share.
    logger = logging.getLogger("runner")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(logger, name, copy(getattr(logger, name)))
    new_client = database._new_http_client
    monkeypatch.setattr(database, "_shared", None)
    monkeypatch.setattr(database, "_new_http_client", lambda _: new_client(httpx.MockTransport(api)))
    campaign = str(uuid4())
    for command in (
        *(["run"], ["run", "--dry-run"], ["retry", "--all"], ["status"], ["doctor"], ["campaigns"]),
        *(["preview", campaign], ["history", campaign]),
    ):
        CliRunner().invoke(cli, command)
    return {function: set(arguments) for function, arguments in api.calls}


def test_each_rpc_of_the_package_exists_with_just_the_arguments_that_it_sends(
    calls: dict[str, set[str]], database: Connection
) -> None:
    query = (
        "select proname, proargnames from pg_proc where pronamespace = 'public'::regnamespace and proname = any (%s)"
    )
    functions = {row["proname"]: set(row["proargnames"]) for row in records.rows(database, query, list(calls))}
    assert functions == calls


def test_the_package_calls_every_public_function_of_the_runner(
    calls: dict[str, set[str]], database: Connection
) -> None:
    query = "select proname from pg_proc where proname like 'campaign\\_runner\\_%%'"
    assert {row["proname"] for row in records.rows(database, query)} == set(calls)


def test_postgres_lets_no_call_write_that_only_reads(database: Connection) -> None:
    """A function that is declared stable may not write. The doctor tries to write, and undoes that."""
    query = "select proname from pg_proc where proname like 'campaign\\_runner\\_%%' and provolatile = 's'"
    readers = ("health", "preview", "preview_campaign", "history", "campaigns")
    assert {row["proname"] for row in records.rows(database, query)} == {f"campaign_runner_{name}" for name in readers}


def test_each_answer_is_of_the_shape_that_the_package_expects(
    organization: UUID, factory: Factory, automation: Callable[..., Automation]
) -> None:
    factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    factory.campaign(factory.organization())
    run = automation(max_rows=2)

    stepped = run.step()
    previewed = run.preview_campaign(campaign)
    reported = run.launch()

    assert StepResult.model_validate(stepped).model_dump(mode="json") == stepped
    assert CampaignPreview.model_validate(previewed).model_dump(mode="json") == previewed
    history = run.history(campaign)
    assert History.model_validate(history).model_dump(mode="json") == history
    result = RunResult.model_validate(reported)
    assert result.model_dump(mode="json") == reported
    assert [launched.campaign_id for launched in result.campaigns] == [campaign]
    assert len(result.errors) == 1


@pytest.mark.parametrize("function", ["step", "preview"])
@pytest.mark.parametrize(
    ("interface", "remedy"), [(INTERFACE + 1, "apply the migrations"), (INTERFACE - 1, "deploy the function")]
)
def test_another_interface_is_refused_before_anything_is_written(
    function: str, interface: int, remedy: str, organization: UUID, factory: Factory, database: Connection
) -> None:
    factory.contacts(organization, 3)
    factory.campaign(organization)
    before = records.everything(database)
    call = (
        f"select public.campaign_runner_{function}(p_organization_id => null, p_system_user_id => null,"
        " p_system_user_roles => '{owner}', p_max_rows => 1, p_interface => %s"
        + (", p_run_id => gen_random_uuid())" if function == "step" else ")")
    )
    with pytest.raises(psycopg.DatabaseError, match=remedy) as refused:
        database.execute(call.encode(), (interface,))
    assert refused.value.sqlstate == "CR500"
    assert records.everything(database) == before


@pytest.mark.parametrize("function", CALLS)
def test_a_call_during_an_upgrade_is_turned_away(
    function: str, database: Connection, connect_as: Connect, system_user: UUID
) -> None:
    service = Automation(connect_as("service_role"), system_user)
    with database.transaction():
        database.execute("select campaign_runner.begin_upgrade()")
        with pytest.raises(psycopg.DatabaseError, match="are being upgraded") as refused:
            CALLS[function](service)
    assert refused.value.sqlstate == "CR503"

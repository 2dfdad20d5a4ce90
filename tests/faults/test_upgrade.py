"""The next release replaces the functions while a launch is under way and the program of this release calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from local.function import Function
from local.migration import apply_migrations
from local.stack import Stack
from tests.support import records
from tests.support.eventually import eventually
from tests.support.fault_proxy import FaultProxy
from tests.support.memory import MEMORY
from tests.support.next_release import write_next_release, write_next_release_alone
from tests.support.project import schema
from tests.support.rig import Rig
from tests.support.step_gate import gate, wait_until_held_up

pytestmark = pytest.mark.slow

UPGRADE_WAITS = "select from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and not granted"


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An installation of this release, of the test's own."""
    with Stack(data_in=MEMORY) as stack, FaultProxy(stack.project.url) as proxy:
        yield Rig(stack, proxy)


@pytest.fixture
def upgrade(rig: Rig, tmp_path: Path) -> Callable[[], None]:
    """Installs the next release."""
    write_next_release(tmp_path / "next")
    return lambda: apply_migrations(rig.stack.project.database_url, tmp_path / "next")


def test_a_launch_in_the_middle_is_finished_and_no_call_mixes_two_releases(
    rig: Rig, upgrade: Callable[[], None]
) -> None:
    scene = rig.set_scene()
    url = rig.stack.project.database_url
    with (
        Function(rig.environment()) as function,
        Function(rig.environment(RUN_TIME_BUDGET_SECONDS="2")) as impatient,
        ThreadPoolExecutor(2) as crew,
        rig.connect() as observer,
    ):
        with gate(url, scene.middle):
            call = crew.submit(rig.call, function)
            wait_until_held_up(url)
            upgrading = crew.submit(upgrade)
            eventually(lambda: bool(records.rows(observer, UPGRADE_WAITS)))

            refused = rig.call(impatient)

            assert (refused.status_code, upgrading.done(), call.done()) == (503, False, False)
            assert records.status(observer, scene.due[0]) == "scheduled"
        upgrading.result()
        assert call.result().status_code == 200
        assert rig.settle(function, scene).all() == []
        assert records.launch(observer, scene.due[0])["state"] == "launched"
        assert records.rows(observer, "select from campaign_runner.run_errors") == []


def test_an_upgraded_database_has_the_schema_of_a_new_one(
    rig: Rig, upgrade: Callable[[], None], tmp_path: Path
) -> None:
    upgrade()
    write_next_release_alone(tmp_path / "alone")
    new = rig.stack.postgres.create_database("new")
    apply_migrations(new, tmp_path / "alone")
    assert schema(rig.stack.project.database_url) == schema(new)


def test_an_object_of_the_project_that_uses_a_dropped_function_refuses_the_upgrade_and_stays(
    rig: Rig, upgrade: Callable[[], None]
) -> None:
    view = "create view public.theirs as select campaign_ids from campaign_runner.find_work(null, null, '{}', now())"
    with rig.connect() as owner:
        owner.execute(view.encode())
        with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"view theirs depends on function"):
            upgrade()
        assert records.rows(owner, "select * from public.theirs")
        assert records.rows(owner, "select campaign_runner.schema_version() as v") == [{"v": "20261124009900"}]


def test_a_grant_of_the_project_on_a_function_that_stays_is_kept(rig: Rig, upgrade: Callable[[], None]) -> None:
    with rig.connect() as owner:
        owner.execute("create role reporter; grant execute on function public.campaign_runner_report(uuid) to reporter")
        upgrade()
        query = "select has_function_privilege('reporter', 'public.campaign_runner_report(uuid)', 'execute') as is_kept"
        assert records.rows(owner, query) == [{"is_kept": True}]

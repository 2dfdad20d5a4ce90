"""`make develop`, in clones of its own so that it does not meet yours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from dotenv import dotenv_values

from local.serve import SYSTEM_USER_ID, add_system_user
from local.stack import VARIABLES, Stack
from tests.support import records
from tests.support.eventually import eventually
from tests.support.factory import Factory

pytestmark = pytest.mark.slow

ORIGINAL = Path(__file__).parent.parent.parent
Develop = Callable[..., dict[str, str]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """With a source of its own, to be changed."""
    for name in ("local", "supabase"):
        (tmp_path / name).symlink_to(ORIGINAL / name)
    shutil.copy(ORIGINAL / "main.py", tmp_path)
    shutil.copytree(ORIGINAL / "runner", tmp_path / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def develop(clone: Path) -> Iterator[Develop]:
    """Start `make develop`, less make, and tell what it writes into .local/env once it is ready."""
    started = []

    def start(**variables: str) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "SYSTEM_USER_ID")}
        command = [sys.executable, "-m", "local", "serve", "--reload"]
        started.append(
            subprocess.Popen(command, cwd=clone, env={**environment, **variables}, stdout=subprocess.DEVNULL)
        )
        eventually((clone / ".local" / "env").exists)
        return {name: value or "" for name, value in dotenv_values(clone / ".local" / "env").items()}

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not (clone / ".local" / "env").exists()


def call(told: dict[str, str], path: str = "/") -> httpx.Response:
    headers = {"Authorization": f"Bearer {told['RUNNER_TOKEN']}"}
    return httpx.post(told["RUNNER_URL"] + path, headers=headers, timeout=30)


def detail(told: dict[str, str]) -> object:
    """What is answered where there is nothing. None: nobody answers."""
    try:
        return call(told, "/nowhere").json()["detail"]
    except httpx.TransportError:
        return None


def test_a_change_of_the_source_is_taken_up_by_the_running_function(clone: Path, develop: Develop) -> None:
    told = develop()
    assert call(told).json() == {"processed_count": 0, "campaigns": [], "errors": []}
    source = clone / "runner" / "errors.py"
    original = source.read_text()
    assert detail(told) == "There is nothing at this path."

    source.write_text(original.replace("There is nothing at this path.", "A change."))

    eventually(lambda: detail(told) == "A change.")

    source.write_text("this is no Python")
    eventually(lambda: detail(told) is None)
    source.write_text(original)
    eventually(lambda: detail(told) == "There is nothing at this path.")


def test_it_works_on_the_project_that_the_environment_names_and_changes_nothing_there(develop: Develop) -> None:
    """As `supabase start` has one: migrated, with the system user of the seed."""
    with Stack() as stack, psycopg.connect(stack.project.database_url, autocommit=True) as database:
        add_system_user(stack.project.database_url)
        project = stack.project
        told = develop(
            SUPABASE_URL=project.url, SUPABASE_SECRET_KEY=project.secret_key, DATABASE_URL=project.database_url
        )
        assert told["SUPABASE_URL"] == project.url
        assert database.execute("select id from profiles").fetchall() == [(SYSTEM_USER_ID,)]
        factory = Factory(database)
        campaign = factory.campaign(factory.organization(SYSTEM_USER_ID))
        assert call(told).json()["processed_count"] == 1
        assert records.status(database, campaign) == "sending"


def test_it_loads_no_demo_data_into_a_project_that_the_environment_names(clone: Path) -> None:
    # Nothing can start in this clone, because a file is where the directory would be.
    (clone / ".local").touch()
    refused = subprocess.run(
        [sys.executable, "-m", "local", "serve", "--reload"],
        cwd=clone,
        env={"SEED": "1", **dict.fromkeys(VARIABLES, "http://127.0.0.1:1")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    assert refused.stderr == "Error: SEED=1 is for the embedded project, and the environment names another one.\n"

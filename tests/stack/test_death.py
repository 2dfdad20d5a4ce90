"""Servers that die come back; owners that die leave nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from local import loopback
from local.postgres import Postgres
from local.rest import RestServer
from local.service import Service
from tests.support.eventually import eventually

pytestmark = pytest.mark.slow

CLONE = Path(__file__).parent.parent.parent
OWNER = """
import json, signal
from contextlib import suppress
from local.function import Function
from local.stack import Stack
with suppress(KeyboardInterrupt), Stack() as stack, Function({}) as function:
    print(json.dumps([str(s.directory) for s in (stack.postgres, stack.rest, function)]), flush=True)
    signal.pause()
"""
STARTING_OWNER = """
from local.postgres import Postgres
class Starting(Postgres):
    def wait_until_ready(self, seconds=60):
        print(self.directory, flush=True)
        input()
Starting().start()
"""


@contextmanager
def started(program: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own, which is killed at the end of the block at the latest."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=CLONE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def descendants(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_killed_postgres_comes_back_on_the_same_port_with_what_was_committed() -> None:
    with Postgres() as postgres:
        port, pid = postgres.port, postgres.pid
        with psycopg.connect(postgres.url()) as connection:
            connection.execute("create table kept as select 42 as answer")

        postgres.kill()
        postgres.wait_until_ready()

        assert (postgres.port == port, postgres.pid == pid) == (True, False)
        with psycopg.connect(postgres.url()) as connection:
            assert connection.execute("select answer from kept").fetchone() == (42,)
        assert "the server ended (Killed), starting it again" in postgres.log.read_text()


def test_a_killed_rest_server_comes_back_on_the_same_port(postgres: Postgres) -> None:
    with RestServer(postgres.url()) as rest:
        url, pid = rest.url, rest.pid

        rest.kill()
        rest.wait_until_ready()

        assert (rest.url == url, rest.pid == pid) == (True, False)
        assert "the server ended (Killed), starting it again" in rest.log.read_text()


def test_a_rest_server_survives_that_postgres_ends_its_connections(postgres: Postgres) -> None:
    with RestServer(postgres.url()) as rest, psycopg.connect(postgres.url(), autocommit=True) as connection:
        for _ in range(3):
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'postgres.js'"
            )
            eventually(rest.is_ready)


@pytest.mark.skipif(sys.platform != "linux", reason="a signal at the death of a parent is Linux's")
def test_a_killed_supervisor_takes_its_server_with_it(postgres: Postgres) -> None:
    with RestServer(postgres.url()) as rest:
        server = psutil.Process(rest.pid)

        server.parent().kill()

        eventually(lambda: is_gone(server))


@pytest.mark.parametrize("fatal_signal", [signal.SIGINT, signal.SIGKILL])
def test_an_owner_leaves_no_process_and_no_directory(fatal_signal: signal.Signals) -> None:
    with started(OWNER) as owner:
        assert owner.stdout is not None
        directories = [Path(directory) for directory in json.loads(owner.stdout.readline())]
        processes = descendants(owner.pid)
        owner.send_signal(fatal_signal)
        owner.wait(60)

    eventually(lambda: all(is_gone(process) for process in processes))
    eventually(lambda: not any(directory.parent.exists() for directory in directories))


def test_an_owner_killed_while_a_server_starts_leaves_nothing() -> None:
    with started(STARTING_OWNER) as owner:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        processes = descendants(owner.pid)
        owner.kill()

    eventually(lambda: all(is_gone(process) for process in processes))
    eventually(lambda: not directory.parent.exists())


def test_a_port_that_another_process_takes_first_is_not_insisted_on(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [postgres.port, loopback.free_port()]
    monkeypatch.setattr("local.service.free_port", lambda: ports.pop(0))

    with RestServer(postgres.url()) as rest:
        assert rest.is_ready()
        assert ports == []


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(RuntimeError, match="unrecognized configuration parameter"),
        Postgres(settings={"nonsense": "1"}),
    ):
        pass


def test_no_directory_of_others_changes_its_mode(postgres: Postgres) -> None:
    def modes() -> dict[Path, int]:
        places = (Path(sys.prefix), CLONE, postgres.directory.parent.parent)
        return {parent: parent.stat().st_mode for place in places for parent in (place, *place.parents)}

    before = modes()
    with Postgres() as another:
        assert isinstance(another, Service)
        assert modes() == before
    assert modes() == before

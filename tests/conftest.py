"""The databases of the tests: a server for each version of Postgres, a migrated template, a clone for each test."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from local.binaries import available_versions
from local.migration import apply_migrations
from local.postgres import Postgres
from tests.support.factory import Factory
from tests.support.memory import MEMORY
from tests.support.server import GivenServer, Server

Connection = psycopg.Connection[Any]
Connect = Callable[..., Connection]

VERSION = 18  # of all tests but those marked every_version
FAST_VERSIONS = (None, 15, 18)  # each version more is a server more to start: the others are for `make test-slow`
GIVEN = os.environ.get("DATABASE_URL")


@dataclass(frozen=True)
class Installation:
    """A server, and a migrated database on it to which nobody is connected."""

    server: Server
    template: str


def pytest_configure(config: pytest.Config) -> None:
    # A shell ignores interrupts in what it starts in the background, and each program that a test starts inherits this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "every_version: runs on Postgres 15, 16, 17 and 18, not on 18 alone")
    config.addinivalue_line("markers", "slow: belongs to `make test-slow`, not to `make test`")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "installation" not in metafunc.fixturenames:
        return
    versions: tuple[int | None, ...] = (VERSION,)
    if GIVEN:
        versions = (None,)
    elif metafunc.definition.get_closest_marker("every_version"):
        versions = available_versions()
    parameters = [
        pytest.param(
            version, id=f"postgres{version or ''}", marks=[pytest.mark.slow] if version not in FAST_VERSIONS else []
        )
        for version in versions
    ]
    metafunc.parametrize("installation", parameters, indirect=True, scope="session")


@pytest.fixture(scope="session")
def installations() -> Iterator[Callable[[int | None], Installation]]:
    """Of a version its server and template. They stay for the session: most files have tests for several versions."""
    with ExitStack() as exits:

        @cache
        def install(version: int | None) -> Installation:
            if version is None:
                assert GIVEN
                server: Server = GivenServer(GIVEN)
            else:
                server = exits.enter_context(Postgres(version, data_in=MEMORY))
            template = f"template_{uuid4().hex}"
            apply_migrations(server.create_database(template))
            exits.callback(server.drop_database, template)
            return Installation(server, template)

        yield install


@pytest.fixture(scope="session")
def installation(request: pytest.FixtureRequest, installations: Callable[[int | None], Installation]) -> Installation:
    """The one that the test is for."""
    return installations(request.param)


@pytest.fixture(scope="session")
def server(installation: Installation) -> Server:
    """An embedded server; where DATABASE_URL is set, the one that it names."""
    return installation.server


@pytest.fixture(scope="session")
def template(installation: Installation) -> str:
    """A migrated database to which nobody is connected."""
    return installation.template


@pytest.fixture
def database_url(server: Server, template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{uuid4().hex}"
    yield server.clone_database(name, template)
    server.drop_database(name)


@pytest.fixture
def empty_database_url(server: Server) -> Iterator[str]:
    """A new project, without the migrations."""
    name = f"test_{uuid4().hex}"
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    """The test's connection to its database, as the owner of the tables."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def factory(database: Connection) -> Factory:
    return Factory(database)


@pytest.fixture
def system_user(factory: Factory) -> UUID:
    return factory.user()


@pytest.fixture
def connect_as(database_url: str) -> Iterator[Connect]:
    """Connects in a role of the API, as PostgREST does for whoever has signed in as `user`."""
    with ExitStack() as connections:

        def connect(role: str, user: UUID | None = None) -> Connection:
            connection = connections.enter_context(psycopg.connect(database_url, autocommit=True))
            claims = {"role": role} | ({"sub": str(user)} if user else {})
            connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            return connection

        yield connect

"""Runs, each with a connection and a run id of its own, over the database of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.runs import Run


@pytest.fixture
def new_run(database_url: str, system_user: UUID) -> Iterator[Callable[..., Run]]:
    """Makes runs; `of` another run shares its id."""
    connections = []

    def make(of: Run | None = None) -> Run:
        connection = psycopg.connect(database_url)
        connection.execute("set role service_role")
        connection.commit()
        connections.append(connection)
        return Run(connection, of.run_id if of else uuid4(), system_user)

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def run(new_run: Callable[..., Run]) -> Run:
    return new_run()


@pytest.fixture
def rival(new_run: Callable[..., Run]) -> Run:
    return new_run()


@pytest.fixture
def second_connection(new_run: Callable[..., Run], run: Run) -> Run:
    """The same run, over another connection."""
    return new_run(run)

"""Runs, each with a connection and a run id of its own, over the database of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import psycopg
import pytest

from tests.support.automation import Automation


@pytest.fixture
def new_run(database_url: str, system_user: UUID) -> Iterator[Callable[..., Automation]]:
    """Makes runs; `of` another run shares its id."""
    connections = []

    def make(of: Automation | None = None) -> Automation:
        connection = psycopg.connect(database_url)
        connection.execute("set role service_role")
        connection.commit()
        connections.append(connection)
        return Automation(connection, system_user, run_id=of.run_id if of else None)

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def run(new_run: Callable[..., Automation]) -> Automation:
    return new_run()


@pytest.fixture
def rival(new_run: Callable[..., Automation]) -> Automation:
    return new_run()


@pytest.fixture
def second_connection(new_run: Callable[..., Automation], run: Automation) -> Automation:
    """The same run, over another connection."""
    return new_run(run)

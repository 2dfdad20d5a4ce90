"""Runs, each with a connection and a run id of its own, over the database of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.runs import Run

SYSTEM_USER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def new_run(database: psycopg.Connection[Any], database_url: str) -> Iterator[Callable[..., Run]]:
    """Makes runs; `of` another run shares its id."""
    database.execute("insert into auth.users (id) values (%s) on conflict do nothing", (SYSTEM_USER,))
    database.execute("insert into profiles (id) values (%s) on conflict do nothing", (SYSTEM_USER,))
    connections = []

    def make(of: Run | None = None) -> Run:
        connection = psycopg.connect(database_url)
        connection.execute("set role service_role")
        connection.commit()
        connections.append(connection)
        return Run(connection, of.run_id if of else uuid4(), SYSTEM_USER)

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

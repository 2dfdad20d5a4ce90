"""One stack and one function for all tests of this folder; the tables are emptied before each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from local.function import Function
from local.stack import Project, open_project
from tests.support.memory import MEMORY
from tests.support.service import Service


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    with open_project(data_in=MEMORY) as project:
        yield project


@pytest.fixture(scope="session")
def system_user_id(project: Project) -> str:
    user = str(uuid4())
    with psycopg.connect(project.database_url, autocommit=True) as database:
        [(organizations,)] = database.execute("select count(*) from organizations").fetchall()
        assert organizations == 0, "These tests empty the tables, and the database at DATABASE_URL is in use."
        database.execute("insert into auth.users (id, email) values (%s, %s)", (user, f"{user}@example.org"))
        database.execute("insert into profiles (id) values (%s) on conflict do nothing", (user,))
    return user


@pytest.fixture(scope="session")
def environment(project: Project, system_user_id: str) -> dict[str, str]:
    """The settings of the function."""
    return {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "SYSTEM_USER_ID": system_user_id,
        "RUNNER_TOKENS": secrets.token_urlsafe(32),
    }


@pytest.fixture(scope="session")
def function(environment: dict[str, str]) -> Iterator[Function]:
    with Function(environment) as function:
        yield function


@pytest.fixture
def service(
    project: Project, function: Function, environment: dict[str, str], system_user_id: str
) -> Iterator[Service]:
    with psycopg.connect(project.database_url, autocommit=True) as database:
        service = Service(function.url, environment["RUNNER_TOKENS"], project, database, system_user_id)
        service.empty()
        yield service

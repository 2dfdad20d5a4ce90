"""The embedded project behaves as a hosted one, where the runner depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.binaries import available_versions
from local.migration import apply_migrations
from local.postgres import Postgres
from local.rest import RestServer
from local.stack import open_project

pytestmark = pytest.mark.slow

USER = "11111111-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def rest(postgres: Postgres) -> Iterator[RestServer]:
    url = postgres.create_database("project")
    with psycopg.connect(url) as connection:
        connection.execute(
            """
            create table ungranted (id int);
            create table many as select n from generate_series(1, 1500) n;
            grant select on many to service_role;
            create function who() returns jsonb language sql as $$
                select jsonb_build_object('role', current_user, 'user', auth.uid(), 'claimed', auth.role())
            $$;
            create function series() returns setof int language sql as 'select generate_series(1, 1500)';
            create function secret() returns int language sql as 'select 1';
            revoke execute on function secret() from public;
            grant execute on function secret() to service_role;
            create function fail(code text) returns void language plpgsql as $$
            begin
                raise exception 'failed' using errcode = code;
            end $$;
            create function limits() returns text language sql as $$ select current_setting('statement_timeout') $$;
            """
        )
    with RestServer(url) as rest:
        yield rest


def call(rest: RestServer, function: str, key: str, **headers: str) -> tuple[int, Any]:
    answer = httpx.post(f"{rest.url}/rest/v1/rpc/{function}", headers={"apikey": key, **headers}, timeout=30)
    return answer.status_code, answer.json()


def test_the_secret_key_is_the_service_role(rest: RestServer) -> None:
    who = (200, {"role": "service_role", "user": None, "claimed": "service_role"})
    assert call(rest, "who", rest.secret_key) == who
    assert call(rest, "who", rest.secret_key, Authorization=f"Bearer {rest.secret_key}") == who


def test_the_publishable_key_is_anon(rest: RestServer) -> None:
    assert call(rest, "who", rest.publishable_key) == (200, {"role": "anon", "user": None, "claimed": "anon"})


def test_a_user_token_is_that_user(rest: RestServer) -> None:
    who = (200, {"role": "authenticated", "user": USER, "claimed": "authenticated"})
    assert call(rest, "who", rest.publishable_key, Authorization=f"Bearer {rest.user_token(USER)}") == who


def test_nobody_comes_in_without_a_key(rest: RestServer) -> None:
    assert httpx.post(f"{rest.url}/rest/v1/rpc/who").status_code == 401
    assert call(rest, "who", "sb_secret_wrong")[0] == 401


def test_a_revoked_function_is_refused(rest: RestServer) -> None:
    assert call(rest, "secret", rest.secret_key) == (200, 1)
    status, problem = call(rest, "secret", rest.publishable_key)
    assert (status, problem["code"]) == (401, "42501")


@pytest.mark.parametrize(
    ("code", "status"),
    [("57014", 500), ("40P01", 500), ("55P03", 500), ("57P01", 503), ("23514", 400), ("P0001", 400), ("CR001", 400)],
)
def test_an_error_keeps_its_code(rest: RestServer, code: str, status: int) -> None:
    answer = httpx.post(f"{rest.url}/rest/v1/rpc/fail", headers={"apikey": rest.secret_key}, json={"code": code})
    assert (answer.status_code, answer.json()["code"]) == (status, code if status != 503 else "PGRST001")


def test_a_new_table_is_granted_to_nobody(rest: RestServer) -> None:
    answer = httpx.get(f"{rest.url}/rest/v1/ungranted", headers={"apikey": rest.secret_key})
    assert (answer.status_code, answer.json()["code"]) == (403, "42501")


def test_results_are_cut_at_1000_rows(rest: RestServer) -> None:
    assert len(call(rest, "series", rest.secret_key)[1]) == 1000
    assert len(httpx.get(f"{rest.url}/rest/v1/many", headers={"apikey": rest.secret_key}).json()) == 1000


def test_statements_have_8_seconds_in_copies_too(rest: RestServer, postgres: Postgres) -> None:
    assert call(rest, "limits", rest.secret_key) == (200, "8s")
    template = postgres.create_database("a template")
    for url in (template, postgres.clone_database("a copy", "a template")):
        with psycopg.connect(url) as connection:
            assert connection.execute("show statement_timeout").fetchone() == ("8s",)


def test_postgres_is_no_superuser(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("show is_superuser").fetchone() == ("off",)


@pytest.mark.parametrize("version", set(available_versions()) - {18})
def test_each_other_version_starts(version: int) -> None:
    with Postgres(version) as postgres, psycopg.connect(postgres.url()) as connection:
        assert connection.info.server_version // 10_000 == version


def test_migrations_are_applied_in_order_once_and_whole(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.create_database("migrated")
    (tmp_path / "20260102_second.sql").write_text("insert into log values (2), (3);")
    (tmp_path / "20260101_first.sql").write_text("create table log (n int); select '100%';")
    apply_migrations(url, tmp_path)
    (tmp_path / "20260103_broken.sql").write_text("insert into log values (4); select 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        apply_migrations(url, tmp_path)

    with psycopg.connect(url) as connection:
        assert connection.execute("select array_agg(n) from log").fetchone() == ([2, 3],)
        recorded = connection.execute("select version, name from supabase_migrations.schema_migrations order by 1")
        assert recorded.fetchall() == [("20260101", "first"), ("20260102", "second")]


def test_somebody_elses_project_is_named_by_all_three_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://abc.supabase.co")
    with (
        pytest.raises(LookupError, match="SUPABASE_URL set, but not SUPABASE_SECRET_KEY, DATABASE_URL"),
        open_project(),
    ):
        pass
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    with open_project() as project:
        assert (project.url, project.secret_key) == ("https://abc.supabase.co", "sb_secret_x")
        assert project.database_url == "postgresql://elsewhere"

"""Where benchmarks run: an embedded project with the limits of a hosted one, and tables to fill."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, Self
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg import sql

from local.function import Function
from local.migration import apply_migrations
from local.postgres import SUPERUSER
from local.stack import Stack
from tests.support.caller import Caller
from tests.support.factory import Factory

# A machine of 8 GB, as a hosted project with two cores has. No vacuum and no checkpoint comes at a moment of its own.
SETTINGS = {
    "shared_buffers": "2GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "log_line_prefix": "%m [%p] %d %a ",
    "log_min_duration_statement": "50ms",
}
STATEMENT_OF_THE_API = re.compile(r" postgres\.js LOG:  duration: ([\d.]+) ms")
BUDGET_SECONDS = 3_000  # one POST is to finish the work


class Bed:
    """A context manager. `owner` is the owner of the tables, without a statement timeout.

    `tables`: what makes the tables of a project that had its own before.
    """

    postgres = 18  # the version of all

    def __init__(self, *, tables: str = "") -> None:
        self.stack = Stack(self.postgres, settings=SETTINGS)
        self._tables = tables
        self.system_user = uuid4()
        self.token = secrets.token_urlsafe(32)
        # Made once: the certificates that a client reads at first take as long as ten steps.
        self._http = httpx.Client()

    def __enter__(self) -> Self:
        self.stack.__enter__()
        self.owner = self.connect()
        self._superuser = self.connect(SUPERUSER)
        if self._tables:
            self._replace_tables()
        self.factory = Factory(self.owner)
        self.factory.user(id=self.system_user)
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self.owner.close()
        self._superuser.close()
        self.stack.__exit__()

    def connect(self, user: str = "postgres") -> psycopg.Connection[Any]:
        """A connection without a statement timeout, of the owner of the tables unless another user is named."""
        connection = psycopg.connect(self.stack.postgres.url(user=user), autocommit=True)
        connection.execute("set statement_timeout = 0")
        return connection

    def execute(self, statement: str, *values: Any) -> list[Any]:
        """As the owner. Returns the rows, if there are any."""
        cursor = self.owner.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def settle(self, *tables: str) -> None:
        """Leave nothing to do that would come in the middle of a measurement."""
        for table in tables:
            self.owner.execute(sql.SQL("vacuum analyze {}").format(sql.Identifier(table)))
        self._superuser.execute("checkpoint")

    @contextmanager
    def without_checks(self) -> Iterator[psycopg.Connection[Any]]:
        """For rows by the million that are only to be there: no trigger and no foreign key looks at them."""
        self._superuser.execute("set session_replication_role = replica")
        yield self._superuser
        self._superuser.execute("set session_replication_role = origin")

    def organization(self, contacts: int, *, checked: bool = True) -> UUID:
        """An organization with contacts in 260 countries, who all qualify by default."""
        organization = self.factory.organization(self.system_user)
        columns: dict[str, LiteralString] = {
            "email": "i || '@example.org'",
            "country": "chr(65 + i %% 26) || chr(65 + i %% 20)",
        }
        if checked:
            self.factory.crowd(organization, contacts, **columns)
        else:
            with self.without_checks() as superuser:
                Factory(superuser).crowd(organization, contacts, **columns)
        return organization

    def campaign(self, organization: UUID, *, is_due: bool = True, rules: dict[str, Any] | None = None) -> UUID:
        """A campaign that is due, or a draft."""
        return self.factory.campaign(organization, status="scheduled" if is_due else "draft", rules=rules)

    def clear(self, *, analyzes: bool = True) -> None:
        """Delete campaigns, recipients and ledger, and leave the contacts."""
        self.execute("truncate public.campaign_recipients, public.activity_events cascade")
        self.factory.empty_ledger()
        self.execute("drop table if exists public.raw_recipients")
        self.execute("delete from public.campaigns")
        self.settle(*(("campaigns", "campaign_recipients") if analyzes else ()))

    def raw_table(self) -> None:
        """`raw_recipients`: a table like campaign_recipients, with its constraints, indexes and triggers."""
        self.execute("create table public.raw_recipients (like public.campaign_recipients including all)")
        for query in (
            "select format('alter table public.raw_recipients add %s', pg_get_constraintdef(oid)) from pg_constraint"
            " where conrelid = 'public.campaign_recipients'::regclass and contype = 'f'",
            "select replace(pg_get_triggerdef(oid), 'public.campaign_recipients', 'public.raw_recipients')"
            " from pg_trigger where tgrelid = 'public.campaign_recipients'::regclass and not tgisinternal",
        ):
            for (statement,) in self.owner.execute(query.encode()).fetchall():
                self.execute(statement)

    @contextmanager
    def function(self, *, url: str | None = None, **settings: str) -> Iterator[Function]:
        """A function with the default settings and these, and as many steps side by side as the database has cores."""
        project = self.stack.project
        environment = {
            "SUPABASE_URL": url or project.url,
            "SUPABASE_SECRET_KEY": project.secret_key,
            "SYSTEM_USER_ID": str(self.system_user),
            "RUNNER_TOKENS": self.token,
            "RUN_TIME_BUDGET_SECONDS": str(BUDGET_SECONDS),
            "RUN_CONCURRENCY": str(os.cpu_count()),
            **settings,
        }
        with Function(environment) as function:
            yield function

    def post(self, function: Function, query: str = "") -> dict[str, Any]:
        """Call the function. Its work must be complete."""
        caller = Caller(url=function.url, token=self.token, timeout=BUDGET_SECONDS, send=self._http.request)
        response = caller.post(query)
        if response.status_code != 200 or response.headers["X-Run-Complete"] != "true":
            raise RuntimeError(f"the function answered {response.status_code}: {response.text[:500]}")
        body: dict[str, Any] = response.json()
        return body

    def launch(self, function: Function, campaigns: Sequence[UUID], recipients: int) -> None:
        """Call the function, and see that it launches just these, to so many recipients in all."""
        body = self.post(function)
        launched = {campaign["campaign_id"] for campaign in body["campaigns"]}
        total = sum(campaign["recipient_count"] for campaign in body["campaigns"])
        if launched != set(map(str, campaigns)) or total != recipients:
            raise RuntimeError(f"{len(launched)} campaigns were launched, to {total} recipients: {body['errors'][:3]}")

    def longest_statement(self) -> float:
        """Of those that came through the API, in seconds."""
        log = self.stack.postgres.log.read_text(errors="replace")
        return max((float(match[1]) / 1000 for match in STATEMENT_OF_THE_API.finditer(log)), default=0.0)

    def _replace_tables(self) -> None:
        """As if the project's own tables had been there before the migrations."""
        [(ours,)] = self.execute(
            "select string_agg(oid::regclass::text, ', ') from pg_class"
            " where relkind = 'r' and relnamespace = 'public'::regnamespace"
        )
        self.execute(f"drop table {ours} cascade")
        self.execute("truncate supabase_migrations.schema_migrations")
        self.execute(self._tables)
        apply_migrations(self.stack.postgres.url())
        self.stack.rest.stop()
        self.stack.rest.start()  # it reads the schema then

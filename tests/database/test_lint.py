"""plpgsql_check over every function of the migrations, on an empty project.

plpgsql_check plans each statement of each branch, also those that no test reaches. Functions in `language sql` need no
such check: Postgres validates their bodies as they are created.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import class_row

from local.migration import apply_migrations
from local.postgres import SUPERUSER
from tests.support.debian import DebianPostgres

Connection = psycopg.Connection[Any]

# Findings that are accepted: a pattern of what is reported, and the reason.
ACCEPTED = {
    r"statement block: warning 42804: .* \(cast \"text\" value": (
        "The initial value of a variable is an untyped literal. PL/pgSQL reads it as text and converts it once a call."
    ),
    r": performance 42804: target type is different type than source type": (
        "The value is converted once, as it is assigned. No index goes unused because of that."
    ),
    r"^campaign_runner\.examine_values\(\) line \d+, EXECUTE: security 00000: text type variable is not sanitized": (
        "The expression is that of a constraint, from the catalog: Postgres runs the same one for each row."
    ),
    r"^campaign_runner\.examine\(.*: warning extra 2F005: control reached end of function without RETURN": (
        "Each branch of its CASE returns, and a CASE without ELSE raises where no branch fits."
    ),
}

# The function of the project that call_exclusions() calls.
HOOK = """
    create function public.campaign_runner_exclusions(p_campaign_id uuid, p_contact_ids uuid[])
    returns table (contact_id uuid, reason text)
    language sql stable
    as 'select u, p_campaign_id::text from unnest(p_contact_ids) u'
"""

FUNCTIONS = """
    select p.oid, l.lanname, t.tgrelid
    from pg_proc p
    join pg_language l on l.oid = p.prolang
    left join pg_trigger t on t.tgfoid = p.oid
    where p.pronamespace in ('campaign_runner'::regnamespace, 'public'::regnamespace)
"""
FINDINGS = f"""
    select
        f.oid::regprocedure::text as function, coalesce(r.lineno, 0) as line, coalesce(r.statement, 'end') as statement,
        r.level, r.sqlstate, r.message, coalesce(r.detail, r.hint, '') as detail
    from ({FUNCTIONS}) f
    cross join lateral lint.plpgsql_check_function_tb(
        f.oid::regprocedure, coalesce(f.tgrelid, 0)::regclass, fatal_errors => false, other_warnings => true,
        extra_warnings => true, performance_warnings => true, security_warnings => true, compatibility_warnings => true
    ) r
    where f.lanname = 'plpgsql'
    order by function, line
"""


@dataclass(frozen=True)
class Finding:
    function: str
    line: int  # of the body
    statement: str
    level: str
    sqlstate: str
    message: str
    detail: str

    def __str__(self) -> str:
        where = f"{self.function} line {self.line}, {self.statement}"
        what = f"{self.level} {self.sqlstate}: {self.message}"
        return f"{where}: {what} ({self.detail})" if self.detail else f"{where}: {what}"

    def is_accepted_by(self, pattern: str) -> bool:
        return re.search(pattern, str(self)) is not None


@pytest.fixture(scope="module")
def project() -> Iterator[Connection]:
    """An empty project with the migrations."""
    with DebianPostgres("plpgsql_check", of="postgresql-15-plpgsql-check") as postgres:
        apply_migrations(postgres.url())
        with psycopg.connect(postgres.url(), autocommit=True) as owner:
            owner.execute(HOOK)
        with psycopg.connect(postgres.url(user=SUPERUSER), autocommit=True) as superuser:
            superuser.execute("create schema lint")
            superuser.execute("create extension plpgsql_check schema lint")
            yield superuser


def findings(project: Connection) -> list[Finding]:
    with project.cursor(row_factory=class_row(Finding)) as cursor:
        return cursor.execute(FINDINGS).fetchall()


def test_no_function_has_a_finding_that_is_not_accepted(project: Connection) -> None:
    unaccepted = [f for f in findings(project) if not any(f.is_accepted_by(pattern) for pattern in ACCEPTED)]
    assert not unaccepted, "\n" + "\n".join(map(str, unaccepted))


def test_each_accepted_finding_occurs(project: Connection) -> None:
    found = findings(project)
    gone = [pattern for pattern in ACCEPTED if not any(f.is_accepted_by(pattern) for f in found)]
    assert not gone


def test_every_function_is_in_a_language_that_is_checked(project: Connection) -> None:
    languages = project.execute(f"select distinct lanname from ({FUNCTIONS}) f order by lanname").fetchall()
    assert languages == [("plpgsql",), ("sql",)]


def test_a_wrong_column_in_a_branch_that_is_never_taken_is_found(project: Connection) -> None:
    with project.transaction(force_rollback=True):
        project.execute("""
            create function campaign_runner.wrong() returns text language plpgsql as $$
            begin
                if false then
                    return (select c.nmae from public.campaigns c);
                end if;
                return '';
            end;
            $$
        """)
        reported = [str(finding) for finding in findings(project)]
    assert any("wrong() line 4, RETURN: error 42703: column c.nmae does not exist" in finding for finding in reported)

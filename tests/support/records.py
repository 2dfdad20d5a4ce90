"""What is in the tables."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

Connection = psycopg.Connection[Any]


def rows(database: Connection, query: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of a query, by the names of the columns."""
    with database.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), values).fetchall()


def status(database: Connection, campaign: UUID) -> str:
    """The status of a campaign."""
    [row] = rows(database, "select status::text from public.campaigns where id = %s", campaign)
    return str(row["status"])


def recipients(database: Connection, campaign: UUID) -> dict[UUID, str]:
    """The recipients of a campaign, each with its status."""
    query = "select contact_id, status::text from public.campaign_recipients where campaign_id = %s"
    return {row["contact_id"]: row["status"] for row in rows(database, query, campaign)}


def launches(database: Connection, campaign: UUID) -> list[dict[str, Any]]:
    """The launches of a campaign, the first one first."""
    return rows(database, "select * from campaign_runner.launches where campaign_id = %s order by id", campaign)


def launch(database: Connection, campaign: UUID) -> dict[str, Any]:
    """The only launch of a campaign."""
    [launch] = launches(database, campaign)
    return launch


def events(database: Connection, campaign: UUID) -> list[dict[str, Any]]:
    """The activity events of a campaign."""
    query = "select * from public.activity_events where payload ->> 'campaign_id' = %s::text order by id"
    return rows(database, query, campaign)


def everything(database: Connection, *, with_last_call: bool = True) -> dict[str, list[str]]:
    """All rows of all tables as text, with the version of each: the same if and only if nothing was written.

    Every step writes the time of the last call.
    """
    query = """
        select table_schema, table_name from information_schema.tables
        where table_type = 'BASE TABLE' and table_schema in ('public', 'campaign_runner', 'auth')
        order by table_schema, table_name
    """
    tables = {f"{row['table_schema']}.{row['table_name']}" for row in rows(database, query)}
    if not with_last_call:
        tables.remove("campaign_runner.last_call")
    return {
        table: [
            row["row"]
            for row in rows(database, f"select concat(t.xmin, ' ', t.ctid, t) as row from {table} t order by 1")
        ]
        for table in tables
    }

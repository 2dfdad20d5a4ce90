"""The running service, as a test sees it: the function over HTTP, and the database behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import httpx
import psycopg

from local.stack import Project
from tests.support.caller import Caller
from tests.support.factory import Factory


@dataclass(frozen=True, kw_only=True)
class Service(Caller):
    """`database` is a connection of the owner of the tables, in autocommit."""

    project: Project
    database: psycopg.Connection[Any]
    factory: Factory
    system_user: UUID

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a run from the shell or from Python."""
        return {
            "SUPABASE_URL": self.project.url,
            "SUPABASE_SECRET_KEY": self.project.secret_key,
            "SYSTEM_USER_ID": str(self.system_user),
        }

    def rest(self, table: str, **params: str) -> list[dict[str, Any]]:
        """Read a table through the REST server, as the service role."""
        headers = {"apikey": self.project.secret_key, "Authorization": f"Bearer {self.project.secret_key}"}
        response = httpx.get(f"{self.project.url}/rest/v1/{table}", headers=headers, params=params)
        response.raise_for_status()
        rows: list[dict[str, Any]] = response.json()
        return rows

    def execute(self, statement: LiteralString, *values: Any) -> list[Any]:
        """Run one statement and fetch what it returns."""
        cursor = self.database.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def organization(self) -> UUID:
        """An organization that the system user may act for."""
        return self.factory.organization(self.system_user)

    def due_campaign(self) -> UUID:
        """A due campaign, with an organization and three contacts of its own."""
        organization = self.organization()
        self.factory.crowd(organization, 3)
        return self.factory.campaign(organization)

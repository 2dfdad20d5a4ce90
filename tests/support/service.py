"""The running service, as a test sees it: the function over HTTP, and the database behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import uuid4

import httpx
import psycopg

from local.stack import Project

TABLES: tuple[LiteralString, ...] = (
    "organizations",
    "organization_members",
    "contacts",
    "contact_tags",
    "contact_tag_assignments",
    "campaigns",
    "campaign_target_rules",
    "campaign_recipients",
    "activity_events",
)


@dataclass(frozen=True)
class Service:
    """`url` and `token` of the function; `database` is a connection of the owner of the tables, in autocommit."""

    url: str
    token: str
    project: Project
    database: psycopg.Connection[Any]
    system_user_id: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a run from the shell or from Python."""
        return {
            "SUPABASE_URL": self.project.url,
            "SUPABASE_SECRET_KEY": self.project.secret_key,
            "SYSTEM_USER_ID": self.system_user_id,
        }

    def request(self, method: str, path: str = "/", **kwargs: Any) -> httpx.Response:
        """Call with the right token, unless the headers bring another."""
        headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=90, **kwargs)

    def post(self, path: str = "/", **kwargs: Any) -> httpx.Response:
        """POST with the right token."""
        return self.request("POST", path, **kwargs)

    def run(self, **kwargs: Any) -> dict[str, Any]:
        """The body of a run that must be answered by 200."""
        response = self.post(**kwargs)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

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

    def add_organization(self, *, is_member: bool = True) -> str:
        """An organization that the system user may act for, or may not."""
        organization = str(uuid4())
        self.execute("insert into organizations (id, name) values (%s, 'Organization')", organization)
        if is_member:
            self.execute(
                "insert into organization_members (organization_id, user_id) values (%s, %s)",
                organization,
                self.system_user_id,
            )
        return organization

    def add_contacts(self, organization: str, number: int) -> None:
        """Contacts with random ids and addresses of their own."""
        self.execute(
            "insert into contacts (organization_id, email)"
            " select %s, gen_random_uuid() || '@example.org' from generate_series(1, %s)",
            organization,
            number,
        )

    def add_campaign(self, organization: str, *, name: str = "Campaign", status: str = "scheduled") -> str:
        """A campaign that has been due for a minute."""
        campaign = str(uuid4())
        self.execute(
            "insert into campaigns (id, organization_id, name, status, scheduled_at)"
            " values (%s, %s, %s, %s, now() - interval '1 minute')",
            campaign,
            organization,
            name,
            status,
        )
        return campaign

    def add_due_campaign(self) -> str:
        """A campaign that has been due for a minute, with an organization and three contacts of its own."""
        organization = self.add_organization()
        self.add_contacts(organization, 3)
        return self.add_campaign(organization)

    def contacts(self, organization: str) -> set[str]:
        """The ids of an organization's contacts."""
        return {
            row[0] for row in self.execute("select id::text from contacts where organization_id = %s", organization)
        }

    def recipients(self, campaign: str) -> set[str]:
        """The contact ids of a campaign's recipients."""
        return {
            row[0]
            for row in self.execute("select contact_id::text from campaign_recipients where campaign_id = %s", campaign)
        }

    def status(self, campaign: str) -> str:
        """The status of a campaign."""
        [(status,)] = self.execute("select status from campaigns where id = %s", campaign)
        return str(status)

    def snapshot(self) -> list[Any]:
        """Everything in the public tables and in the ledger, but for the time of the last tick."""
        rows: list[Any] = []
        for table in (*TABLES, "campaign_runner.launches", "campaign_runner.launch_slices", "campaign_runner.runs"):
            rows += self.execute(f"select t::text from {table} t order by 1")
        return rows

    def empty(self) -> None:
        """Take away everything but the profile of the system user."""
        self.execute(
            "truncate organizations, campaign_runner.runs, campaign_runner.launches, campaign_runner.run_errors cascade"
        )

"""Rows for the tests. What a test does not name has a truthful default: a contact qualifies, a campaign is due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]

A_MINUTE_AGO = timedelta(minutes=-1)


class Factory:
    """Inserts rows and returns their ids."""

    def __init__(self, database: Connection) -> None:
        self.database = database
        self._contacts = 0

    def user(self, *, id: UUID | None = None) -> UUID:
        """A person with a profile."""
        id = id or uuid4()
        self.insert("auth.users", {"id": id, "email": f"{id}@example.org"})
        self.database.execute("insert into public.profiles (id) values (%s) on conflict do nothing", (id,))
        return id

    def organization(self, *members: UUID, id: UUID | None = None, name: str = "Organization") -> UUID:
        """An organization with these members."""
        id = id or uuid4()
        self.insert("organizations", {"id": id, "name": name})
        for member in members:
            self.member(id, member)
        return id

    def member(self, organization: UUID, user: UUID, *, role: str = "member") -> None:
        """The membership of a user."""
        self.insert("organization_members", {"organization_id": organization, "user_id": user, "role": role})

    def contact(self, organization: UUID, *, id: UUID | None = None, **fields: Any) -> UUID:
        """A contact with an address of its own."""
        self._contacts += 1
        row = {"id": id or uuid4(), "email": f"contact{self._contacts}@example.org", **fields}
        self.insert("contacts", {"organization_id": organization, **row})
        return UUID(str(row["id"]))

    def contacts(self, organization: UUID, number: int, **columns: LiteralString) -> list[UUID]:
        """Many contacts. Returns their ids, in order."""
        ids = sorted(uuid4() for _ in range(number))
        self._insert_contacts(organization, number, {"id": "(%(ids)s::uuid[])[i]", **columns}, ids)
        return ids

    def crowd(self, organization: UUID, number: int, **columns: LiteralString) -> None:
        """Many contacts, made by the database. A column is an SQL expression over `i`, which counts them from 1."""
        self._insert_contacts(organization, number, columns)

    def tag(self, organization: UUID, name: str, *contacts: UUID, id: UUID | None = None) -> UUID:
        """A tag, and the contacts who have it."""
        id = id or uuid4()
        self.insert("contact_tags", {"id": id, "organization_id": organization, "name": name})
        self.assign(id, *contacts)
        return id

    def assign(self, tag: UUID, *contacts: UUID) -> None:
        """Give contacts a tag."""
        for contact in contacts:
            self.insert("contact_tag_assignments", {"contact_id": contact, "tag_id": tag})

    def campaign(
        self,
        organization: UUID,
        *,
        id: UUID | None = None,
        name: str = "Campaign",
        status: str = "scheduled",
        due_in: timedelta | None = A_MINUTE_AGO,
        rules: Mapping[str, Any] | None = None,
    ) -> UUID:
        """A campaign. `due_in` is counted from the database's now; None leaves the schedule empty."""
        id = id or uuid4()
        self.database.execute(
            "insert into public.campaigns (id, organization_id, name, status, scheduled_at)"
            " values (%s, %s, %s, %s, now() + %s)",
            (id, organization, name, status, due_in),
        )
        if rules is not None:
            self.rules(id, **rules)
        return id

    def rules(self, campaign: UUID, **fields: Any) -> None:
        """The target rules of a campaign."""
        self.insert("campaign_target_rules", {"campaign_id": campaign, **self._organization_of(campaign), **fields})

    def recipient(self, campaign: UUID, contact: UUID, *, status: str = "pending") -> None:
        """A recipient that another program has written."""
        row = {"campaign_id": campaign, "contact_id": contact, "status": status}
        self.insert("campaign_recipients", row | self._organization_of(campaign))

    def insert(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Insert rows that have the same columns."""
        if not rows:
            return
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(*(table if "." in table else f"public.{table}").split(".")),
            sql.SQL(", ").join(map(sql.Identifier, rows[0])),
            sql.SQL(", ").join(sql.Placeholder() * len(rows[0])),
        )
        with self.database.cursor() as cursor:
            cursor.executemany(statement, [[row[column] for column in rows[0]] for row in rows])

    def update(self, table: str, id: UUID, **fields: Any) -> None:
        """Change columns of the row with this id, as a person might."""
        assignments = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in fields)
        statement = sql.SQL("update public.{} set {} where id = %s").format(sql.Identifier(table), assignments)
        assert self.database.execute(statement, [*fields.values(), id]).rowcount == 1

    def delete(self, table: str, ids: Iterable[UUID]) -> None:
        """Delete the rows with these ids."""
        statement = sql.SQL("delete from public.{} where id = any (%s)").format(sql.Identifier(table))
        self.database.execute(statement, (list(ids),))

    def empty(self) -> None:
        """Delete all rows but those of users."""
        self.database.execute("truncate public.organizations cascade")
        self.empty_ledger()

    def empty_ledger(self) -> None:
        """Delete what the runs wrote down."""
        self.database.execute(
            "truncate campaign_runner.runs, campaign_runner.launches, campaign_runner.run_errors cascade"
        )

    def _insert_contacts(
        self, organization: UUID, number: int, columns: Mapping[str, LiteralString], ids: Sequence[UUID] = ()
    ) -> None:
        columns = {"email": "'contact' || (%(contacts_before)s + i) || '@example.org'", **columns}
        statement = sql.SQL(
            "insert into public.contacts (organization_id, {})"
            " select %(organization)s, {} from generate_series(1, %(number)s) as i"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.SQL, columns.values())),
        )
        values = {
            "organization": organization,
            "number": number,
            "contacts_before": self._contacts,
            "ids": list(ids),
        }
        with self.database.transaction():
            # A hundred thousand take longer than the limit on a machine that does other work, too.
            self.database.execute("set local statement_timeout = 0")
            self.database.execute(statement, values)
        self._contacts += number

    def _organization_of(self, campaign: UUID) -> dict[str, UUID]:
        rows = self.database.execute("select organization_id from public.campaigns where id = %s", (campaign,))
        [(organization,)] = rows.fetchall()
        return {"organization_id": organization}

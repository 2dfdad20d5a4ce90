"""A trigger of the project that refuses the recipients of some campaigns."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


def refuse(database: Connection, *campaigns: UUID, code: str = "P0001") -> None:
    """A trigger of the project that refuses the recipients of some campaigns, and quotes their addresses."""
    refused = ", ".join(f"'{campaign}'" for campaign in campaigns)
    database.execute(
        f"""
        create function refuse() returns trigger language plpgsql as $$
        begin
            if new.campaign_id in ({refused}) then
                raise exception 'not %', (select email from public.contacts where id = new.contact_id)
                    using errcode = '{code}', detail = new.contact_id;
            end if;
            return new;
        end $$;
        create trigger refuse before insert on campaign_recipients for each row execute function refuse();
        """.encode()
    )


def let_it_pass(database: Connection) -> None:
    database.execute("drop trigger refuse on campaign_recipients; drop function refuse()")

"""A step that is held up in its middle, by a lock that the test owns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

KEY = 5_318_008

# The step's own lock timeout is a quarter of a second, and would turn the wait into "busy".
TRIGGER = f"""
create function public.wait_at_gate() returns trigger language plpgsql set lock_timeout = 0 as $$
begin
    perform pg_advisory_xact_lock_shared({KEY});
    return new;
end $$;
create trigger gate before insert on public.campaign_recipients
for each row when (new.contact_id = any (array[{{contacts}}]::uuid[])) execute function public.wait_at_gate()
"""
HELD_UP = f"""
do $$ begin
    for attempt in 1..3000 loop
        if {{steps}} <= (
            select count(*) from pg_locks where locktype = 'advisory' and objid = {KEY} and not granted
                and database = (select oid from pg_database where datname = current_database())
        ) then return; end if;
        perform pg_sleep(0.01);
    end loop;
    raise 'no step came to the gate';
end $$
"""


@contextmanager
def gate(database_url: str, *contacts: object) -> Iterator[None]:
    """Holds up whatever makes a recipient of one of these contacts, until the block ends."""
    with _connect(database_url) as owner:
        owner.execute(TRIGGER.format(contacts=", ".join(f"'{contact}'" for contact in contacts)).encode())
        owner.execute("select pg_advisory_lock(%s)", (KEY,))
        try:
            yield
        finally:
            open_gate(database_url, owner)


def open_gate(database_url: str, owner: psycopg.Connection[Any]) -> None:
    """Let everybody pass, and take the gate away. Its owner may have died with the server."""
    owner.close()
    with _connect(database_url) as connection:
        connection.execute("drop trigger gate on public.campaign_recipients; drop function public.wait_at_gate()")


def wait_until_held_up(database_url: str, *, steps: int = 1) -> None:
    """Returns when this many steps wait at the gate. The database does the waiting."""
    with _connect(database_url) as observer:
        observer.execute(HELD_UP.format(steps=steps).encode())


def _connect(database_url: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute("set statement_timeout = 0")
    return connection

"""`make serve`: a stack and the function, until they are told to stop."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

import click
import psycopg

from local.function import Function
from local.stack import Project, Stack

STATE = Path(__file__).parent.parent / ".local"
ENVIRONMENT = STATE / "env"
SYSTEM_USER_ID = UUID("5e5e5e5e-0000-4000-8000-000000000000")  # the one of supabase/seed.sql
PORT = 8080


def serve() -> None:
    """Serve until an interrupt, showing what the function logs."""
    with _only_one() as lock:
        click.echo("Starting Postgres 18, the migrations and the REST server …")
        with Stack() as stack:
            add_system_user(stack.project.database_url)
            environment = function_environment(stack.project)
            click.echo("Starting the function …")
            with Function(environment, preferred_port=PORT, announcement=ENVIRONMENT) as function:
                if function.port != PORT:
                    click.echo(f"Port {PORT} is taken, so the function has port {function.port}.")
                _write_holder(lock, function.url)
                _publish(function, environment, stack.project)
                click.echo(f"Ready: {function.url}, with an empty database. Settings are in .local/env. Try:\n")
                click.echo(f"    . .local/env && {curl('$RUNNER_URL', '$RUNNER_TOKEN')}\n")
                click.echo("Ctrl-C stops everything and throws the data away. The log of the function:")
                _follow(function)


def function_environment(project: Project) -> dict[str, str]:
    """The settings of a function that works on this project, with a token of its own."""
    return {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "SYSTEM_USER_ID": str(SYSTEM_USER_ID),
        "RUNNER_TOKENS": secrets.token_urlsafe(32),
    }


def add_system_user(database_url: str) -> None:
    """Give the system user its profile."""
    with psycopg.connect(database_url) as connection:
        user = {"id": SYSTEM_USER_ID, "email": "campaign-runner@example.com"}
        connection.execute("insert into auth.users (id, email) values (%(id)s, %(email)s)", user)
        connection.execute("insert into public.profiles (id) values (%(id)s)", user)


def curl(url: str, token: str) -> str:
    """The request, as one types it."""
    return f'curl -X POST "{url}/api/campaigns/run-automation" -H "Authorization: Bearer {token}"'


@contextmanager
def _only_one() -> Iterator[IO[str]]:
    """Hold the lock of this clone. A process that dies loses it, whatever its file says."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise click.ClickException(
                f"make serve runs in this clone already: {lock.read()}. Stop it first."
            ) from None
        ENVIRONMENT.unlink(missing_ok=True)  # of a machine that lost its power
        _write_holder(lock, "not ready yet")
        yield lock


def _write_holder(lock: IO[str], url: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(f"process {os.getpid()}, {url}")
    lock.flush()


def _publish(function: Function, environment: Mapping[str, str], project: Project) -> None:
    """Write .local/env, whole and at once. It goes when the function goes."""
    variables = {
        "RUNNER_URL": function.url,
        "RUNNER_TOKEN": environment["RUNNER_TOKENS"],
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "DATABASE_URL": project.database_url,
        "SYSTEM_USER_ID": environment["SYSTEM_USER_ID"],
    }
    new = ENVIRONMENT.with_name("env.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    new.rename(ENVIRONMENT)


def _follow(function: Function) -> None:
    """Show the log until the function ends, which it should not."""
    with function.log.open(errors="replace") as log:
        while function.exit_code is None:
            click.echo(log.read(), nl=False)
            time.sleep(0.1)
        click.echo(log.read(), nl=False)
    raise click.ClickException(f"The function ended with exit code {function.exit_code}.")

"""`make serve`: a stack and the function, until they are told to stop."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import UUID

import click
import psycopg

from local.function import SOURCE, Function
from local.stack import Project, Stack, is_given, open_project

SEED = Path(__file__).parent.parent / "supabase" / "seed.sql"
STATE = Path(__file__).parent.parent / ".local"
ENVIRONMENT = STATE / "env"
SYSTEM_USER_ID = UUID("5e5e5e5e-0000-4000-8000-000000000000")  # the one of supabase/seed.sql
PORT = 8080


def serve(*, reload: bool, version: int, seed: bool) -> None:
    """Serve until an interrupt, showing what the function logs.

    `reload`: start the function anew when a source file changes, on the project that the environment names, if any.
    `version`: the major version of the embedded Postgres.
    `seed`: load the demo data into the embedded project.
    """
    given = reload and is_given()
    if given and seed:
        raise click.ClickException("SEED=1 is for the embedded project, and the environment names another one.")
    user = (given and os.environ.get("SYSTEM_USER_ID")) or str(SYSTEM_USER_ID)
    with _only_one() as lock, _given_project() if given else _embedded_project(version, seed) as project:
        environment = function_environment(project, user)
        click.echo("Starting the function …")
        with Function(environment, preferred_port=PORT, announcement=ENVIRONMENT, reload=reload) as function:
            if function.port != PORT:
                click.echo(f"Port {PORT} is taken, so the function has port {function.port}.")
            _write_holder(lock, function.url)
            _publish(function, environment, project)
            click.echo(f"Ready: {function.url}. Settings are in .local/env. Try:\n")
            click.echo(f"    . .local/env && {curl('$RUNNER_URL', '$RUNNER_TOKEN')}\n")
            click.echo("Ctrl-C stops everything that was started here. The log of the function:")
            _follow(function, _Sources() if reload else None)


@contextmanager
def _embedded_project(version: int, seed: bool) -> Iterator[Project]:
    content = "the demo data" if seed else "an empty database"
    click.echo(f"Starting Postgres {version}, the migrations and the REST server, with {content} …")
    with Stack(version) as stack:
        if seed:
            add_demo_data(stack.project.database_url)
        else:
            add_system_user(stack.project.database_url)
        yield stack.project


@contextmanager
def _given_project() -> Iterator[Project]:
    """Somebody else's, in which nothing is changed."""
    with open_project() as project:
        click.echo(f"Working on {project.url}, where due campaigns will be launched when you call the function.")
        yield project


def function_environment(project: Project, system_user_id: str = str(SYSTEM_USER_ID)) -> dict[str, str]:
    """The settings of a function that works on this project, with a token of its own."""
    return {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "SYSTEM_USER_ID": system_user_id,
        "RUNNER_TOKENS": secrets.token_urlsafe(32),
    }


def add_system_user(database_url: str) -> None:
    """Give the system user its profile."""
    with psycopg.connect(database_url) as connection:
        user = {"id": SYSTEM_USER_ID, "email": "campaign-runner@example.com"}
        connection.execute("insert into auth.users (id, email) values (%(id)s, %(email)s)", user)
        connection.execute("insert into public.profiles (id) values (%(id)s)", user)


def add_demo_data(database_url: str) -> None:
    """Load supabase/seed.sql, which includes the system user and its profile."""
    with psycopg.connect(database_url) as connection:
        connection.execute(SEED.read_bytes())


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
                f"make serve runs in this clone already: {lock.read()}. Shutdown it first."
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


class _Sources:
    """The source files of the function, as they were when somebody last asked."""

    def __init__(self) -> None:
        self._known = self._look()

    def changed(self) -> bool:
        """Whether they have changed since."""
        before, self._known = self._known, self._look()
        return self._known != before

    def _look(self) -> dict[Path, int]:
        files = [SOURCE, *SOURCE.with_name("runner").rglob("*.py")]
        return {file: file.stat().st_mtime_ns for file in files if file.exists()}


def _follow(function: Function, sources: _Sources | None) -> None:
    """Show the log until the function ends, which it should not, and start it anew when its sources change."""
    with function.log.open(errors="replace") as log:
        while function.exit_code is None:
            click.echo(log.read(), nl=False)
            if sources is not None and sources.changed():
                click.echo("The source has changed: starting the function anew.")
                with suppress(ProcessLookupError):  # one that could not start is starting anew anyway
                    function.terminate()
            time.sleep(0.1)
        click.echo(log.read(), nl=False)
    raise click.ClickException(f"The function ended with exit code {function.exit_code}.")

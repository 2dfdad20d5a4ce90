"""A whole project: a migrated database and the REST server on it, embedded or somebody else's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from local.migration import apply_migrations
from local.postgres import Postgres
from local.rest import RestServer

VARIABLES = ("SUPABASE_URL", "SUPABASE_SECRET_KEY", "DATABASE_URL")


@dataclass(frozen=True)
class Project:
    """What a client of a project has to know."""

    url: str
    secret_key: str
    database_url: str
    publishable_key: str | None = None
    jwt_secret: str | None = None


class Stack:
    """Postgres, one migrated database, and the REST server on it. A context manager."""

    def __init__(
        self,
        version: int = 18,
        *,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
        data_in: Path | None = None,
    ) -> None:
        self.postgres = Postgres(version, fsync=fsync, settings=settings, data_in=data_in)
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.enter_context(self.postgres)
            apply_migrations(self.postgres.url())
            self.rest = started.enter_context(RestServer(self.postgres.url()))
            self._exit = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def project(self) -> Project:
        """How to reach it."""
        rest = self.rest
        return Project(rest.url, rest.secret_key, self.postgres.url(), rest.publishable_key, rest.jwt_secret)


def is_given() -> bool:
    """Whether the environment names a project."""
    return any(os.environ.get(name) for name in VARIABLES)


@contextmanager
def open_project(*, data_in: Path | None = None) -> Iterator[Project]:
    """The project that the environment names, migrated by its owner. If the environment names none, an embedded one."""
    given = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if not given:
        with Stack(data_in=data_in) as stack:
            yield stack.project
        return
    missing = [name for name in VARIABLES if name not in given]
    if missing:
        raise LookupError(f"{', '.join(given)} set, but not {', '.join(missing)}")
    yield Project(
        url=given["SUPABASE_URL"],
        secret_key=given["SUPABASE_SECRET_KEY"],
        database_url=given["DATABASE_URL"],
        publishable_key=os.environ.get("SUPABASE_PUBLISHABLE_KEY"),
        jwt_secret=os.environ.get("SUPABASE_JWT_SECRET"),
    )

"""What the tests ask of a database server, and one that was given to them."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString, Protocol

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

import local.postgres

PROJECT = Path(local.postgres.__file__).with_name("project.sql")


class Server(Protocol):
    """Databases by their names; `local.postgres.Postgres` is one."""

    def create_database(self, name: str) -> str: ...

    def clone_database(self, name: str, template: str) -> str: ...

    def drop_database(self, name: str) -> None: ...


class GivenServer:
    """The server at DATABASE_URL. Its user must be allowed to create databases; those that are there stay untouched."""

    def __init__(self, url: str) -> None:
        self._url = url

    def create_database(self, name: str) -> str:
        self._execute("create database {}", name)
        with psycopg.connect(self._url_of(name), autocommit=True) as connection:
            connection.execute(PROJECT.read_bytes())
        return self._limited(name)

    def clone_database(self, name: str, template: str) -> str:
        self._execute("create database {} template {}", name, template)
        return self._limited(name)

    def drop_database(self, name: str) -> None:
        self._execute("drop database if exists {} with (force)", name)

    def _limited(self, name: str) -> str:
        self._execute("alter database {} set statement_timeout = '8s'", name)
        return self._url_of(name)

    def _url_of(self, name: str) -> str:
        return make_conninfo(self._url, dbname=name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("set statement_timeout = 0")
            connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))

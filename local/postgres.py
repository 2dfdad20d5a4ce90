"""An embedded Postgres server that looks like the one of a Supabase project."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql

from local import binaries
from local.service import Service

SUPERUSER = "supabase_admin"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, where a kill leaves nothing behind
    "statement_timeout": "8s",  # as hosted projects have it
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %d ",
}


class Postgres(Service):
    """A server of one's own, with the roles of a Supabase project and one empty database, `postgres`."""

    stop_signal = signal.SIGINT  # a fast shutdown: connections are ended, nothing is lost

    def __init__(
        self,
        version: int = 18,
        *,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
        data_in: Path | None = None,
    ) -> None:
        """`data_in`: the file system that holds the data, in place of the one of the server's directory."""
        super().__init__()
        self.name = f"postgres-{version}"
        self.version = version
        self._data_in = data_in
        self.password = secrets.token_urlsafe(24)
        # Without fsync a crash of the server loses nothing, only one of the machine does.
        self.settings = {**SETTINGS, "fsync": "on" if fsync else "off", **(settings or {})}
        if version >= 16:
            # The passwords are random, and the usual 4096 rounds take longer than the rest of a connection.
            self.settings["scram_iterations"] = "1"

    def start(self) -> None:
        super().start()
        with self._connect("postgres", SUPERUSER) as connection:
            connection.execute(_statements("roles.sql"))
            for role in ("authenticator", "postgres", SUPERUSER):
                connection.execute(
                    sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(self.password))
                )
        self._supabase("postgres")

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The address of a database. As on a hosted project, `postgres` owns it and is no superuser."""
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{quote(database)}"

    def create_database(self, name: str) -> str:
        """Create a database as a new Supabase project has it. Returns its URL."""
        self._execute("create database {} owner postgres", name)
        self._supabase(name)
        return self.url(name)

    def clone_database(self, name: str, template: str) -> str:
        """Copy a database to which nobody is connected. Returns the URL of the copy."""
        # Copied as files: written through the log, a migrated database takes twice as long.
        self._execute("create database {} template {} owner postgres strategy file_copy", name, template)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self._execute("drop database if exists {} with (force)", name)

    def is_ready(self) -> bool:
        try:
            self._connect("postgres", SUPERUSER).close()
        except psycopg.OperationalError:
            return False
        return True

    def programs(self) -> Path:
        """Where its programs are, for the user that it runs as."""
        if binaries.server_user() is None:
            return binaries.installation(self.version) / "bin"
        return binaries.copy_installation(self.version, self.directory) / "bin"

    def preparation(self) -> Sequence[Sequence[str]]:
        self._programs = self.programs()
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        self._data = self.new_directory_in(self._data_in) if self._data_in else self.directory
        user = binaries.server_user()
        if user is not None:
            for path in {self.directory, self._data, password_file}:
                os.chown(path, user.pw_uid, user.pw_gid)
        options = ("--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={SUPERUSER}")
        return [[str(self._programs / "initdb"), *options, f"--pwfile={password_file}", str(self._data / "data")]]

    def command(self) -> Sequence[str]:
        settings = {**self.settings, "port": str(self.port)}
        return [
            str(self._programs / "postgres"),
            *("-D", str(self._data / "data")),
            *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
        ]

    def credentials(self) -> Mapping[str, Any]:
        user = binaries.server_user()
        return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _connect(self, database: str, user: str) -> psycopg.Connection:
        return psycopg.connect(self.url(database, user), autocommit=True, connect_timeout=10)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with self._connect("postgres", SUPERUSER) as connection:
            connection.execute("set statement_timeout = 0")
            connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))

    def _supabase(self, database: str) -> None:
        """Give a database what every Supabase project has."""
        with self._connect(database, SUPERUSER) as connection:
            connection.execute(_statements("project.sql"))


def _statements(file: str) -> bytes:
    return Path(__file__).with_name(file).read_bytes()

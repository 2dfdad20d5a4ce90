"""Debian's Postgres 15, for extensions that the embedded servers lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from local.postgres import Postgres
from tests.support.programs import miss

INSTALLATION = Path("/usr/lib/postgresql/15")


class DebianPostgres(Postgres):
    """A server with an extension of the Debian package `of`. Without that the test is skipped, or fails in CI."""

    def __init__(self, extension: str, *, of: str, settings: Mapping[str, str] | None = None) -> None:
        if not (INSTALLATION / "lib" / f"{extension}.so").exists():
            miss(f"there is no Postgres 15 with {extension} (Debian: {of})")
        super().__init__(15, settings=settings)

    def programs(self) -> Path:
        return INSTALLATION / "bin"

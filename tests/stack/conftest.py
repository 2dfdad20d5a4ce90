"""One Postgres for the tests that do not harm it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.postgres import Postgres


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres

"""One Postgres for the tests that do not harm it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.postgres import Postgres
from tests.support.memory import MEMORY


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres]:
    with Postgres(data_in=MEMORY) as postgres:
        yield postgres

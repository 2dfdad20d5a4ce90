"""A person who deletes contacts while they are made recipients."""

from __future__ import annotations

from threading import Event, Thread
from typing import Self
from uuid import UUID, uuid4

import psycopg

from tests.benchmarks.bed import Bed

PAUSE_SECONDS = 0.2


class Deleter:
    """Deletes contacts of the organization, wherever they are, until the block ends. `deleted` counts them."""

    def __init__(self, bed: Bed, organization: UUID) -> None:
        self.deleted = 0
        self._url = bed.stack.postgres.url()
        self._organization = organization
        self._over = Event()
        self._thread = Thread(target=self._delete)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _delete(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(PAUSE_SECONDS):
                self.deleted += connection.execute(
                    "delete from public.contacts where id = ("
                    "select id from public.contacts where organization_id = %s and id > %s order by id limit 1)",
                    (self._organization, uuid4()),
                ).rowcount

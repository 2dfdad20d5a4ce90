"""A person who edits campaigns while they are launched, and notes how long that takes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from threading import Event, Thread
from typing import Self
from uuid import UUID

import psycopg

from tests.benchmarks.bed import Bed
from tests.benchmarks.ratio import timed

PAUSE_SECONDS = 0.5  # a person; a hundred edits of one row a second leave versions that every foreign key check walks


class Editor:
    """Renames the campaigns, one after the other, until the block ends. `longest_wait` is in seconds."""

    def __init__(self, bed: Bed, campaigns: Sequence[UUID]) -> None:
        self.longest_wait = 0.0
        self._url = bed.stack.postgres.url()
        self._campaigns = campaigns
        self._over = Event()
        self._thread = Thread(target=self._edit)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _edit(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:

            def rename(campaign: UUID) -> None:
                connection.execute("update public.campaigns set name = 'Renamed' where id = %s", (campaign,))

            for campaign in itertools.cycle(self._campaigns):
                self.longest_wait = max(self.longest_wait, timed(rename, campaign))
                if self._over.wait(PAUSE_SECONDS):
                    return

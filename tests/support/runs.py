"""A run of the test's own: its connection, its run id, and steps that are committed when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from tests.support.automation import STEPS_AT_MOST

WAITING = """
do $$ begin
    for attempt in 1..3000 loop
        if (
            select count(*) >= {sessions} from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'
        ) then return; end if;
        perform pg_stat_clear_snapshot();
        perform pg_sleep(0.01);
    end loop;
    raise 'nobody waits';
end $$
"""


class Run:
    """Calls the RPC functions as the service role."""

    def __init__(self, connection: psycopg.Connection[Any], run_id: UUID, system_user_id: str) -> None:
        self.connection = connection
        self.run_id = run_id
        self.system_user_id = system_user_id

    def step(self, *, max_rows: int = 20_000, commit: bool = True) -> dict[str, Any]:
        """One step; without `commit` its transaction stays open."""
        answer = self._call(
            "select public.campaign_runner_step(%s, null, %s, '{member}', %s)",
            self.run_id,
            self.system_user_id,
            max_rows,
        )
        if commit:
            self.commit()
        return answer

    def first_slice(self, *, max_rows: int) -> None:
        """Two steps on a campaign that does not fit in one: the first lays out slices, the second writes the first."""
        self.step(max_rows=max_rows)
        self.step(max_rows=max_rows)

    def finish(self, *, max_rows: int = 20_000) -> None:
        """Steps until no work is left."""
        for _ in range(STEPS_AT_MOST):
            if not self.step(max_rows=max_rows)["work_left"]:
                return
        raise AssertionError(f"there is work left after {STEPS_AT_MOST} steps")

    def report(self) -> dict[str, Any]:
        """The report of the run, which closes it."""
        answer = self._call("select public.campaign_runner_report(%s)", self.run_id)
        self.commit()
        return answer

    @contextmanager
    def waiting(
        self, call: Callable[[], dict[str, Any]], *, sessions: int = 1
    ) -> Iterator[Callable[[], dict[str, Any]]]:
        """Make a call of this run in a thread; the block begins when it, the last of so many, waits for a lock."""
        with ThreadPoolExecutor(1) as thread:
            with psycopg.connect(self.connection.info.dsn, password=self.connection.info.password) as observer:
                answer = thread.submit(call)
                observer.execute(WAITING.format(sessions=sessions).encode())
            yield answer.result

    def commit(self) -> None:
        """Commit what the last step did."""
        self.connection.commit()

    def rollback(self) -> None:
        """Undo what the last step did, as a crash would."""
        self.connection.rollback()

    def _call(self, statement: str, *values: Any) -> dict[str, Any]:
        try:
            [(answer,)] = self.connection.execute(statement.encode(), values).fetchall()
        except psycopg.Error:
            self.rollback()
            raise
        assert isinstance(answer, dict)
        return answer

"""Crowds: many connections at once, the outcome counted in the tables."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg

from tests.support.runs import Run


def test_twenty_runs_over_one_long_audience_launch_it_once_and_whole(
    database: psycopg.Connection[Any], new_run: Any
) -> None:
    database.execute("insert into organizations (name) values ('Organization')")
    database.execute(
        "insert into organization_members (organization_id, user_id) select o.id, p.id from organizations o, profiles p"
    )
    database.execute(
        "insert into contacts (organization_id, email)"
        " select o.id, i || '@example.org' from organizations o, generate_series(1, 2000) i"
    )
    database.execute(
        "insert into campaigns (organization_id, name, status, scheduled_at)"
        " select id, 'Campaign', 'scheduled', now() from organizations"
    )
    runs: list[Run] = [new_run() for _ in range(20)]
    start = Barrier(len(runs), timeout=60)

    def work(run: Run) -> list[str]:
        start.wait()
        while True:
            answer = run.step(max_rows=100)
            if not answer["work_left"] and not answer["busy"]:
                return [campaign["campaign_id"] for campaign in run.report()["campaigns"]]

    with ThreadPoolExecutor(len(runs)) as crowd:
        reported = Counter(campaign for answer in crowd.map(work, runs) for campaign in answer)

    assert list(reported.values()) == [1]
    [(rows, people)] = database.execute(
        "select count(*), count(distinct contact_id) from campaign_recipients"
    ).fetchall()
    assert (rows, people) == (2000, 2000)
    [(launches, events)] = database.execute(
        "select (select count(*) from campaign_runner.launches where state = 'launched'),"
        " (select count(*) from activity_events)"
    ).fetchall()
    assert (launches, events) == (1, 1)

"""Crowds: many connections at once, the outcome counted in the tables."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.automation import Automation
from tests.support.factory import Factory

pytestmark = pytest.mark.slow


def test_twenty_runs_over_one_long_audience_launch_it_once_and_whole(
    database: psycopg.Connection[Any], factory: Factory, system_user: UUID, new_run: Any
) -> None:
    organization = factory.organization(system_user)
    factory.crowd(organization, 2_000)
    factory.campaign(organization)
    runs: list[Automation] = [new_run() for _ in range(20)]
    start = Barrier(len(runs), timeout=60)

    def work(run: Automation) -> list[str]:
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

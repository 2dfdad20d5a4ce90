"""supabase/pg_cron on a real Postgres with the real pg_cron: its calls reach the running function."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from local.postgres import SUPERUSER, Postgres
from tests.support import records
from tests.support.debian import DebianPostgres
from tests.support.documentation import Page
from tests.support.eventually import eventually
from tests.support.service import Service
from tests.support.timeshift import before_a_minute

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "supabase" / "pg_cron"
SUBSTITUTES = Path(__file__).with_name("pg_net.sql")
SETTINGS = {
    "shared_preload_libraries": "pg_cron",
    "cron.database_name": "postgres",
    "cron.use_background_workers": "on",
}

Connection = psycopg.Connection[Any]


class CronPostgres(DebianPostgres):
    """Postgres with pg_cron, for which a minute begins soon."""

    def __init__(self) -> None:
        super().__init__("pg_cron", of="postgresql-15-cron", settings=SETTINGS)

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **before_a_minute(9)}


class Sender:
    """Sends what is queued, and keeps the answers, as the worker of pg_net does."""

    def __init__(self, url: str) -> None:
        self.timeouts: list[int] = []
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("listen pg_net")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while not self._ends.is_set():
            for _ in list(self._connection.notifies(timeout=0.1, stop_after=1)):  # the generator has a lock
                queued = self._connection.execute("delete from net.http_request_queue returning *").fetchall()
                for id, method, url, headers, body, timeout in queued:
                    self.timeouts.append(timeout)
                    answer = httpx.request(method, url, headers=headers, content=body, timeout=timeout / 1000)
                    self._connection.execute(
                        "insert into net._http_response (id, status_code, content) values (%s, %s, %s)",
                        (id, answer.status_code, answer.text),
                    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    before_a_minute(0)
    with CronPostgres() as postgres:
        with psycopg.connect(postgres.url(user=SUPERUSER), autocommit=True) as superuser:
            superuser.execute("create extension pg_cron")
            superuser.execute(SUBSTITUTES.read_bytes())
        yield postgres


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Connection]:
    """As the user of the SQL editor, who is no superuser."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("truncate vault.secrets, net._http_response")
        yield connection
        apply(connection, "unschedule.sql")


@pytest.fixture
def sender(postgres: Postgres) -> Iterator[Sender]:
    sender = Sender(postgres.url())
    yield sender
    sender.stop()


def apply(database: Connection, file: str) -> None:
    database.execute((FOLDER / file).read_bytes())


def store(database: Connection, url: str, token: str) -> None:
    database.execute("select vault.create_secret(%s, 'campaign_runner_url')", (url,))
    database.execute("select vault.create_secret(%s, 'campaign_runner_token')", (token,))


def jobs(database: Connection) -> list[tuple[Any, ...]]:
    return database.execute("select jobname, schedule, command from cron.job").fetchall()


def test_a_call_reaches_the_function_and_launches_what_is_due(
    database: Connection, sender: Sender, service: Service
) -> None:
    campaign = service.due_campaign()
    store(database, f"{service.url}/ ", f" {service.token} ")
    apply(database, "schedule.sql")

    eventually(lambda: records.status(service.database, campaign) == "sending", 75)
    eventually(lambda: database.execute("select from net._http_response").fetchall())

    shown = database.execute((FOLDER / "answers.sql").read_bytes()).fetchall()
    outcomes = {what: (outcome, detail) for _, what, outcome, detail in shown}
    assert outcomes["call"][0] == "succeeded"
    assert outcomes["answer"][0] == "200"
    assert str(campaign) in outcomes["answer"][1]
    # Longer than the function takes at most, by far more than the default of pg_net.
    assert sender.timeouts == [110_000]


def test_the_job_shows_no_token_and_is_there_once_however_often_it_is_applied(database: Connection) -> None:
    store(database, "https://runner.example.org", "CANARY" * 8)
    apply(database, "schedule.sql")
    apply(database, "schedule.sql")
    [(name, schedule, command)] = jobs(database)
    assert (name, schedule) == ("campaign-runner", "* * * * *")
    assert "CANARY" not in command
    database.execute("update vault.secrets set secret = 'another' where name = 'campaign_runner_token'")
    database.execute(command.encode())
    [(headers, url)] = database.execute("delete from net.http_request_queue returning headers, url").fetchall()
    assert headers["Authorization"] == "Bearer another"
    assert url == "https://runner.example.org/api/campaigns/run-automation"


def test_unscheduling_ends_it_and_may_be_repeated(database: Connection) -> None:
    store(database, "https://runner.example.org", "x" * 40)
    apply(database, "schedule.sql")
    apply(database, "unschedule.sql")
    assert jobs(database) == []
    apply(database, "unschedule.sql")


def test_the_pruning_of_the_page_deletes_the_old_records(postgres: Postgres, database: Connection) -> None:
    page = Page("docs/operations.md")
    [schedule] = page.blocks("sql", "cron.schedule")
    [unschedule] = re.findall(r"`(select cron\.unschedule.*;)`", page.text)
    database.execute(schedule.encode())
    database.execute(schedule.encode())
    [(_, at, prune)] = jobs(database)
    assert re.fullmatch(r"\d+ \d+ \* \* \*", at)
    with psycopg.connect(postgres.url(user=SUPERUSER), autocommit=True) as superuser:
        superuser.execute("truncate cron.job_run_details")
        with superuser.cursor() as cursor:
            cursor.executemany(
                "insert into cron.job_run_details (jobid, runid, username, status, start_time, end_time)"
                " values (1, %s, %s, %s, now() - %s::interval, now() - %s::interval)",
                [
                    (1, "postgres", "succeeded", "8 days", "8 days"),
                    (2, "postgres", "failed", "8 days", None),  # the server was restarted meanwhile
                    (3, "another", "succeeded", "8 days", "8 days"),
                    (4, "postgres", "succeeded", "6 days", "6 days"),
                ],
            )
        database.execute(prune.encode())
        left = superuser.execute("select runid from cron.job_run_details order by runid").fetchall()
    assert left == [(4,)]
    database.execute(unschedule.encode())
    assert jobs(database) == []


def test_missing_secrets_are_named_and_nothing_is_scheduled(database: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match=r"not in the Vault: .*_url, campaign_runner_token"):
        apply(database, "schedule.sql")
    store(database, "https://runner.example.org", " ")
    with pytest.raises(psycopg.errors.RaiseException, match="not in the Vault: campaign_runner_token"):
        apply(database, "schedule.sql")
    assert jobs(database) == []


@pytest.mark.parametrize(("schema", "extension"), [("cron", "pg_cron"), ("net", "pg_net")])
def test_a_missing_extension_is_named(postgres: Postgres, database: Connection, schema: str, extension: str) -> None:
    store(database, "https://runner.example.org", "x" * 40)
    with psycopg.connect(postgres.url(user=SUPERUSER)) as superuser:
        superuser.execute(f"alter schema {schema} rename to elsewhere".encode())
        with pytest.raises(psycopg.errors.RaiseException, match=f"{extension} is not enabled"):
            superuser.execute((FOLDER / "schedule.sql").read_bytes())
        superuser.rollback()

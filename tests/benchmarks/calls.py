"""A call with nothing due, a dry run, and the start of a process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from supabase import ClientOptions, create_client

from local.function import SOURCE
from local.loopback import free_port
from runner import log
from runner.database import Database
from runner.run.clock import Clock
from runner.run.run import Run
from runner.run.shutdown import Shutdown
from runner.settings import Settings
from tests.benchmarks.bed import Bed
from tests.benchmarks.ratio import Ratio, ratio, timed

MILLION = 1_000_000
STORED_RECIPIENTS = 10 * MILLION
WAITING = 100_000
CALLS = 200  # of a sample
STARTS = 3
TRIVIAL = """
    create function public.trivial() returns jsonb language sql set search_path = '' as $$ select '{}'::jsonb $$;
    grant execute on function public.trivial() to service_role;
"""


def idle_among_many(rounds: int) -> Iterator[Ratio]:
    """What is stored must not matter when nothing is due."""
    with Bed() as few, Bed() as many:
        _store(few, campaigns=1_000, recipients=10_000)
        _store(many, campaigns=MILLION, recipients=STORED_RECIPIENTS)
        samples = _alternate(rounds, _idle_call(many), _idle_call(few))
        yield ratio(
            "an idle call, 1,000,000 campaigns and 10,000,000 recipients stored",
            "the same with 1,000 campaigns",
            1.1,
            1.05,
            *samples,
            unit="ms",
        )


def idle_while_many_wait(rounds: int) -> Iterator[Ratio]:
    """Campaigns that wait for a person must not slow the others down."""
    with Bed() as none, Bed() as many:
        _store(none, campaigns=1_000, recipients=10_000)
        _store(many, campaigns=1_000, recipients=10_000)
        _wait(many, campaigns=WAITING)
        with many.function() as ours, none.function() as theirs:
            samples = _alternate(rounds, lambda: many.post(ours), lambda: none.post(theirs))
        yield ratio(
            "an idle call, 100,000 campaigns wait for a person", "the same, none waits", 1.5, 1.5, *samples, unit="ms"
        )


def idle_and_trivial(rounds: int) -> Iterator[Ratio]:
    """How much of a call is the way to the database and back."""
    with Bed() as bed:
        bed.execute(TRIVIAL)
        bed.stack.rest.stop()
        bed.stack.rest.start()  # it reads the schema then
        _store(bed, campaigns=1_000, recipients=10_000)
        options = ClientOptions(httpx_client=httpx.Client(), auto_refresh_token=False, persist_session=False)
        client = create_client(bed.stack.project.url, bed.stack.project.secret_key, options)
        samples = _alternate(rounds, _idle_call(bed), lambda: client.rpc("trivial", {}).execute())
        yield ratio("an idle call", "one trivial RPC through supabase-py", 1.5, 1.2, *samples, unit="ms")


def dry_run(rounds: int) -> Iterator[Ratio]:
    """What would be launched, of a million contacts."""
    with Bed() as bed:
        organization = bed.organization(MILLION)
        campaign = bed.campaign(organization)
        bed.settle("contacts", "campaigns")
        query = "select count(*) from campaign_runner.evaluate_contacts(%s) where reason is null"
        by_hand = """
            select count(*) from public.contacts
            where organization_id = %s and is_active and is_subscribed and deleted_at is null
        """
        ours, theirs, simple = [], [], []
        with bed.function() as function:
            for _ in range(rounds):
                theirs.append(timed(bed.execute, query, campaign))
                simple.append(timed(bed.execute, by_hand, organization))
                ours.append(timed(bed.post, function, "?dry_run=true"))
        yield ratio(
            "a dry run of 1,000,000 contacts",
            "select count(*) with the same predicate",
            2.0,
            1.3,
            ours,
            theirs,
            aside=f"a count by hand, without the check for equal addresses: {sorted(simple)[rounds // 2]:.2f} s",
            facts={"longest_statement": bed.longest_statement()},
        )


def cold_start(rounds: int) -> Iterator[Ratio]:
    """From the start of the process to its first answer; ours has asked the database by then."""
    hello = Path(__file__).with_name("hello.py")
    ours: list[float] = []
    with_supabase: list[float] = []
    bare: list[float] = []
    with Bed() as bed, bed.function() as function:
        environment = dict(function.environment())
        authorization = {"Authorization": f"Bearer {bed.token}"}
        for _ in range(rounds + 1):  # the first one fills the caches of the disk
            samples = [
                sum(_start(source, settings, authorization) for _ in range(STARTS)) / STARTS
                for source, settings in (
                    (SOURCE, environment),
                    (hello, {**environment, "HELLO_IMPORTS_SUPABASE": "1"}),
                    (hello, environment),
                )
            ]
            for measured, sample in zip((ours, with_supabase, bare), samples, strict=True):
                measured.append(sample)
    bare_median = sorted(bare[1:])[rounds // 2]
    yield ratio(
        "a cold start: process start to first answer",
        "a functions-framework hello that imports supabase",
        1.2,
        0.9,
        ours[1:],
        with_supabase[1:],
        aside=f"a hello that imports nothing: {bare_median:.2f} s",
    )


def memory(rounds: int) -> Iterator[Ratio]:
    """The most that the function ever had."""
    with Bed() as bed:
        small, large = bed.organization(100), bed.organization(MILLION)
        bed.settle("contacts")
        peaks: dict[int, list[float]] = {100: [], MILLION: []}
        for _ in range(rounds):
            for organization, contacts in ((small, 100), (large, MILLION)):
                bed.clear()
                campaign = bed.campaign(organization)
                with bed.function() as function:
                    bed.launch(function, [campaign], contacts)
                    peaks[contacts].append(function.peak_memory() / 1024)
        yield ratio(
            "peak memory of the function, audience of 1,000,000",
            "the same with 100",
            1.05,
            1.0,
            peaks[MILLION],
            peaks[100],
            unit="MiB",
        )


def _store(bed: Bed, *, campaigns: int, recipients: int) -> None:
    """Campaigns that were sent, with their launches and recipients."""
    organization = bed.organization(recipients // campaigns)
    with bed.without_checks() as superuser:
        superuser.execute(
            "insert into public.campaigns (id, organization_id, name, status, scheduled_at)"
            " select gen_random_uuid(), %s, 'Sent ' || i, 'sent', now() - i * interval '1 minute'"
            " from generate_series(1, %s) i",
            (organization, campaigns),
        )
        superuser.execute(
            "insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status)"
            " select k.id, c.id, %s, 'delivered' from public.campaigns k, public.contacts c",
            (organization,),
        )
        superuser.execute(
            "insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, state, scheduled_at,"
            " rules_hash, generates, closed_at, run_id, system_user_id, recipient_count)"
            " select id, organization_id, name, 'launched', scheduled_at, '', true, scheduled_at, gen_random_uuid(),"
            " %s, %s from public.campaigns",
            (bed.system_user, recipients // campaigns),
        )
        superuser.execute("vacuum analyze campaign_runner.launches")
    bed.settle("contacts", "campaigns", "campaign_recipients")


def _wait(bed: Bed, *, campaigns: int) -> None:
    """Due campaigns of ten organizations, with rules, which failed until they needed attention."""
    organizations = [bed.organization(0) for _ in range(10)]
    bed.execute(
        "insert into public.campaigns (organization_id, name, status, scheduled_at)"
        " select (%s::uuid[])[1 + i %% 10], 'Waiting ' || i, 'scheduled', now() - i * interval '1 second'"
        " from generate_series(1, %s) i",
        organizations,
        campaigns,
    )
    bed.execute(
        "insert into public.campaign_target_rules (campaign_id, organization_id)"
        " select id, organization_id from public.campaigns where status = 'scheduled'"
    )
    bed.execute(
        "insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, scheduled_at, waiting,"
        " attempts, failed_with, failed_version, failed_rules_at, last_error)"
        " select c.id, c.organization_id, c.name, c.scheduled_at, 'needs_attention', 10, '23514',"
        " campaign_runner.join_versions(c.xmin, r.xmin), r.ctid, 'The database refused.'"
        " from public.campaigns c join public.campaign_target_rules r on r.campaign_id = c.id"
    )
    bed.execute("vacuum analyze campaign_runner.launches")
    bed.settle("campaigns", "campaign_target_rules")


def _settings(bed: Bed) -> Settings:
    project = bed.stack.project
    return Settings.model_validate(
        {
            "supabase_url": project.url,
            "supabase_secret_key": project.secret_key,
            "system_user_id": bed.system_user,
        }
    )


def _idle_call(bed: Bed) -> Callable[[], None]:
    """One run in this process, as the function makes it."""
    settings = _settings(bed)
    database = Database(settings)

    def call() -> None:
        run = Run(database, settings, run_id=uuid4(), organization_id=None, clock=Clock(), shutdown=Shutdown())
        report = run.execute()
        if report.result.campaigns or not report.complete:
            raise RuntimeError("the call was not idle")

    return call


def _alternate(rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """The milliseconds of one call, for each round the mean of many, taken in turns."""
    samples: tuple[list[float], list[float]] = ([], [])
    log.configure()
    with redirect_stderr(io.StringIO()):
        for number in range(rounds + 1):  # the first one fills the caches
            seconds = [0.0, 0.0]
            for _ in range(CALLS):
                seconds[0] += timed(ours)
                seconds[1] += timed(theirs)
            for sample, total in zip(samples, seconds, strict=True):
                if number:
                    sample.append(1000 * total / CALLS)
    return samples


def _start(source: Path, environment: Mapping[str, str], headers: Mapping[str, str]) -> float:
    port = free_port()
    command = [sys.executable, "-m", "functions_framework", "--target", "run_campaigns", "--source", str(source)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("POST", "/", headers=dict(headers))
                response = connection.getresponse()
                response.read()
            except ConnectionRefusedError:
                if process.poll() is not None:
                    raise RuntimeError("the function ended") from None
                time.sleep(0.002)
                continue
            finally:
                connection.close()
            if response.status != 200:
                raise RuntimeError(f"the function answered {response.status}")
            return time.perf_counter() - started
    finally:
        os.killpg(process.pid, 9)
        process.wait()


BENCHMARKS: dict[str, Callable[[int], Iterator[Ratio]]] = {
    "stored": idle_among_many,
    "waiting": idle_while_many_wait,
    "trivial": idle_and_trivial,
    "cold": cold_start,
    "memory": memory,
    "dry": dry_run,
}

"""How costs grow: with the audience, the number of campaigns, what others have stored, and the workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.benchmarks.bed import Bed
from tests.benchmarks.ratio import Curve, timed

MILLION = 1_000_000
AUDIENCES = (1_000, 10_000, 100_000, MILLION, 3 * MILLION)
CAMPAIGNS = (1, 10, 100, 1_000, 10_000)
EACH = 100
OTHERS = (0, 100_000, MILLION, 10 * MILLION)
WORKERS = (1, 2, 4, 8)
INSTANCES = (1, 2, 4)


def audiences() -> Iterator[Curve]:
    """Microseconds for each recipient, from a thousand to three millions."""
    with Bed() as bed, bed.function() as function:
        organizations = {size: bed.organization(size, checked=size < MILLION) for size in AUDIENCES}
        bed.settle("contacts")
        bed.launch(function, [bed.campaign(organizations[AUDIENCES[0]])], AUDIENCES[0])
        points = []
        for size, organization in organizations.items():
            bed.clear()
            campaign = bed.campaign(organization)
            points.append((size, 1e6 * timed(bed.launch, function, [campaign], size) / size))
        yield Curve("the size of an audience", "recipients", "µs for each", points)


def campaigns() -> Iterator[Curve]:
    """Milliseconds for each campaign of a hundred recipients, from one to ten thousand."""
    with Bed() as bed, bed.function() as function:
        organizations = [bed.organization(EACH) for _ in range(100)]
        bed.settle("contacts", "organizations", "organization_members")
        points = []
        for number in (1, *CAMPAIGNS):  # the first one fills the caches
            bed.clear()
            due = [bed.campaign(organizations[n % len(organizations)]) for n in range(number)]
            bed.settle("campaigns")
            points.append((number, 1e3 * timed(bed.launch, function, due, number * EACH) / number))
        yield Curve("the number of due campaigns of 100", "campaigns", "ms for each", points[1:])


def others() -> Iterator[Curve]:
    """Seconds for an audience of a hundred thousand, beside the contacts of other organizations."""
    with Bed() as bed, bed.function() as function:
        organization = bed.organization(100_000)
        points, stored = [], 0
        for size in OTHERS:
            if size > stored:
                bed.organization(size - stored, checked=False)
                stored = size
            bed.clear()
            bed.settle("contacts")
            campaign = bed.campaign(organization)
            points.append((size, timed(bed.launch, function, [campaign], 100_000)))
        yield Curve("contacts of other organizations", "contacts", "s for 100,000", points)


def workers() -> Iterator[Curve]:
    """Seconds for an audience of a million, by the number of steps side by side."""
    with Bed() as bed:
        organization = bed.organization(MILLION)
        bed.settle("contacts")
        points = []
        for number in WORKERS:
            bed.clear()
            campaign = bed.campaign(organization)
            with bed.function(RUN_CONCURRENCY=str(number)) as function:
                points.append((number, timed(bed.launch, function, [campaign], MILLION)))
        yield Curve("workers of one run", "workers", "s for 1,000,000", points)


def instances() -> Iterator[Curve]:
    """Recipients a second, by the number of function processes over one database. Nothing may be lost or doubled."""
    organizations, each, contacts = 10, 4, 25_000
    with Bed() as bed:
        tenants = [bed.organization(contacts) for _ in range(organizations)]
        bed.settle("contacts", "organizations", "organization_members")
        points, shares = [], []
        for number in INSTANCES:
            bed.clear()
            due = [bed.campaign(tenant) for tenant in tenants * each]
            bed.settle("campaigns")
            with ExitStack() as stack, ThreadPoolExecutor(number) as callers:
                functions = [stack.enter_context(bed.function(RUN_CONCURRENCY="2")) for _ in range(number)]
                answers: list[dict[str, Any]] = []
                seconds = timed(answers.extend, callers.map(bed.post, functions))
            launched = [body["processed_count"] for body in answers]
            [(rows, people)] = bed.execute(
                "select count(*), count(distinct (campaign_id, contact_id)) from public.campaign_recipients"
            )
            if sum(launched) != len(due) or rows != people or rows != len(due) * contacts:
                raise RuntimeError(f"{number} processes launched {launched} of {len(due)} campaigns, {rows} rows")
            points.append((number, rows / seconds))
            shares.append(" + ".join(map(str, sorted(launched))))
        aside = f"{organizations * each} campaigns of {contacts:,}, divided {'; '.join(shares)}"
        yield Curve("function processes over one database", "processes", "recipients a second", points, aside)


CURVES = {"audiences": audiences, "campaigns": campaigns, "others": others, "workers": workers, "instances": instances}

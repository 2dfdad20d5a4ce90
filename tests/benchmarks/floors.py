"""The least that the work costs on this machine: the raw inserts alone, and the evaluations alone."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import psycopg

from tests.benchmarks.bed import Bed
from tests.benchmarks.launches import (
    CAMPAIGNS,
    EACH,
    ORGANIZATIONS,
    QUALIFIES,
    RAW_FOR_MANY,
    client_of,
    insert_raw,
    launch_from_client,
)
from tests.benchmarks.ratio import timed

CONTACTS, CONTACTS_OF_THE_CLIENT = 300_000, 100_000
A_PART = 20_000
CORES = os.cpu_count() or 1

Statement = tuple[str, Sequence[Any]]

INSERT = f"""
    insert into public.raw_recipients (campaign_id, contact_id, organization_id, status)
    select %s, c.id, c.organization_id, 'pending'
    from public.contacts c
    where c.organization_id = %s and c.id > %s and c.id <= %s and {QUALIFIES}
    order by c.id
"""
EVALUATE = "select count(*) from campaign_runner.evaluate_contacts(%s, %s, %s)"
INSERT_ONE_CAMPAIGN = f"""
    with recipients as (
        insert into public.raw_recipients (campaign_id, contact_id, organization_id, status)
        select k.id, c.id, c.organization_id, 'pending'
        from public.contacts c join public.campaigns k on k.organization_id = c.organization_id
        where k.id = %s and {QUALIFIES}
    )
    update public.campaigns set status = 'sending', updated_at = now() where id = %s
"""


def floors(rounds: int) -> dict[str, float]:
    """Values by their names, medians of so many rounds: shares of the raw statements, and multiples of the client."""
    found: dict[str, list[float]] = {}
    for measure in (_audience, _client, _many):
        for name, value in measure(rounds):
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def _audience(rounds: int) -> Iterator[tuple[str, float]]:
    with Bed() as bed:
        organization = bed.organization(CONTACTS)
        bed.settle("contacts")
        for _ in range(rounds):
            raw = insert_raw(bed, organization)
            inserts = _in_parts(bed, organization)
            draft = bed.campaign(organization, is_due=False)
            evaluation = _side_by_side(bed, [(EVALUATE, (draft, *part)) for part in _parts(bed, organization)])
            yield "inserts_in_parts", inserts / raw
            yield "inserts_and_two_evaluations", (inserts + 2 * evaluation) / raw


def _client(rounds: int) -> Iterator[tuple[str, float]]:
    with Bed() as bed:
        organization = bed.organization(CONTACTS_OF_THE_CLIENT)
        bed.settle("contacts")
        client = client_of(bed, bed.stack.project.url)
        for _ in range(rounds):
            bed.clear()
            draft = bed.campaign(organization, is_due=False)
            theirs = timed(launch_from_client, client, organization, draft)
            yield "client_against_inserts_in_parts", theirs / _in_parts(bed, organization)


def _many(rounds: int) -> Iterator[tuple[str, float]]:
    with Bed() as bed:
        organizations = [bed.organization(EACH) for _ in range(ORGANIZATIONS)]
        bed.settle("contacts", "organizations")

        def drafts() -> list[UUID]:
            bed.clear()
            bed.raw_table()
            made = [
                bed.campaign(each, is_due=False) for each in organizations for _ in range(CAMPAIGNS // ORGANIZATIONS)
            ]
            bed.settle("campaigns")
            return made

        for _ in range(rounds):
            drafts()
            raw = timed(bed.execute, RAW_FOR_MANY)
            each = _side_by_side(bed, [(INSERT_ONE_CAMPAIGN, (draft, draft)) for draft in drafts()])
            yield "statements_for_each_campaign", each / raw


def _in_parts(bed: Bed, organization: UUID) -> float:
    """The raw statement, cut into parts by the id of the contact."""
    bed.clear()
    bed.raw_table()
    draft = bed.campaign(organization, is_due=False)
    return _side_by_side(bed, [(INSERT, (draft, organization, *part)) for part in _parts(bed, organization)])


def _parts(bed: Bed, organization: UUID) -> list[tuple[UUID, UUID]]:
    rows = bed.execute(
        "select n.id"
        " from (select id, row_number() over (order by id) as n from public.contacts where organization_id = %s) n"
        " where n.n %% %s = 0",
        *(organization, A_PART),
    )
    return list(pairwise([UUID(int=0), *(id for (id,) in rows[:-1]), UUID(int=2**128 - 1)]))


def _side_by_side(bed: Bed, statements: Sequence[Statement]) -> float:
    """Execute the statements on one connection for each core. Returns the seconds."""
    waiting: SimpleQueue[Statement | None] = SimpleQueue()
    for each in (*statements, *[None] * CORES):
        waiting.put(each)

    def work(connection: psycopg.Connection[Any]) -> None:
        while (statement := waiting.get()) is not None:
            connection.execute(statement[0].encode(), statement[1])

    connections = [bed.connect() for _ in range(CORES)]
    with ThreadPoolExecutor(CORES) as threads:
        seconds = timed(list, threads.map(work, connections))
    for connection in connections:
        connection.close()
    return seconds

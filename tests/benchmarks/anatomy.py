"""What a recipient costs the database: time, log and disk, and which part of the table takes it."""

from __future__ import annotations

import statistics

from tests.benchmarks.bed import Bed
from tests.benchmarks.launches import insert_raw
from tests.benchmarks.ratio import timed

CONTACTS = 300_000
DROP_FOREIGN_KEYS = """
    do $$ declare v_name text; begin
        for v_name in
            select conname from pg_constraint where conrelid = 'public.raw_recipients'::regclass and contype = 'f'
        loop
            execute format('alter table public.raw_recipients drop constraint %I', v_name);
        end loop;
    end $$
"""


def anatomy(rounds: int) -> dict[str, float]:
    """Values by their names, medians of so many rounds. Shares are of the raw statement, ordered by id."""
    with Bed() as bed:
        organization = bed.organization(CONTACTS)
        bed.settle("contacts")
        found: dict[str, list[float]] = {}
        with bed.function() as function:
            for _ in range(rounds):
                whole = insert_raw(bed, organization, order="order by c.id")
                without = insert_raw(bed, organization, order="order by c.id", alter=DROP_FOREIGN_KEYS)
                found.setdefault("share_of_foreign_keys", []).append(1 - without / whole)
                bed.clear()
                campaign = bed.campaign(organization)
                before = _wal(bed)
                seconds = timed(bed.launch, function, [campaign], CONTACTS)
                found.setdefault("recipients_a_second", []).append(CONTACTS / seconds)
                found.setdefault("wal_bytes_a_recipient", []).append((_wal(bed) - before) / CONTACTS)
                [(size,)] = bed.execute("select pg_total_relation_size('public.campaign_recipients')")
                found.setdefault("disk_bytes_a_recipient", []).append(float(size) / CONTACTS)
        return {name: statistics.median(values) for name, values in found.items()}


def _wal(bed: Bed) -> float:
    [(position,)] = bed.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    return float(position)

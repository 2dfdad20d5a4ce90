"""Whatever plan the planner takes, the statements read what they read in our own laboratory, or little more.

The laboratory: our indexes, Postgres 18, fresh statistics, plans made now.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from tests.support.plans import (
    CALLS,
    IDS,
    INDEXES,
    PLANS,
    STATISTICS,
    TENANTS,
    VERSIONS,
    Cell,
    Figure,
    Laboratory,
    covering,
)

TIMES_AS_MANY = 2
PAGES_OF_NO_ACCOUNT, ROWS_OF_NO_ACCOUNT = 40, 40
# Before Postgres 17 each address of a range is looked for from the root of the index, and not from the one before.
ROOTS_OF_A_CONTACT = 2
CONTACTS, MANY_CONTACTS = 400, 800  # of each tenant
IN_RANGE = 10  # a tenth of them
LONG, NARROW = 50_000, 5  # the contacts of a long audience, and those of a range in its middle
# A step writes to the project's indexes, and the project's foreign keys look where the planner sends them. The doctor
# reads whole tables. Both are called for the sake of the functions that they reach, and not measured.
UNBOUNDED = {"a step", "doctor"}
MEASURED = {call: statement for call, statement in CALLS.items() if call not in UNBOUNDED}
# The rows of a small campaign the planner may as well read all.
READS_A_SMALL_CAMPAIGN = {"a sender's next"}
# The answer speaks of the moment, or of the server.
RESULTS_DIFFER = {"find work", "preview", "a preview's end", "dry run", "health", "campaigns", "history", "report"}
# They read a few rows of the ledger by their keys, for a launch that no call finds. The last two are triggers of our
# own tables.
REACHED_BY_NO_CALL = {
    "describe_launch",
    "open_launch",
    "plan_chunks",
    "record_failure",
    "restart_reconcile",
    "set_sending",
    "why_nobody",
    "set_organization_of_campaign_recipient",
    "set_organization_of_contact_tag_assignment",
}


def cells(versions: Sequence[int], tenants: Sequence[int]) -> list[Cell]:
    return [Cell(*each) for each in product(versions, INDEXES, STATISTICS, PLANS, IDS, tenants)]


EVERY_PAIR = covering(cells((15, 18), TENANTS[:2]), 2)
ALL = cells(VERSIONS, TENANTS)
LONG_CELL = Cell(15, "single", tenants=1)
EVERY_LONG_CELL = covering(
    [replace(cell, tenants=1) for cell in ALL if cell.statistics in ("fresh", "never", "empty")], 2
)
LARGE = ALL if os.environ.get("PLANS") == "all" else covering(ALL, 2)


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        yield laboratory


def reads_no_more_than_twice(
    laboratory: Laboratory, cell: Cell, contacts: int, in_range: int, exempt: Collection[str] = ()
) -> None:
    """Compare with the same rows in our own laboratory."""
    statistics = "fresh" if cell.statistics in ("never", "empty") else cell.statistics
    ours = Cell(statistics=statistics, ids=cell.ids, tenants=cell.tenants)
    expected = settled(laboratory, ours, contacts, in_range)

    measured = laboratory.measure(cell, contacts, in_range, MEASURED)

    allowance = PAGES_OF_NO_ACCOUNT + (ROOTS_OF_A_CONTACT * in_range if cell.version < 17 else 0)
    for call in MEASURED.keys() - set(exempt):
        best, figure = expected[call], measured[call]
        assert figure.pages <= TIMES_AS_MANY * best.pages + allowance, (call, "pages")
        assert figure.rows <= TIMES_AS_MANY * best.rows + ROWS_OF_NO_ACCOUNT, (call, "rows")
        assert figure.pairs <= best.rows + ROWS_OF_NO_ACCOUNT, (call, "pairs")
        assert call in RESULTS_DIFFER or figure.result == best.result, call


@cache
def settled(laboratory: Laboratory, cell: Cell, contacts: int, in_range: int) -> Mapping[str, Figure]:
    return laboratory.measure(cell, contacts, in_range, MEASURED, settled=True)


@pytest.mark.parametrize(
    ("cell", "contacts"),
    [
        *(pytest.param(cell, CONTACTS, id=str(cell)) for cell in EVERY_PAIR),
        *(pytest.param(cell, MANY_CONTACTS, id=f"{cell}, large", marks=pytest.mark.slow) for cell in LARGE),
    ],
)
def test_no_project_makes_a_statement_read_twice_as_much(cell: Cell, contacts: int, laboratory: Laboratory) -> None:
    exempt = READS_A_SMALL_CAMPAIGN if contacts == CONTACTS else ()
    reads_no_more_than_twice(laboratory, cell, contacts, contacts // IN_RANGE, exempt)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(LONG_CELL, id=str(LONG_CELL)),
        *(pytest.param(cell, id=f"{cell}, every", marks=pytest.mark.slow) for cell in EVERY_LONG_CELL),
    ],
)
def test_a_few_contacts_in_the_middle_of_a_long_audience_cost_little(cell: Cell, laboratory: Laboratory) -> None:
    reads_no_more_than_twice(laboratory, cell, LONG, NARROW)


def test_every_function_that_reads_a_table_is_measured(laboratory: Laboratory) -> None:
    assert laboratory.functions_that_no_call_reaches(CONTACTS) == REACHED_BY_NO_CALL

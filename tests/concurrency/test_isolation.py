"""A launch and a person's edit, in all orders of statements and commits. Postgres' isolationtester runs the orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import comb
from pathlib import Path
from string import Template
from uuid import UUID

import pytest

from tests.conftest import Connection
from tests.support.isolation import Order, run_spec

SPECS = Path(__file__).parent / "isolation"
UNDISTURBED = "sending to 1 3 6"


@dataclass(frozen=True)
class Edit:
    """What a person does. `outcome`: the status and the recipients where the edit comes first."""

    statement: str
    outcome: str
    of_campaign: bool = False  # holds for each launch that is committed later
    keeps_due: bool = True  # a later launch is right if it shows the edit
    always_wins: bool = False  # shows in the outcome where it comes after the launch, too
    may_wait_for_sync: bool = False  # as a delete waits for the insert of a row that refers to the deleted one


EDITS = {
    "pause": Edit(
        "update public.campaigns set status = 'paused'",
        "paused to 1 3 6",
        of_campaign=True,
        keeps_due=False,
        always_wins=True,
    ),
    "delete_campaign": Edit(
        "delete from public.campaigns",
        "deleted to nobody",
        of_campaign=True,
        keeps_due=False,
        always_wins=True,
        may_wait_for_sync=True,
    ),
    "edit_rules": Edit(
        "update public.campaign_target_rules set exclude_countries = array['FR']",
        "sending to 2 3 5 6",
        of_campaign=True,
    ),
    "postpone": Edit(
        "update public.campaigns set scheduled_at = now() + interval '1 day'",
        "scheduled to 1 3 6",
        of_campaign=True,
        keeps_due=False,
    ),
    "unsubscribe": Edit(
        "update public.contacts set is_subscribed = false where id = referee.contact(3)", "sending to 1 6"
    ),
    "subscribe": Edit(
        "update public.contacts set is_subscribed = true where id = referee.contact(4)", "sending to 1 3 4 6"
    ),
    "delete_contact": Edit(
        "delete from public.contacts where id = referee.contact(3)",
        "sending to 1 6",
        always_wins=True,
        may_wait_for_sync=True,
    ),
}
# The step waits for the contact when it inserts the recipients. The edit that is committed meanwhile must still win.
MID_STEP_EDITS = {
    f"{name}_in_mid_step": replace(
        EDITS[name],
        statement=f"select from public.contacts where id = referee.contact(3) for update; {EDITS[name].statement}",
        may_wait_for_sync=True,
    )
    for name in ("pause", "delete_campaign", "edit_rules", "postpone")
}
IN_MAKE_TEST = ("pause", "delete_contact", "edit_rules_in_mid_step")
IN_SEVERAL_STEPS = ("pause", "delete_campaign", "edit_rules", "unsubscribe", "delete_contact")
BESIDE_TWO_RUNS = ("pause", "edit_rules", "delete_contact")


@dataclass(frozen=True)
class Part:
    """A part of a launch. `states`: what each step makes of the launch where nobody edits."""

    max_rows: int
    steps_before: int
    states: Sequence[str]


WHOLE = Part(100, 0, ["launched"])
PARTS = {
    "long": Part(4, 0, [*["generating"] * 3, *["reconciling"] * 3, "launched"]),
    "reconcile": Part(1, 7, [*["reconciling"] * 5, "launched"]),
}
PAIRS = {  # two runs take a step each, the second before the first has committed
    "two_launches": Part(100, 0, ["launched", "contended"]),
    "two_openings": Part(4, 0, ["generating", "contended"]),
    "two_last_syncs": Part(4, 2, ["generating", "generating"]),
    "two_last_reconciles": Part(1, 11, ["reconciling", "reconciling"]),
    "two_final_updates": Part(4, 6, ["launched", "contended"]),
}


@pytest.fixture
def project(database_url: str, database: Connection, system_user: UUID) -> str:
    """A database in which the specs find what they call."""
    database.execute((SPECS / "referee.sql").read_bytes())
    return database_url


@pytest.mark.every_version
@pytest.mark.parametrize(
    "edit",
    [pytest.param(edit, marks=[] if edit in IN_MAKE_TEST else [pytest.mark.slow]) for edit in EDITS | MID_STEP_EDITS],
)
def test_an_edit_and_a_launch_in_one_step_in_all_orders(edit: str, project: str) -> None:
    check_all_orders(project, WHOLE, (EDITS | MID_STEP_EDITS)[edit])


@pytest.mark.slow
@pytest.mark.parametrize("edit", IN_SEVERAL_STEPS)
@pytest.mark.parametrize("part", PARTS)
def test_an_edit_and_a_launch_in_several_steps_in_all_orders(part: str, edit: str, project: str) -> None:
    check_all_orders(project, PARTS[part], EDITS[edit])


@pytest.mark.slow
@pytest.mark.parametrize("edit", BESIDE_TWO_RUNS)
@pytest.mark.parametrize("pair", PAIRS)
def test_an_edit_and_two_runs_in_all_orders_in_which_the_three_overlap(pair: str, edit: str, project: str) -> None:
    part = PAIRS[pair]
    expected = [
        [*begins, *ends]
        for begins in permutations(["step_1", "step_2", "edit"])
        if begins.index("step_1") < begins.index("step_2")  # the runs are equals
        for ends in permutations(["end_1", "end_2", "end_edit"])
    ]
    runs = [session("one", part, [1]), session("other", part, [2])]
    orders = run_spec(project, spec(part, EDITS[edit], runs, expected))
    assert [order.steps for order in orders] == expected
    for order in orders:
        check(order, EDITS[edit])
        if order.steps[2] == "edit":
            assert [order.result("step_1"), order.result("step_2")] == part.states


def check_all_orders(project: str, part: Part, edit: Edit) -> None:
    steps = range(1, len(part.states) + 1)
    orders = run_spec(project, spec(part, edit, [session("runner", part, steps)]))
    assert len({tuple(order.steps) for order in orders}) == len(orders) == comb(2 * len(steps) + 2, 2)
    for order in orders:
        outcome = check(order, edit)
        if order.steps[:2] == ["edit", "end_edit"]:
            assert outcome == edit.outcome
        if order.steps[-2:] == ["edit", "end_edit"]:
            assert outcome == (edit.outcome if edit.always_wins else UNDISTURBED)
            assert [order.result(f"step_{i}") for i in steps] == part.states
        if order.waited("edit") and not edit.may_wait_for_sync:
            final_update = order.steps.index(f"step_{len(steps)}")
            assert final_update < order.steps.index("edit") < order.steps.index(f"end_{len(steps)}"), order.output


def check(order: Order, edit: Edit) -> str:
    """Returns the status and the recipients in the end."""
    outcome, violations = order.verdict().split("; violations: ")
    assert violations == "none", order.output
    # The person gives up where the edit waits for a transaction that ends later in the order.
    gave_up = order.error("edit") == "canceling statement due to lock timeout"
    assert order.output.count("ERROR:") == gave_up, order.output
    if gave_up:
        assert outcome == UNDISTURBED, order.output
        return outcome
    assert outcome in ([edit.outcome] if edit.always_wins else [edit.outcome, UNDISTURBED]), order.output
    if edit.of_campaign and not (edit.keeps_due and outcome == edit.outcome):
        for step in order.steps:
            if step.startswith("step_") and order.result(step) == "launched":
                launched = order.steps.index(step.replace("step", "end"))
                assert launched < order.steps.index("end_edit"), order.output
    return outcome


def spec(part: Part, edit: Edit, runs: Sequence[str], orders: Sequence[Sequence[str]] = ()) -> str:
    return Template((SPECS / "order.spec").read_text()).substitute(
        max_rows=part.max_rows,
        steps_before=part.steps_before,
        runs="\n\n".join(runs),
        edit=edit.statement,
        orders="\n".join(f"permutation {' '.join(order)}" for order in orders),
    )


def session(name: str, part: Part, steps: Sequence[int]) -> str:
    lines = [f"session {name}", "setup { set role service_role; }"]
    for i in steps:
        lines.append(f"step step_{i} {{ begin; select referee.step('{name}', {part.max_rows}); }}")
        lines.append(f"step end_{i} {{ commit; }}")
    return "\n".join(lines)

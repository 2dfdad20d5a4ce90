"""Faults for a long time, and a table of what became of them: `make soak`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product
from random import Random

import click

from local.function import Function
from local.stack import Stack
from tests.support.crash import Moment, Victim, crash
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.invariants import Violations
from tests.support.memory import MEMORY
from tests.support.rig import Rig

CALLS_OF_A_RUN = 9
OVERLAPPING_RUNS = 4
SHARE_OF_FAULTS = 0.4

Trial = Callable[[Rig, Function, Random], Violations]


def trials() -> Iterator[tuple[str, Trial]]:
    """Every kind of trial, with its name."""
    for victim, moment in product(Victim, Moment):
        yield f"{victim.value} killed {moment.value}", partial(_crash, victim, moment)
    for fault in Fault:
        yield f"one call: {fault.value}", partial(_lose, fault)
    yield f"{SHARE_OF_FAULTS:.0%} of all calls: any of these", _storm
    yield f"{OVERLAPPING_RUNS} runs at the same time", _overlap
    yield f"{OVERLAPPING_RUNS} runs at the same time, and {SHARE_OF_FAULTS:.0%} of their calls: any of these", _melee


def _crash(victim: Victim, moment: Moment, rig: Rig, function: Function, random: Random) -> Violations:
    return crash(rig, function, victim, moment, random)


def _lose(fault: Fault, rig: Rig, function: Function, random: Random) -> Violations:
    scene = rig.set_scene()
    call = random.randint(1, CALLS_OF_A_RUN)
    rig.proxy.follow(lambda number, _: fault if number == call else None)
    rig.call(function)
    return rig.settle(function, scene)


def _storm(rig: Rig, function: Function, random: Random) -> Violations:
    scene = rig.set_scene()
    rig.proxy.follow(_any_fault(random))
    rig.call(function)
    return rig.settle(function, scene)


def _overlap(rig: Rig, function: Function, random: Random) -> Violations:
    scene = rig.set_scene()
    _call_together(rig, function)
    return rig.settle(function, scene)


def _melee(rig: Rig, function: Function, random: Random) -> Violations:
    scene = rig.set_scene()
    rig.proxy.follow(_any_fault(random))
    _call_together(rig, function)
    return rig.settle(function, scene)


def _any_fault(random: Random) -> Callable[[int, str], Fault | None]:
    faults = list(Fault)
    return lambda number, name: random.choice(faults) if random.random() < SHARE_OF_FAULTS else None


def _call_together(rig: Rig, function: Function) -> None:
    with ThreadPoolExecutor(OVERLAPPING_RUNS) as callers:
        for call in [callers.submit(rig.call, function) for _ in range(OVERLAPPING_RUNS)]:
            call.result()


@click.command()
@click.option("--times", default=20, show_default=True, help="How often each kind of fault is tried.")
@click.option("--seed", default=0, show_default=True, help="Where the random moments begin.")
def main(times: int, seed: int) -> None:
    """Try every fault, and print a table. Exit code 1: a promise was broken."""
    kinds = list(trials())
    totals = {name: Violations() for name, _ in kinds}
    with ExitStack() as exits:
        stack = exits.enter_context(Stack(data_in=MEMORY))
        rig = Rig(stack, exits.enter_context(FaultProxy(stack.project.url)))
        function = exits.enter_context(Function(rig.environment()))
        # One of each kind after the other, so that an interrupted soak has tried all of them.
        for number in range(times):
            for name, trial in kinds:
                found = trial(rig, function, Random(f"{seed} {number} {name}"))
                for violation in found.all():
                    click.echo(f"seed {seed}, time {number + 1}, {name}: {violation}", err=True)
                totals[name].add(found)
            click.echo(f"{number + 1} of {times} rounds", err=True)
    click.echo("| fault | tried | lost | duplicated | partial | blamed |\n| --- | --- | --- | --- | --- | --- |")
    for name, found in totals.items():
        counts = (len(each) for each in (found.lost, found.duplicated, found.partial, found.blamed))
        click.echo(f"| {name} | {times} | {' | '.join(map(str, counts))} |")
    sys.exit(1 if any(found.all() for found in totals.values()) else 0)


if __name__ == "__main__":
    main()

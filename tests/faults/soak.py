"""Faults for a long time, and a table of what became of them: `make soak`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count, product
from random import Random

import click

from local.function import Function
from local.stack import Stack
from tests.support.crash import Moment, Victim, crash
from tests.support.editors import editors
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.invariants import Violations
from tests.support.memory import MEMORY
from tests.support.rig import Rig, Scene

CALLS_OF_A_RUN = 9
OVERLAPPING_RUNS = 4
SHARE_OF_FAULTS = 0.4
COLUMNS = ("lost", "duplicated", "partial", "blamed", "unfinished")

Harm = Callable[[Rig, Scene, Function, Random], None]  # runs that something happens to
Trial = Callable[[Rig, Function, Random], Violations]


def trials() -> Iterator[tuple[str, Trial]]:
    """Every kind of trial, with its name."""
    kills: list[tuple[str, Harm]] = [
        (f"{victim.value} killed {moment.value}", partial(_crash, victim, moment))
        for victim, moment in product(Victim, Moment)
    ]
    overlaps: list[tuple[str, Harm]] = [
        (f"{OVERLAPPING_RUNS} runs at the same time", _overlap),
        (f"{OVERLAPPING_RUNS} runs at the same time, and {SHARE_OF_FAULTS:.0%} of their calls: any of these", _melee),
    ]
    losses: list[tuple[str, Harm]] = [(f"one call: {fault.value}", partial(_lose, fault)) for fault in Fault]
    storms: list[tuple[str, Harm]] = [(f"{SHARE_OF_FAULTS:.0%} of all calls: any of these", _storm)]
    for name, harm in (*kills, *losses, *storms, *overlaps):
        yield name, partial(_undisturbed, harm)
    for name, harm in (*kills, *overlaps):
        yield f"editors, and {name}", partial(_beside_editors, harm)


def _undisturbed(harm: Harm, rig: Rig, function: Function, random: Random) -> Violations:
    scene = rig.set_scene()
    harm(rig, scene, function, random)
    return rig.settle(function, scene)


def _beside_editors(harm: Harm, rig: Rig, function: Function, random: Random) -> Violations:
    scene = rig.set_edited_scene()
    with editors(rig, scene, random) as edits:
        harm(rig, scene, function, random)
    return rig.settle(function, scene, edits)


def _crash(victim: Victim, moment: Moment, rig: Rig, scene: Scene, function: Function, random: Random) -> None:
    crash(rig, scene, function, victim, moment, random)


def _lose(fault: Fault, rig: Rig, scene: Scene, function: Function, random: Random) -> None:
    call = random.randint(1, CALLS_OF_A_RUN)
    rig.proxy.follow(lambda number, _: fault if number == call else None)
    rig.call(function)


def _storm(rig: Rig, scene: Scene, function: Function, random: Random) -> None:
    rig.proxy.follow(_any_fault(random))
    rig.call(function)


def _overlap(rig: Rig, scene: Scene, function: Function, random: Random) -> None:
    with ThreadPoolExecutor(OVERLAPPING_RUNS) as callers:
        for call in [callers.submit(rig.call, function) for _ in range(OVERLAPPING_RUNS)]:
            call.result()


def _melee(rig: Rig, scene: Scene, function: Function, random: Random) -> None:
    rig.proxy.follow(_any_fault(random))
    _overlap(rig, scene, function, random)


def _any_fault(random: Random) -> Callable[[int, str], Fault | None]:
    faults = list(Fault)
    return lambda number, name: random.choice(faults) if random.random() < SHARE_OF_FAULTS else None


@dataclass
class Outcome:
    """What was tried, and what was found, by the name of the kind."""

    tried: Counter[str] = field(default_factory=Counter)
    found: dict[str, Violations] = field(default_factory=lambda: {name: Violations() for name, _ in trials()})

    def violations(self) -> int:
        """The number of all."""
        return sum(len(found.all()) for found in self.found.values())

    def table(self) -> str:
        """A row for each kind, in Markdown."""
        rows = [("fault", "tried", *COLUMNS), ("---",) * (2 + len(COLUMNS))]
        for name, found in self.found.items():
            rows.append((name, str(self.tried[name]), *(str(len(getattr(found, column))) for column in COLUMNS)))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def soak(minutes: float, seed: int, outcome: Outcome) -> None:
    """Try whole rounds, each of one trial of each kind, until the time is over; at least one."""
    ends = time.monotonic() + minutes * 60
    with ExitStack() as exits:
        stack = exits.enter_context(Stack(data_in=MEMORY))
        rig = Rig(stack, exits.enter_context(FaultProxy(stack.project.url)))
        function = exits.enter_context(Function(rig.environment()))
        for number in count(1):
            for name, trial in trials():
                found = trial(rig, function, Random(f"{seed} {number} {name}"))
                outcome.tried[name] += 1
                outcome.found[name].add(found)
                for violation in found.all():
                    click.echo(f"seed {seed}, round {number}, {name}: {violation}", err=True)
            left = ends - time.monotonic()
            click.echo(
                f"Round {number}: {outcome.tried.total()} trials, {outcome.violations()} violations,"
                f" {max(left, 0) / 60:.1f} minutes left",
                err=True,
            )
            if left <= 0:
                return


@click.command()
@click.option("--minutes", default=15.0, show_default=True, help="How long. The last round is finished.")
@click.option("--seed", default=0, show_default=True, help="Where the random moments begin.")
def main(minutes: float, seed: int) -> None:
    """Try every fault, and print a table. Ctrl-C ends it early. Exit code 1: a promise was broken."""
    outcome = Outcome()
    try:
        soak(minutes, seed, outcome)
    except KeyboardInterrupt:
        click.echo("Interrupted: the table shows what was tried until now.", err=True)
    finally:
        click.echo(outcome.table())
    sys.exit(1 if outcome.violations() else 0)


if __name__ == "__main__":
    main()

"""The sudden death of a part of the installation, at a moment in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from functools import partial
from random import Random
from threading import Event

from local.function import Function
from local.service import Service
from tests.support.fault_proxy import Fault
from tests.support.rig import Rig, Scene
from tests.support.step_gate import gate, wait_until_held_up

BOUNDARIES = 5  # calls that every run of the scene makes at least


class Victim(Enum):
    """Who is killed."""

    FUNCTION = "the function"
    REST = "the REST server"
    POSTGRES = "Postgres"
    CONNECTIONS = "the REST server's connections to Postgres"


class Moment(Enum):
    """When."""

    RANDOM = "at a random moment"
    BOUNDARY = "between two steps"
    INSIDE = "inside a step that a lock holds up"


def crash(rig: Rig, scene: Scene, bystander: Function, victim: Victim, moment: Moment, random: Random) -> None:
    """Kill the victim once in the middle of a run: of the bystander's, unless the victim is a function."""
    with ExitStack() as exits:
        doomed = exits.enter_context(Function(rig.environment())) if victim is Victim.FUNCTION else bystander
        kills: dict[Victim, Callable[[], None]] = {
            Victim.FUNCTION: doomed.kill,
            Victim.REST: partial(_kill_and_await, rig.stack.rest),
            Victim.POSTGRES: partial(_kill_and_await, rig.stack.postgres),
            Victim.CONNECTIONS: partial(_end_connections, rig),
        }
        _kill_at(moment, kills[victim], rig, scene, doomed, random)
        rig.stack.rest.wait_until_ready()


def _kill_at(
    moment: Moment, kill: Callable[[], None], rig: Rig, scene: Scene, function: Function, random: Random
) -> None:
    if moment is Moment.INSIDE:
        database_url = rig.stack.project.database_url
        with ExitStack() as held_up:
            held_up.enter_context(gate(database_url, scene.middle))
            with rig.calling(function):
                wait_until_held_up(database_url)
                kill()
                held_up.close()
    elif moment is Moment.BOUNDARY:
        killed = Event()
        rig.proxy.follow(_kill_before(random.randint(1, BOUNDARIES), kill, killed))
        with rig.calling(function):
            assert killed.wait(60), f"the run made fewer than {BOUNDARIES} calls"
    else:
        with rig.calling(function):
            Event().wait(random.uniform(0, scene.run_seconds))
            kill()


def _kill_and_await(service: Service) -> None:
    service.kill()
    service.wait_until_ready()  # its supervisor starts it again


def _end_connections(rig: Rig) -> None:
    with rig.connect() as database:
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'postgres.js'"
        )


def _kill_before(call: int, kill: Callable[[], None], killed: Event) -> Callable[[int, str], Fault | None]:
    """A plan: the kill comes when this call has left the function and has not reached the database."""

    def plan(number: int, function: str) -> Fault | None:
        if number == call:
            kill()
            killed.set()
        return None

    return plan

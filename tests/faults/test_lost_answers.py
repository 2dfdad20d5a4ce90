"""Whatever the network does: a run launches once, and its answer names everything that it launched."""

from __future__ import annotations

from random import Random

import pytest

from local.function import Function
from tests.support.fault_proxy import Fault
from tests.support.rig import Rig

pytestmark = pytest.mark.slow

CALLS = (1, 5)  # of the steps; the scene takes at least five
SHARE_OF_FAULTS = 0.4
STORMS = 3


@pytest.mark.parametrize("call", [*CALLS, "report"])
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_run_that_loses_one_answer_names_every_campaign_that_it_launched(
    rig: Rig, function: Function, fault: Fault, call: int | str
) -> None:
    scene = rig.set_scene()
    met: list[str] = []

    def plan(number: int, name: str) -> Fault | None:
        if call not in (number, name) or met:
            return None
        met.append(name)
        return fault

    rig.proxy.follow(plan)
    response = rig.call(function)

    assert len(met) == 1
    assert (response.status_code, response.headers["X-Run-Complete"]) == (200, "true")
    assert {c["campaign_id"] for c in response.json()["campaigns"]} == {str(campaign) for campaign in scene.due}
    assert rig.settle(function, scene).all() == []


@pytest.mark.parametrize("seed", range(STORMS))
def test_in_a_storm_of_faults_every_answer_is_whole_or_a_503_and_nothing_is_lost(
    rig: Rig, function: Function, seed: int
) -> None:
    scene = rig.set_scene()
    random = Random(seed)
    faults = list(Fault)
    rig.proxy.follow(lambda *_: random.choice(faults) if random.random() < SHARE_OF_FAULTS else None)

    response = rig.call(function)

    assert response.status_code in (200, 503)
    if response.status_code == 503:
        assert response.headers["Retry-After"]
        assert "CANARY" not in response.text
    assert rig.settle(function, scene).all() == []


def test_a_database_that_stays_away_is_a_503_within_the_budget_and_the_next_run_does_the_work(
    rig: Rig, function: Function
) -> None:
    scene = rig.set_scene()
    rig.proxy.follow(lambda number, _: Fault.CUT_BEFORE if number > 3 else None)
    with Function(rig.environment(RUN_TIME_BUDGET_SECONDS="2")) as hasty:
        response = rig.call(hasty)

    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert rig.settle(function, scene).all() == []

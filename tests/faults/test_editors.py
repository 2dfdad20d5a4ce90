"""People edit while runs overlap, fail and die: no promise is broken, and the editors were heard."""

from __future__ import annotations

from random import Random

import pytest

from local.function import Function
from tests.faults import soak
from tests.support.editors import editors
from tests.support.rig import Rig

pytestmark = pytest.mark.slow

BESIDE_EDITORS = {name: trial for name, trial in soak.trials() if name.startswith("editors")}
HARDEST = [
    name for name in BESIDE_EDITORS if "calls: any" in name or name.endswith("Postgres killed at a random moment")
]


@pytest.mark.parametrize("kind", HARDEST)  # `make soak` tries all
def test_a_trial_beside_editors_breaks_no_promise(rig: Rig, function: Function, kind: str) -> None:
    assert BESIDE_EDITORS[kind](rig, function, Random(kind)).all() == []


def test_editors_edit_in_the_middle_of_a_run_and_are_not_refused(rig: Rig, function: Function) -> None:
    scene = rig.set_edited_scene()
    with editors(rig, scene, Random(0)) as edits:
        rig.call(function)
        assert len(edits.contacts) > 10
    assert edits.rescheduled >= {scene.due[-1]}
    assert edits.refused == []
    assert rig.settle(function, scene, edits).all() == []

"""Whatever is killed, whenever: the next runs launch every campaign once, to its whole audience."""

from __future__ import annotations

from random import Random

import pytest

from local.function import Function
from tests.support.crash import Moment, Victim, crash
from tests.support.rig import Rig

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
@pytest.mark.parametrize("victim", Victim, ids=lambda victim: victim.name.lower())
def test_a_death_loses_nothing_duplicates_nothing_and_leaves_no_audience_partial(
    rig: Rig, function: Function, victim: Victim, moment: Moment
) -> None:
    """Once each. `make soak` makes more deaths, at other moments."""
    scene = rig.set_scene()
    crash(rig, scene, function, victim, moment, Random(f"{victim}{moment}"))
    assert rig.settle(function, scene).all() == []

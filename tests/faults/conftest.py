"""One installation to harm, and a function that is not killed, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.function import Function
from local.stack import Stack
from tests.conftest import GIVEN
from tests.support.fault_proxy import FaultProxy
from tests.support.memory import MEMORY
from tests.support.rig import Rig


@pytest.fixture(scope="package")
def rig() -> Iterator[Rig]:
    if GIVEN:
        pytest.skip("kills servers, so it has its own")
    with Stack(data_in=MEMORY) as stack, FaultProxy(stack.project.url) as proxy:
        yield Rig(stack, proxy)


@pytest.fixture(scope="package")
def function(rig: Rig) -> Iterator[Function]:
    with Function(rig.environment()) as function:
        yield function

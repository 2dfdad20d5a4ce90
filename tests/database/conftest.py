from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest

from tests.conftest import Connect
from tests.support.automation import Automation
from tests.support.factory import Factory


@pytest.fixture
def organization(factory: Factory, system_user: UUID) -> UUID:
    """An organization that the system user may act for."""
    return factory.organization(system_user)


@pytest.fixture
def automation(connect_as: Connect, system_user: UUID) -> Callable[..., Automation]:
    """Begins a run of the service role."""
    return partial(Automation, connect_as("service_role"), system_user)

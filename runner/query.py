"""One question to the database, outside a run."""

from __future__ import annotations

from typing import Any

from runner import database
from runner.database import ModelT
from runner.run.clock import Clock
from runner.run.deadline import READ_SECONDS
from runner.run.retry import persistently
from runner.settings import Settings


def query(
    settings: Settings, function: str, parameters: dict[str, Any], model: type[ModelT], *, seconds: float
) -> ModelT:
    """Call a function of the database, for up to `seconds` again and again while the database is unavailable.

    Raises RunnerError, as `Database.call`.
    """
    clock = Clock()

    def ask() -> ModelT:
        return database.shared(settings).call(function, parameters, model, timeout=READ_SECONDS)

    return persistently(ask, clock, until=clock.now() + seconds)

"""The function, with a mistake of ours behind it whose message holds row data."""

from __future__ import annotations

from typing import NoReturn

from main import run_campaigns
from runner.http import endpoint


def automate(*_: object, **__: object) -> NoReturn:
    try:
        raise KeyError("CANARY8e2d@example.org")
    except KeyError as error:
        raise ValueError("CANARY8e2d") from error


endpoint.automate = automate  # type: ignore[attr-defined]

__all__ = ["run_campaigns"]

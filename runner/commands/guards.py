"""The triggers and check constraints of the project: which of them refused a campaign."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runner.commands.facts import Guard
from runner.health import OpenLaunch

# Classes of SQLSTATEs that a trigger of the project raises, mostly.
_OF_TRIGGERS = frozenset({"08", "25", "42", "53", "57", "58", "P0", "XX"})
_SLOW = ("57014", "CR005")


def refusing(guards: Sequence[Guard], launch: OpenLaunch) -> Sequence[Guard]:
    """The guards that the words of the refusal name; or, where these name none, all triggers that may have spoken."""
    if launch.failed_with is None or launch.last_error is None:
        return ()
    words = f"{launch.last_error}\n{launch.detail or ''}"
    named = [each for each in guards if re.search(_mention(each), words)]
    if named:
        return named
    told = re.search(r"trigger on (\w+)", launch.last_error)
    if told:
        return triggers(guards, f"public.{told[1]}")
    if launch.failed_with[:2] in _OF_TRIGGERS or launch.failed_with in _SLOW:
        return [each for each in guards if each.function_name]
    return ()


def _mention(guard: Guard) -> str:
    return rf"\b{re.escape(guard.function_name)}\(" if guard.function_name else rf"constraint {re.escape(guard.name)}\b"


def triggers(guards: Iterable[Guard], table: str) -> list[Guard]:
    """The triggers on a table."""
    return [each for each in guards if each.function_name and each.table_name == table]


def description(guard: Guard) -> str:
    """What a guard is, in a sentence."""
    if guard.function_name:
        return f"The trigger {guard.name} on {guard.table_name} runs {guard.function_name}()."
    return f"The constraint {guard.name} on {guard.table_name} reads: {guard.definition}."


def statements(guards: Iterable[Guard]) -> str:
    """The statements that take the guards away."""
    return " ".join(each.statement for each in guards)

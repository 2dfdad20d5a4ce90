"""The guards: what of the project refused a campaign, as a trigger does or a constraint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runner.commands.facts import Guard
from runner.health import OpenLaunch

# Classes of SQLSTATEs that a trigger of the project raises, mostly.
_OF_TRIGGERS = frozenset({"08", "25", "42", "53", "57", "58", "P0", "XX"})
_SLOW = ("57014", "CR005")
_DATA_EXCEPTIONS = "22"  # a division by zero, a text that is no number
_COMPUTING = ("default", "generated column")
_CALL = re.compile(r"[(][^)]")  # an expression with brackets around something: now() fails for no row


def refusing(guards: Sequence[Guard], launch: OpenLaunch) -> Sequence[Guard]:
    """The guards that the words of the refusal name; or, where these name none, all that may have spoken."""
    if launch.last_error is None:
        return ()
    code = launch.failed_with or ""  # none: hindered for a moment
    words = f"{launch.last_error}\n{launch.detail or ''}"
    named = [each for each in guards if _is_named(each, words)]
    if named:
        return named
    if "a trigger or a rule on campaigns" in launch.last_error:
        return [each for each in guards if each.kind in ("trigger", "rule") and each.table_name == "public.campaigns"]
    if code[:2] in _OF_TRIGGERS or code in _SLOW:
        return [each for each in guards if each.kind == "trigger"]
    if code[:2] == _DATA_EXCEPTIONS:
        return [each for each in guards if each.kind in _COMPUTING and _CALL.search(each.definition)]
    return ()


def _is_named(guard: Guard, words: str) -> bool:
    if guard.function_name:
        return re.search(rf"\b{re.escape(guard.function_name)}\(", words) is not None
    if guard.kind in _COMPUTING:  # Postgres names what the expression asked for, and not the column
        return any(f"'{name}'" in guard.definition for name in re.findall(r'"([^"]+)"', words))
    return re.search(rf"constraint {re.escape(guard.name.rpartition('.')[2])}\b", words) is not None


def triggers(guards: Iterable[Guard], table: str) -> list[Guard]:
    """The triggers on a table."""
    return [each for each in guards if each.kind == "trigger" and each.table_name == table]


def description(guard: Guard) -> str:
    """What a guard is, in a sentence."""
    if guard.function_name:
        return f"The trigger {guard.name} on {guard.table_name} runs {guard.function_name}()."
    if guard.kind in _COMPUTING:
        return f"The {guard.kind} of {guard.table_name}.{guard.name} is {guard.definition}."
    return f"The {guard.kind} {guard.name} on {guard.table_name} reads: {guard.definition.rstrip(';')}."


def statements(guards: Iterable[Guard]) -> str:
    """The statements that take the guards away."""
    return " ".join(each.statement for each in guards)

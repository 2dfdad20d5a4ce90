"""The guards: what of the project refused a campaign, as a trigger does or a constraint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from runner.commands.findings.facts import Guard
from runner.health import OpenLaunch

# Classes of SQLSTATEs that a trigger of the project raises, mostly.
_OF_TRIGGERS = frozenset({"08", "25", "42", "53", "57", "58", "P0", "XX"})
_OF_DATABASE = _OF_TRIGGERS - {"42", "P0"}  # or the database's own
_SLOW = ("57014", "CR005")
_MISSING = ("3F000", "42P01", "42703", "42704", "42883")  # a schema, table, column, setting or function
_RAISED = "P0"  # by the project's own words
_DATA_EXCEPTIONS = "22"  # a division by zero, a text that is no number
_COMPUTING = ("default", "generated column")
_CALL = re.compile(r"[(][^)]")  # an expression with brackets around something: now() fails for no row
_DENIED = re.compile(r"permission denied for (table|view|sequence|schema|function) (\S+)")
_GRANTS = {
    "table": "select on",
    "view": "select on",
    "sequence": "usage on sequence",
    "schema": "usage on schema",
    "function": "execute on function",
}
_WRITTEN = {"campaign_id", "contact_id", "organization_id", "status"}  # by the runner, so no default is asked for them
_NET = re.compile(r'schema "net"|function net\.')
_SELECT = "select * from {table} where ({columns}) = ('{values}'){condition};"
_SAME_KEY = re.compile(r"Key \((.+)\)=\((.+)\) already exists")


def refusing(guards: Sequence[Guard], launch: OpenLaunch) -> Sequence[Guard]:
    """The guards that the words of the refusal name; or, where these name none, all that may have spoken."""
    if launch.last_error is None:
        return ()
    code = launch.failed_with or ""  # none: hindered for a moment
    named = [each for each in guards if _is_named(each, _words(launch))]
    if named:
        return named
    if _keeps_the_status(launch):
        return [each for each in guards if each.kind in ("trigger", "rule") and each.table_name == "public.campaigns"]
    if code[:2] in _OF_TRIGGERS or code in _SLOW:
        return [each for each in guards if each.kind == "trigger"]
    if code[:2] == _DATA_EXCEPTIONS:
        return [each for each in guards if each.kind in _COMPUTING and _CALL.search(each.definition)]
    return ()


def triggers(guards: Iterable[Guard], table: str) -> list[Guard]:
    """The triggers on a table."""
    return [each for each in guards if each.kind == "trigger" and each.table_name == table]


def error(refusing: Sequence[Guard], launch: OpenLaunch) -> str | None:
    """The last error. What its words name stands in the place of all that may refuse with such an SQLSTATE."""
    if launch.last_error is None or not refusing or not _is_named(refusing[0], _words(launch)):
        return launch.last_error
    return re.sub(
        r"^[^(]*(?= \(SQLSTATE)", f"A {refusing[0].kind} of the project refused the campaign", launch.last_error
    )


def descriptions(refusing: Sequence[Guard], guards: Sequence[Guard]) -> Iterator[str]:
    """What the guards that refused are, a sentence each; and where the value comes from that they refused."""
    yield from map(_description, refusing)
    yield from map(_description, _origins(refusing, guards))


def advice(refusing: Sequence[Guard], guards: Sequence[Guard], launch: OpenLaunch) -> str:
    """What to do first, which takes nothing away from the project."""
    guard, words, code = refusing[0], _words(launch), launch.failed_with or ""
    if grant := missing_grant(launch):
        return f"Grant what the {guard.kind} needs, as: {grant}"
    if _NET.search(words):
        return "Add the extension that the trigger needs: create extension if not exists pg_net;"
    if code in _SLOW:
        return f"Make the {guard.kind} faster."
    if code[:2] in _OF_DATABASE and not _is_named(guard, words):
        return "See in its log whether the database is well. If the database is well, correct the trigger."
    if code in _MISSING:
        return f"Create what is missing, or correct the {guard.kind}."
    if guard.kind == "unique index" and (same := _SAME_KEY.search(words)):
        way_out = "Finish or change that row" if " WHERE " in guard.definition else "Change one of the two"
        return f"See the row that is in the way: {_row_in_the_way(guard, same)} {way_out}."
    if _keeps_the_status(launch) and guard.function_name:
        return (
            f"See what the trigger asks for: select pg_get_functiondef('{guard.function_name}'::regproc); "
            "Do so, or correct the trigger."
        )
    if origins := _origins(refusing, guards):
        return f"Correct the default of {', '.join(each.name for each in origins)}."
    if guard.kind in _COMPUTING:
        return f"Correct the {guard.kind}."
    if guard.kind == "rule" or (guard.function_name and code[:2] != _RAISED):
        return f"Correct the {guard.kind}, or the rows that the {guard.kind} works on."
    return f"Do what the {guard.kind} asks for, or correct the {guard.kind}."


def missing_grant(launch: OpenLaunch) -> str | None:
    """The statement that grants what the refusal misses. The least: a trigger that writes to a table needs more."""
    denied = _DENIED.search(_words(launch))
    return f"grant {_GRANTS[denied[1]]} {denied[2]} to service_role;" if denied else None


def statements(guards: Iterable[Guard]) -> str:
    """The statements that take the guards away."""
    return " ".join(each.statement for each in guards)


def _words(launch: OpenLaunch) -> str:
    return f"{launch.last_error}\n{launch.detail or ''}"


def _keeps_the_status(launch: OpenLaunch) -> bool:
    return "a trigger or a rule on campaigns" in (launch.last_error or "")


def _is_named(guard: Guard, words: str) -> bool:
    if guard.function_name:
        return re.search(rf"\b{re.escape(_last(guard.function_name))}\(", words) is not None
    if guard.kind in _COMPUTING:  # Postgres names what the expression asked for, and not the column
        named = re.findall(r'"([^"]+)"|permission denied for sequence (\S+)', words)
        return any(re.search(rf"['.]{re.escape(quoted or sequence)}'", guard.definition) for quoted, sequence in named)
    return re.search(rf"constraint {re.escape(_last(guard.name))}\b", words) is not None


def _last(name: str) -> str:
    """The name without its schema."""
    return name.rpartition(".")[2]


def _origins(refusing: Sequence[Guard], guards: Sequence[Guard]) -> list[Guard]:
    """The defaults that gave the columns of the refusing guards their values."""
    return [
        each
        for each in guards
        if each.kind == "default"
        and each.table_name != "public.campaigns"  # whose rows are updated
        and each.name not in _WRITTEN
        and each not in refusing
        and any(each.table_name == guard.table_name and each.name in guard.columns for guard in refusing)
    ]


def _description(guard: Guard) -> str:
    if guard.function_name:
        return f"The trigger {guard.name} on {guard.table_name} runs {guard.function_name}()."
    if guard.kind == "default":
        return f"The default of {guard.table_name}.{guard.name} is {guard.definition}."
    if guard.kind == "generated column":
        return f"The generated column {guard.table_name}.{guard.name} is computed as {guard.definition}."
    where = (
        f"the type of {guard.table_name}.{guard.columns[0]}" if guard.kind == "domain constraint" else guard.table_name
    )
    return f"The {guard.kind} {guard.name} on {where} reads: {guard.definition.rstrip(';')}."


def _row_in_the_way(guard: Guard, same: re.Match[str]) -> str:
    _, where, condition = guard.definition.partition(" WHERE ")
    return _SELECT.format(
        table=guard.table_name,
        columns=same[1],
        values=same[2].replace("'", "''").replace(", ", "', '"),
        condition=f" and {condition}" if where else "",
    )

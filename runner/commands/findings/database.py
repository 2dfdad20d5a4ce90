"""The database: how it answers, and what it is like."""

from __future__ import annotations

from collections.abc import Iterator

from runner.commands.findings.calls import call_findings
from runner.commands.findings.contacts import contact_findings
from runner.commands.findings.facts import Blocker, DoctorResult
from runner.commands.findings.finding import Finding, found
from runner.commands.findings.schedules import schedule_findings
from runner.commands.findings.system_user import system_user_findings
from runner.commands.findings.troubles import TROUBLES
from runner.commands.terminal import duration
from runner.errors import Impaired, InvalidProject, Nonsense, RunnerError, StatementTimeout, Unavailable
from runner.settings import Settings

MIGRATION = "20261124009900"  # the last one of supabase/migrations, which this program expects

_LOCKED, _UNPRIVILEGED = "55P03", "42501"
# What a check is called, where the fact has another name.
_CHECKS = {
    "version": "migrations",
    "requirements": "tables",
    "grants": "privileges",
    "system_user": "system user",
    "tenants": "schedules",
    "closed": "schedules",
    "nobody": "launches",
    "dropped": "launches",
    "unmatched": "launches",
    "objects": "migrations",
    "guards": "campaigns",
    "audiences": "contacts",
    "last_call": "calls",
}


def unreachable(error: RunnerError) -> Finding:
    """Why the database could not be asked."""
    trouble = "refused"
    if isinstance(error, InvalidProject):
        kinds = {"key": "key", "migrations": "missing_functions", "grants": "closed", "schema": "schema"}
        trouble = kinds.get(error.part, "foreign")
        if error.words is not None:
            return found(trouble, f"The key's role lacks a privilege. In the words of the source: {error.words}.")
    elif isinstance(error, Nonsense):
        trouble = "old_functions"
    elif isinstance(error, StatementTimeout):
        trouble = "slow"
    elif isinstance(error, Impaired):
        trouble = "impaired"
    elif isinstance(error, Unavailable):
        trouble = "unreachable"
    return found(trouble, str(error))


def database_findings(answer: DoctorResult, settings: Settings) -> Iterator[Finding]:
    """All that the database told about itself, in the order in which the doctor looks."""
    facts = answer.facts
    if "version" not in answer.errors:
        yield _version(facts.version)
    for each in facts.objects or ():
        yield found("object", f"The {each}.")
    for requirement in facts.requirements or ():
        trouble = "table" if requirement.severity == "error" else "odd_table"
        yield found(trouble, f"{requirement.lack}.", remedy=requirement.remedy)
    if facts.requirements == ():
        yield Finding("tables", "ok", "They have all columns and keys that are needed.")
    for grant in facts.grants or ():
        yield found("grant", f"The key's role lacks {grant.lack}.", statement=grant.statement)
    if facts.grants == ():
        yield Finding("privileges", "ok", "The key's role may read, write and execute what it has to.")
    if facts.writing == "25006":
        yield found("read_only", "The database is read-only (SQLSTATE 25006).", database="postgres")
    elif facts.writing == _UNPRIVILEGED:
        pass  # the grant that is missing stands above
    elif facts.writing is not None:
        yield found("unwritable", f"The database refuses to write (SQLSTATE {facts.writing}).")
    elif "writing" not in answer.errors:
        yield Finding("writing", "ok", "The database is not read-only: a row of the ledger was written, and undone.")
    for blocker in facts.locks or ():
        yield found("lock", _blocker(blocker), pid=blocker.pid)
    if facts.locks == ():
        yield Finding("locks", "ok", "No other transaction holds a lock for long.")
    yield from _failed_looks(answer)
    for index in facts.indexes or ():
        if index.is_invalid:
            statement = f"drop index concurrently public.{index.name}; {index.command}"
            yield found("index", f"{index.name} is invalid: a build of it failed or is not over.", statement=statement)
        else:
            yield found("index", f"{index.name} is missing: launches are slow, or time out.", statement=index.command)
    if facts.indexes == ():
        yield Finding("indexes", "ok", "All that are needed are there, and valid.")
    yield from system_user_findings(facts, settings)
    yield from schedule_findings(facts)
    yield from contact_findings(facts.audiences, is_known="audiences" not in answer.errors)
    yield from call_findings(facts, settings)


def _failed_looks(answer: DoctorResult) -> Iterator[Finding]:
    causes = {_LOCKED: ("locked_look", "A lock"), _UNPRIVILEGED: ("unprivileged_look", "The lack of a privilege")}
    for cause, (trouble, what) in causes.items():
        kept = {_CHECKS.get(check, check): None for check, code in answer.errors.items() if code == cause}
        if kept:
            yield found(trouble, f"{what} kept the doctor from looking at these: {', '.join(kept)}.")
    for check, code in answer.errors.items():
        if code not in causes:
            kind = TROUBLES["missing_functions" if code.startswith("42") else "look"]
            name = _CHECKS.get(check, check)
            yield Finding(name, "problem", f"This could not be looked at (SQLSTATE {code}).", kind.remedy)


def _version(version: str | None) -> Finding:
    if version is not None and version > MIGRATION:
        known = f"The database has the migrations up to {version}, and this program knows those up to {MIGRATION}."
        return found("new_functions", known)
    if version != MIGRATION:
        needed = f"The database has the migrations up to {version}, and this program needs those up to {MIGRATION}."
        return found("old_functions", needed)
    return Finding("migrations", "ok", f"They are there, up to {version}.")


def _blocker(blocker: Blocker) -> str:
    what = "rows of " if blocker.mode in ("RowShareLock", "RowExclusiveLock") else ""
    since = "" if blocker.seconds is None else f" for {duration(blocker.seconds)}"
    program = f"program {blocker.application}" if blocker.application else None
    role = f"user {blocker.role}" if blocker.role else None
    who = [f"pid {blocker.pid}", program, role, blocker.state]
    mode = "" if what else f" ({blocker.mode})"
    return (
        f"A transaction ({', '.join(each for each in who if each)}) has locked {what}"
        f"{', '.join(blocker.tables)}{since}{mode}."
    )

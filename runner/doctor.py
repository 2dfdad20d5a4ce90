"""The doctor: what keeps campaigns from being launched, each finding with its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal
from uuid import UUID

import click

from runner import log
from runner.answers import DoctorAnswer, Facts, Lack
from runner.budget import READ_SECONDS
from runner.clock import Clock
from runner.errors import InvalidProject, InvalidSettings, Nonsense, RunnerError, StatementTimeout, Unavailable
from runner.retry import persistently
from runner.settings import HttpSettings, Settings
from runner.terminal import printable

MIGRATION = "20261124009900"  # the last one of supabase/migrations, which this program expects

PATIENCE_SECONDS = 5.0
CLOCK_SECONDS = 5.0  # more difference than this is worth a word
TICK_SECONDS = 600.0  # longer without a call than this, too

Severity = Literal["ok", "warning", "problem"]

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}
# What a finding is called, where that is not the name of the fact.
_CHECKS = {
    "version": "migrations",
    "requirements": "tables",
    "privilege": "privileges",
    "system_user": "system user",
    "tick": "calls",
}
_APPLY = "Apply supabase/migrations: supabase db push, or the files in the SQL editor, in their order."


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is a sentence, and None where all is well."""

    check: str
    severity: Severity
    message: str
    remedy: str | None = None


@dataclass(frozen=True)
class Examination:
    """All findings. `complete` is False where the database could not be asked."""

    findings: tuple[Finding, ...]
    complete: bool

    @property
    def exit_code(self) -> int:
        """0: no problem; 1: at least one; 3: not everything could be looked at."""
        if not self.complete:
            return 3
        return 1 if any(finding.severity == "problem" for finding in self.findings) else 0


def examine() -> Examination:
    """Look at the environment, then at the database. What is wrong is a finding, and raises nothing."""
    findings = list(_settings())
    try:
        settings = Settings.load()
        log.configure(settings.log_level)
    except InvalidSettings:
        return Examination(tuple(findings), complete=False)
    try:
        answer, difference = _ask(settings)
    except RunnerError as error:
        return Examination((*findings, _unreachable(error)), complete=False)
    findings.append(Finding("database", "ok", f"{settings.supabase_url} answers, and accepts the key."))
    findings += _database(answer, settings)
    findings.append(_clocks(difference))
    return Examination(tuple(findings), complete=True)


def as_json(examination: Examination) -> str:
    """The findings for a program."""
    found = [asdict(finding) for finding in examination.findings]
    return json.dumps({"complete": examination.complete, "findings": found}, indent=2)


def as_text(examination: Examination) -> str:
    """The findings for a person."""
    lines = []
    width = max(len(finding.check) for finding in examination.findings)
    for finding in examination.findings:
        severity = click.style(finding.severity.ljust(7), fg=_COLORS[finding.severity])
        lines.append(f"{severity}  {finding.check.ljust(width)}  {printable(finding.message)}")
        if finding.remedy:
            lines.append(f"{' ' * (width + 11)}{printable(finding.remedy)}")
    counts = [sum(finding.severity == severity for finding in examination.findings) for severity in _COLORS]
    lines += ["", f"{counts[2]} {_plural('problem', counts[2])}, {counts[1]} {_plural('warning', counts[1])}."]
    if not examination.complete:
        lines.append("The database could not be asked, so not everything was looked at.")
    return "\n".join(lines)


def _settings() -> Iterator[Finding]:
    needed = _problems(Settings)
    for problem in needed:
        yield Finding("settings", "problem", f"{problem}.", "Set it as .env.example says.")
    if not needed:
        settings = Settings.load()
        secret = "a secret key" if _key(settings).startswith("sb_secret_") else "a key of the older kind"
        yield Finding(
            "settings",
            "ok",
            f"SUPABASE_URL is {settings.supabase_url}, SUPABASE_SECRET_KEY {secret}, "
            f"SYSTEM_USER_ID {settings.system_user_id}.",
        )
    http = [problem for problem in _problems(HttpSettings) if problem not in needed]
    for problem in http:
        if problem == "RUNNER_TOKENS is not set":
            yield Finding(
                "tokens",
                "warning",
                "RUNNER_TOKENS is not set: over HTTP nobody would be let in.",
                "Set it where the HTTP function runs; the command line needs none.",
            )
        else:
            yield Finding("tokens", "problem", f"{problem}.", "Set it as .env.example says.")
    if not http and not needed:
        yield Finding("tokens", "ok", _callers(HttpSettings.load()))


def _problems(kind: type[Settings]) -> tuple[str, ...]:
    try:
        kind.load()
    except InvalidSettings as error:
        return error.problems
    return ()


def _key(settings: Settings) -> str:
    return settings.supabase_secret_key.get_secret_value()


def _callers(settings: HttpSettings) -> str:
    number = len(settings.tokens)
    callers = [f"{number} {_plural('token', number)}"] if number else []
    if settings.identity is not None:
        callers.append(f"the ID tokens of {settings.oidc_service_account}")
    return f"Over HTTP {' and '.join(callers)} are accepted."


def _ask(settings: Settings) -> tuple[DoctorAnswer, float]:
    """The answer of the database, and by how many seconds its clock is ahead of ours (behind: below 0), at least."""
    from runner import database

    clock = Clock()
    sent = clock.time()

    def ask() -> DoctorAnswer:
        nonlocal sent
        sent = clock.time()
        return database.shared(settings).doctor(timeout=READ_SECONDS)

    answer = persistently(ask, clock, until=clock.now() + PATIENCE_SECONDS)
    # It was read at some moment between these two, so anything between is no difference.
    return answer, max(answer.clock - clock.time(), 0.0) or min(answer.clock - sent, 0.0)


def _unreachable(error: RunnerError) -> Finding:
    if isinstance(error, InvalidProject) and error.part == "key":
        remedy = "Copy a secret key (sb_secret_...) of this project, from its dashboard under API keys."
        return Finding("key", "problem", str(error), remedy)
    if isinstance(error, InvalidProject) and error.part == "migrations":
        return Finding("migrations", "problem", str(error), _APPLY)
    if isinstance(error, Nonsense):
        return Finding("migrations", "problem", str(error), f"Program and migrations do not fit together. {_APPLY}")
    if isinstance(error, StatementTimeout):
        return Finding("database", "problem", str(error), "The database is too slow now: see what else runs there.")
    if isinstance(error, (Unavailable, InvalidProject)):
        remedy = (
            "See that SUPABASE_URL is that of the project, that the project is not paused, and that this machine may "
            "reach it."
        )
        return Finding("database", "problem", str(error), remedy)
    return Finding("database", "problem", str(error), "Look into the database's log for this code.")


def _database(answer: DoctorAnswer, settings: Settings) -> Iterator[Finding]:
    for check, code in answer.errors.items():
        remedy = "Look into the database's log for this code."
        if code.startswith("42"):  # missing, or forbidden
            remedy = f"{_APPLY} They create and grant what this needs."
        name = _CHECKS.get(check, check)
        yield Finding(name, "problem", f"This could not be looked at (SQLSTATE {code}).", remedy)
    if "version" not in answer.errors:
        yield _version(answer.facts.version)
    yield from _tables(answer)
    yield from _system_user(answer.facts, settings)
    yield from _data(answer.facts)
    if answer.facts.duplicates is None and "duplicates" not in answer.errors:
        yield Finding(
            "duplicates",
            "warning",
            "Contacts with one address were not looked for: that needs the index campaign_runner_addresses_idx.",
            "Build that index, see above, and look again.",
        )


def _version(version: str | None) -> Finding:
    if version is not None and version > MIGRATION:
        return Finding(
            "migrations",
            "warning",
            f"The database has the migrations up to {version}, and this program knows those up to {MIGRATION}.",
            "Deploy the newer version of the program.",
        )
    if version != MIGRATION:
        return Finding(
            "migrations",
            "problem",
            f"The database has the migrations up to {version}, and this program needs those up to {MIGRATION}.",
            _APPLY,
        )
    return Finding("migrations", "ok", f"They are there, up to {version}.")


def _tables(answer: DoctorAnswer) -> Iterator[Finding]:
    facts = answer.facts
    for lack in facts.requirements or ():
        yield Finding("tables", "problem", f"{lack}.", f"Mend that. {_APPLY}")
    if facts.requirements == ():
        yield Finding("tables", "ok", "They have all columns and keys that are needed.")
    if facts.privilege is not None:
        yield Finding(
            "privileges",
            "problem",
            f"The key's role lacks {facts.privilege}, or policies bind it there.",
            f"{_APPLY} They grant it; and the role must bypass row level security.",
        )
    elif "privilege" not in answer.errors:
        yield Finding("privileges", "ok", "The key's role may read and write what it has to.")
    for index in facts.indexes or ():
        if index.is_invalid:
            message = f"The index {index.name} is invalid: a build of it failed or is not over."
            remedy = f"drop index concurrently public.{index.name}; {index.command}"
        else:
            message = f"The index {index.name} is missing: launches are slow, or time out."
            remedy = index.command
        yield Finding("indexes", "problem", message, remedy)
    if facts.indexes == ():
        yield Finding("indexes", "ok", "All that are needed are there, and valid.")


def _system_user(facts: Facts, settings: Settings) -> Iterator[Finding]:
    if facts.system_user is False:
        yield Finding(
            "system user",
            "problem",
            f"SYSTEM_USER_ID ({settings.system_user_id}) is no row of profiles: nothing is launched at all.",
            "Insert the system user into public.profiles, or correct SYSTEM_USER_ID.",
        )
    elif facts.system_user:
        yield Finding("system user", "ok", "It has a profile.")
    roles = ", ".join(settings.system_user_roles)
    lack = facts.memberships
    if lack is not None and lack.lacking:
        yield Finding(
            "memberships",
            "problem",
            f"{_counted(lack, 'organization')} with scheduled campaigns, in which the system user has no fitting role: "
            f"{_named(lack.named, lack.lacking)}.",
            f"Add it to organization_members there, with one of the roles {roles}.",
        )
    elif lack is not None:
        extent = ", as far as these were looked at" if lack.is_cut else ""
        yield Finding("memberships", "ok", f"The system user may act where campaigns are scheduled{extent}.")


def _data(facts: Facts) -> Iterator[Finding]:
    lack = facts.schedules
    if lack is not None and lack.lacking:
        yield Finding(
            "schedules",
            "warning",
            f"{_counted(lack, 'campaign')} scheduled without a time: {_named(lack.named, lack.lacking)}.",
            "Set scheduled_at: without it a campaign is never due.",
        )
    elif lack is not None:
        yield Finding("schedules", "ok", "Each campaign that is scheduled has a time.")
    if facts.duplicates is not None:
        found = facts.duplicates
        looked = f"{'a sample of ' if found.is_sample else 'all '}{found.contacts} contacts"
        if found.organizations:
            number = sum(organization.addresses for organization in found.organizations)
            named = _named((each.organization_id for each in found.organizations[:5]), len(found.organizations))
            yield Finding(
                "duplicates",
                "warning",
                f"{number} {_plural('address', number)} of more than one contact, in {looked}; organizations: {named}.",
                "Merge those contacts: of several with one address, only that with the lowest id gets a campaign.",
            )
        else:
            yield Finding("duplicates", "ok", f"No address of more than one contact, in {looked}.")
    if facts.tick is not None:
        ago = facts.tick.seconds_ago
        if ago is not None and ago <= TICK_SECONDS:
            yield Finding("calls", "ok", f"The runner was called {round(ago)} s ago.")
        else:
            since = "Nothing has ever called" if ago is None else f"For {round(ago / 60)} minutes nothing has called"
            due = ", and campaigns are due" if facts.tick.is_any_due else ""
            yield Finding(
                "calls",
                "problem" if due else "warning",
                f"{since} the runner{due}.",
                "Start its trigger, or look at it: docs/operations.md has them all, and what stops them.",
            )


def _clocks(difference: float) -> Finding:
    if abs(difference) <= CLOCK_SECONDS:
        return Finding("clocks", "ok", "This machine and the database agree about the time.")
    return Finding(
        "clocks",
        "warning",
        f"This machine's clock is {abs(difference):.0f} s {'behind' if difference > 0 else 'ahead of'} the database's.",
        "Campaigns start by the database's clock; set this machine's by NTP, since ID tokens and logs go by that.",
    )


def _counted(lack: Lack, noun: str) -> str:
    return f"{'At least ' if lack.is_cut else ''}{lack.lacking} {_plural(noun, lack.lacking)}"


def _named(ids: Iterable[UUID], number: int) -> str:
    shown = [str(each) for each in ids]
    return ", ".join(shown) + (f" and {number - len(shown)} more" if number > len(shown) else "")


def _plural(noun: str, number: int) -> str:
    if number == 1:
        return noun
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"

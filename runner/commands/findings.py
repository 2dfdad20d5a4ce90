"""The findings of `doctor`: what was looked at, what is wrong, and the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from uuid import UUID

from runner.commands import guards
from runner.commands.facts import Audiences, Blocker, Closed, DoctorResult, Facts, Lack, Memberships, Named
from runner.commands.finding import Finding, found
from runner.commands.memberships import membership_statement
from runner.commands.terminal import counted, duration
from runner.commands.troubles import TROUBLES
from runner.environment import misspelt
from runner.errors import (
    Impaired,
    InvalidProject,
    InvalidSettings,
    Nonsense,
    RunnerError,
    StatementTimeout,
    Unavailable,
)
from runner.settings import HttpSettings, Settings

MIGRATION = "20261124009900"  # the last one of supabase/migrations, which this program expects

CLOCK_SECONDS = 5.0  # more difference than this is worth a word
CALL_SECONDS = 600.0  # longer without a call than this, too

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


def settings_findings() -> Iterator[Finding]:
    needed = _problems(Settings)
    for problem in needed:
        yield found("setting", f"{problem}.")
    if not needed:
        settings = Settings.load()
        secret = "a secret key" if _key(settings).startswith("sb_secret_") else "a key of the older kind"
        yield Finding(
            "settings",
            "ok",
            f"SUPABASE_URL is {settings.supabase_url}, SUPABASE_SECRET_KEY {secret}, "
            f"SYSTEM_USER_ID {settings.system_user_id}.",
        )
    for name, meant in misspelt(os.environ).items():
        yield found("misspelt", f"{name} is no setting. Is {meant} meant?", meant=meant)
    http = [problem for problem in _problems(HttpSettings) if problem not in needed]
    for problem in http:
        if problem == "RUNNER_TOKENS is not set":
            yield found("no_token", "RUNNER_TOKENS is not set: over HTTP every call is refused.")
        else:
            yield found("token", f"{problem}.")
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
    callers = [counted(number, "token")] if number else []
    if settings.identity is not None:
        callers.append(f"the ID tokens of {settings.oidc_service_account}")
    return f"Over HTTP the function accepts {' and '.join(callers)}."


def unreachable(error: RunnerError) -> Finding:
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
    yield from _system_user(facts, settings)
    yield from _lists(facts)
    yield from _contacts(facts.audiences, is_known="audiences" not in answer.errors)
    yield from _calls(facts, settings)


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


def _system_user(facts: Facts, settings: Settings) -> Iterator[Finding]:
    user = settings.system_user_id
    if facts.system_user is False:
        missing = f"SYSTEM_USER_ID ({user}) is no row of profiles: nothing is launched at all."
        yield found("system_user", missing, system_user_id=user)
    elif facts.system_user:
        yield Finding("system user", "ok", "It has a profile.")
    lack = facts.memberships
    if lack is not None and lack.lacking:
        number = f"{'At least ' if lack.is_cut else ''}{counted(lack.lacking, 'organization')}"
        yield found(
            "membership",
            f"{number} with scheduled campaigns, in which the system user has none of the roles "
            f"{', '.join(settings.system_user_roles)}: {_tenants(lack)}."
            f"{_other_user(facts, settings)}{_no_profile(facts)}",
            statement=" ".join(
                membership_statement(each.id, settings, is_member=each.role is not None) for each in lack.named
            ),
        )
    elif lack is not None:
        extent = ", as far as these were looked at" if lack.is_cut else ""
        yield Finding("memberships", "ok", f"The system user may act where campaigns are scheduled{extent}.")


def _lists(facts: Facts) -> Iterator[Finding]:
    lacks = (
        ("unscheduled", facts.schedules, "scheduled without a time"),
        ("no_organization", facts.tenants, "scheduled without an organization"),
        (
            "never_due",
            facts.closed,
            "scheduled and never due, as a campaign or its organization is deleted, archived or closed",
        ),
        ("recipients", facts.recipients, "scheduled with recipients that no launch wrote"),
        ("nobody", facts.nobody, "launched in the last 7 days without a recipient to mail"),
        ("dropped", facts.dropped, "launched in the last 7 days with recipients that a trigger dropped"),
        ("unmatched", facts.unmatched, "launched in the last 7 days past an exclusion that matched nothing"),
    )
    is_wrong = False
    for trouble, lack, what in lacks:
        if lack is not None and lack.lacking:
            is_wrong = True
            number = f"{'At least ' if lack.is_cut else ''}{counted(lack.lacking, 'campaign')}"
            columns = lack.columns if isinstance(lack, Closed) else None
            first = " of the first one" if lack.lacking > 1 else ""
            because = f" ({', '.join(columns)}{first})" if columns else ""
            named = _campaigns(lack)
            yield found(
                trouble,
                f"{number} {what}{because}: {named}.",
                campaign_id=lack.named[0].id,
                advice=_advice_on_nobody(lack.named[0].because or "", lack.named[0].id),
                statement=guards.statements(guards.triggers(facts.guards or (), "public.campaign_recipients"))
                or "it is gone by now.",
                reopening=lack.statement if isinstance(lack, Closed) else None,
            )
    if not is_wrong and all(lack is not None for _, lack, _ in lacks):
        yield Finding(
            "schedules",
            "ok",
            "Each scheduled campaign has a time and an organization. Launches alone wrote recipients.",
        )


def _advice_on_nobody(because: str, campaign_id: UUID) -> str:
    if "project:" in because:
        return (
            "See why your function leaves contacts out: "
            "select pg_get_functiondef('public.campaign_runner_exclusions'::regproc);"
        )
    if "no contacts" in because:
        return "Import the contacts, or correct the organization_id of the campaign."
    if because.endswith(" deleted") and "," not in because:
        return "Each contact has a deleted_at: no rule makes a deleted contact a recipient."
    return f"Correct the rules or the contacts (names that match no contact: python -m runner preview {campaign_id})."


def _contacts(audiences: Audiences | None, *, is_known: bool) -> Iterator[Finding]:
    if audiences is None:
        if is_known:
            yield found("unlooked", "Contacts with one address were not looked for: an index is missing.")
        return
    looked = f"{'a sample of ' if audiences.is_sample else 'all '}{counted(audiences.contacts, 'contact')}"
    kinds = (
        ("duplicates", "addresses", "address", "of more than one contact"),
        ("mobiles", "mobiles", "mobile number", "of more than one contact without an address"),
        ("malformed", "malformed", "address", "malformed"),
        ("unknown", "unknown", "contact", "without is_subscribed"),
    )
    is_wrong = False
    for trouble, fact, noun, what in kinds:
        concerned = [each for each in audiences.organizations if getattr(each, fact)]
        if concerned:
            is_wrong = True
            number = counted(sum(getattr(each, fact) for each in concerned), noun)
            ids = _listed([str(each.organization_id) for each in concerned[:5]], len(concerned))
            yield found(trouble, f"{number} {what}, in {looked}; organizations: {ids}.")
    if not is_wrong:
        yield Finding("contacts", "ok", f"Nothing looks wrong in {looked}.")


def _calls(facts: Facts, settings: Settings) -> Iterator[Finding]:
    call = facts.last_call
    if call is None:
        return
    if call.seconds_ago is not None and call.seconds_ago <= CALL_SECONDS:
        yield Finding("calls", "ok", f"The last call came {duration(call.seconds_ago)} ago.")
    else:
        since = (
            "Nothing has ever called"
            if call.seconds_ago is None
            else (f"For {duration(call.seconds_ago)} nothing has called")
        )
        if call.is_any_due:
            yield found("no_call", f"{since} the runner, and campaigns are due.")
        else:
            yield found("old_call", f"{since} the runner.")
    if call.passed_over_for is not None:
        yield found(
            "passed_over",
            f"The last call was for {_named(call.passed_over_for, None)} alone (organization_id). Campaigns of other "
            "organizations are due, and no such call launches them.",
        )
    if call.system_user_id is not None:
        theirs = (call.system_user_id, call.system_user_roles, call.max_lateness_minutes)
        ours = (settings.system_user_id, settings.system_user_roles, settings.max_lateness_minutes)
        names = ("SYSTEM_USER_ID", "SYSTEM_USER_ROLES", "MAX_LATENESS_MINUTES")
        differing = [
            f"The last call had the {name} {_setting(a)}, and this shell has {_setting(b)}."
            for name, a, b in zip(names, theirs, ours, strict=True)
            if a != b
        ]
        if differing:
            yield found("other_settings", " ".join(differing))


def _setting(value: object) -> str:
    if value is None:
        return "(not set)"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def clock_finding(difference: float) -> Finding:
    if abs(difference) <= CLOCK_SECONDS:
        return Finding("clocks", "ok", "This machine and the database agree about the time.")
    direction = "behind" if difference > 0 else "ahead of"
    return found("clock", f"This machine's clock is {abs(difference):.0f} s {direction} the database's.")


def _no_profile(facts: Facts) -> str:
    return " The user needs its profile first (see system user)." if facts.system_user is False else ""


def _other_user(facts: Facts, settings: Settings) -> str:
    theirs = facts.last_call.system_user_id if facts.last_call else None
    if theirs is None or theirs == settings.system_user_id:
        return ""
    return f" Is SYSTEM_USER_ID right? The last call had another one, {theirs}."


def _tenants(lack: Memberships) -> str:
    return _listed([_named(each, each.role and f"its role there: {each.role}") for each in lack.named], lack.lacking)


def _campaigns(lack: Lack) -> str:
    return _listed([_named(each, each.because) for each in lack.named], lack.lacking)


def _named(named: Named, note: str | None) -> str:
    return f"{named.name or '(without a name)'} {named.id}" + (f" ({note})" if note else "")


def _listed(shown: Sequence[str], number: int) -> str:
    return ", ".join(shown) + (f" and {number - len(shown):,} more" if number > len(shown) else "")

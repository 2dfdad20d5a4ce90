"""The findings of `doctor`: what was looked at, what is wrong, and the remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runner.commands.facts import Audiences, Blocker, Closed, DoctorResult, Facts, Guard, Named
from runner.commands.status import coming, refusal, stuck_because, whose
from runner.commands.terminal import counted, duration, moment
from runner.commands.troubles import TROUBLES, Severity
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
from runner.health import Health, OpenLaunch, read_health
from runner.settings import HttpSettings, Settings

MIGRATION = "20261124009900"  # the last one of supabase/migrations, which this program expects

CLOCK_SECONDS = 5.0  # more difference than this is worth a word
CALL_SECONDS = 600.0  # longer without a call than this, too
UNREPORTED_SECONDS = 3600.0  # no run takes longer

_LOCKED = "55P03"
_SLOW = ("57014", "CR005")
# Classes of SQLSTATEs that a trigger of the project raises, mostly.
_OF_TRIGGERS = frozenset({"08", "25", "42", "53", "57", "58", "P0", "XX"})
# What a check is called, where the fact has another name.
_CHECKS = {
    "version": "migrations",
    "requirements": "tables",
    "grants": "privileges",
    "system_user": "system user",
    "tenants": "schedules",
    "audiences": "contacts",
    "last_call": "calls",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is a sentence, a statement or a command, and None where all is well."""

    check: str
    severity: Severity
    message: str
    remedy: str | None = None


def _found(trouble: str, message: str, **blanks: object) -> Finding:
    kind = TROUBLES[trouble]
    return Finding(kind.check, kind.severity, message, kind.remedy.format(**blanks))


def settings_findings() -> Iterator[Finding]:
    needed = _problems(Settings)
    for problem in needed:
        yield _found("setting", f"{problem}.")
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
        yield _found("misspelt", f"{name} is no setting. Is {meant} meant?", meant=meant)
    http = [problem for problem in _problems(HttpSettings) if problem not in needed]
    for problem in http:
        if problem == "RUNNER_TOKENS is not set":
            yield _found("no_token", "RUNNER_TOKENS is not set: over HTTP every call is refused.")
        else:
            yield _found("token", f"{problem}.")
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
    elif isinstance(error, Nonsense):
        trouble = "old_functions"
    elif isinstance(error, StatementTimeout):
        trouble = "slow"
    elif isinstance(error, Impaired):
        trouble = "impaired"
    elif isinstance(error, Unavailable):
        trouble = "unreachable"
    return _found(trouble, str(error))


def database_findings(answer: DoctorResult, settings: Settings) -> Iterator[Finding]:
    facts = answer.facts
    if "version" not in answer.errors:
        yield _version(facts.version)
    for function in facts.functions or ():
        yield _found("function", f"The function {function} is gone, or was changed since the migrations.")
    for requirement in facts.requirements or ():
        trouble = "table" if requirement.severity == "error" else "odd_table"
        yield _found(trouble, f"{requirement.lack}.", remedy=requirement.remedy)
    if facts.requirements == ():
        yield Finding("tables", "ok", "They have all columns and keys that are needed.")
    for grant in facts.grants or ():
        yield _found("grant", f"The key's role lacks {grant.lack}.", statement=grant.statement)
    if facts.grants == ():
        yield Finding("privileges", "ok", "The key's role may read, write and execute what it has to.")
    if facts.writing == "25006":
        yield _found("read_only", "The database is read-only (SQLSTATE 25006).", database="postgres")
    elif facts.writing is not None:
        yield _found("unwritable", f"The database refuses to write (SQLSTATE {facts.writing}).")
    elif "writing" not in answer.errors:
        yield Finding("writing", "ok", "The database accepts a row, which was undone.")
    for blocker in facts.locks or ():
        yield _found("lock", _blocker(blocker), pid=blocker.pid)
    if facts.locks == ():
        yield Finding("locks", "ok", "No other transaction holds a lock for long.")
    yield from _failed_looks(answer)
    for index in facts.indexes or ():
        if index.is_invalid:
            statement = f"drop index concurrently public.{index.name}; {index.command}"
            yield _found("index", f"{index.name} is invalid: a build of it failed or is not over.", statement=statement)
        else:
            yield _found("index", f"{index.name} is missing: launches are slow, or time out.", statement=index.command)
    if facts.indexes == ():
        yield Finding("indexes", "ok", "All that are needed are there, and valid.")
    yield from _system_user(facts, settings)
    yield from _lists(facts)
    yield from _contacts(facts.audiences, is_known="audiences" not in answer.errors)
    yield from _calls(facts, settings)


def _failed_looks(answer: DoctorResult) -> Iterator[Finding]:
    locked = [_CHECKS.get(check, check) for check, code in answer.errors.items() if code == _LOCKED]
    if locked:
        yield _found("locked_look", f"A lock on a table hid what these checks look at: {', '.join(locked)}.")
    for check, code in answer.errors.items():
        if code != _LOCKED:
            kind = TROUBLES["missing_functions" if code.startswith("42") else "look"]
            name = _CHECKS.get(check, check)
            yield Finding(name, "problem", f"This could not be looked at (SQLSTATE {code}).", kind.remedy)


def _version(version: str | None) -> Finding:
    if version is not None and version > MIGRATION:
        known = f"The database has the migrations up to {version}, and this program knows those up to {MIGRATION}."
        return _found("new_functions", known)
    if version != MIGRATION:
        needed = f"The database has the migrations up to {version}, and this program needs those up to {MIGRATION}."
        return _found("old_functions", needed)
    return Finding("migrations", "ok", f"They are there, up to {version}.")


def _blocker(blocker: Blocker) -> str:
    what = "rows of " if blocker.mode in ("RowShareLock", "RowExclusiveLock") else ""
    since = "" if blocker.seconds is None else f" for {duration(blocker.seconds)}"
    who = [f"pid {blocker.pid}", blocker.application, blocker.role, blocker.state]
    return (
        f"A transaction ({', '.join(each for each in who if each)}){since} holds {blocker.mode} on "
        f"{what}{', '.join(blocker.tables)}."
    )


def _system_user(facts: Facts, settings: Settings) -> Iterator[Finding]:
    user = settings.system_user_id
    if facts.system_user is False:
        missing = f"SYSTEM_USER_ID ({user}) is no row of profiles: nothing is launched at all."
        yield _found("system_user", missing, system_user_id=user)
    elif facts.system_user:
        yield Finding("system user", "ok", "It has a profile.")
    lack = facts.memberships
    if lack is not None and lack.lacking:
        number = f"{'At least ' if lack.is_cut else ''}{counted(lack.lacking, 'organization')}"
        yield _found(
            "membership",
            f"{number} with scheduled campaigns, in which the system user has none of the roles "
            f"{', '.join(settings.system_user_roles)}: {_named(lack.named, lack.lacking)}.",
            organization_id=lack.named[0].id,
            system_user_id=user,
            role=settings.system_user_roles[-1],
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
            "scheduled, but deleted or archived, or of an organization that is deleted or closed",
        ),
        ("recipients", facts.recipients, "scheduled with recipients that no launch wrote"),
        ("nobody", facts.nobody, "launched in the last 7 days with nobody left to mail"),
        ("dropped", facts.dropped, "launched in the last 7 days with recipients that a trigger dropped"),
        ("unmatched", facts.unmatched, "launched in the last 7 days past an exclusion that matched nothing"),
    )
    found = False
    for trouble, lack, what in lacks:
        if lack is not None and lack.lacking:
            found = True
            number = f"{'At least ' if lack.is_cut else ''}{counted(lack.lacking, 'campaign')}"
            columns = lack.columns if isinstance(lack, Closed) else None
            first = " of the first one" if lack.lacking > 1 else ""
            because = f" ({', '.join(columns)}{first})" if columns else ""
            named = _named(lack.named, lack.lacking)
            yield _found(
                trouble,
                f"{number} {what}{because}: {named}.",
                campaign_id=lack.named[0].id,
                statement=_statements(_triggers(facts.guards or (), "public.campaign_recipients")),
                reopening=lack.statement if isinstance(lack, Closed) else None,
            )
    if not found and all(lack is not None for _, lack, _ in lacks):
        yield Finding(
            "schedules",
            "ok",
            "Each scheduled campaign has a time and an organization. Launches alone wrote recipients.",
        )


def _contacts(audiences: Audiences | None, *, is_known: bool) -> Iterator[Finding]:
    if audiences is None:
        if is_known:
            yield _found("unlooked", "Contacts with one address were not looked for: an index is missing.")
        return
    looked = f"{'a sample of ' if audiences.is_sample else 'all '}{counted(audiences.contacts, 'contact')}"
    kinds = (
        ("duplicates", "addresses", "address", "of more than one contact"),
        ("mobiles", "mobiles", "mobile number", "of more than one contact without an address"),
        ("malformed", "malformed", "address", "malformed"),
        ("unknown", "unknown", "contact", "without is_subscribed"),
    )
    found = False
    for trouble, fact, noun, what in kinds:
        concerned = [each for each in audiences.organizations if getattr(each, fact)]
        if concerned:
            found = True
            number = counted(sum(getattr(each, fact) for each in concerned), noun)
            ids = _listed([str(each.organization_id) for each in concerned[:5]], len(concerned))
            yield _found(trouble, f"{number} {what}, in {looked}; organizations: {ids}.")
    if not found:
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
            yield _found("no_call", f"{since} the runner, and campaigns are due.")
        else:
            yield _found("old_call", f"{since} the runner.")
    if call.system_user_id is not None:
        theirs = (call.system_user_id, call.system_user_roles, call.max_lateness_minutes)
        ours = (settings.system_user_id, settings.system_user_roles, settings.max_lateness_minutes)
        names = ("SYSTEM_USER_ID", "SYSTEM_USER_ROLES", "MAX_LATENESS_MINUTES")
        differing = [name for name, a, b in zip(names, theirs, ours, strict=True) if a != b]
        if differing:
            yield _found("other_settings", f"The last call had another {', '.join(differing)} than this shell.")


def campaign_findings(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """What the health says, which GET /health and `status` show as well."""
    if facts.system_user is False:
        return  # the health is refused for this, and the finding stands above
    try:
        health = read_health(settings, with_details=True)
    except RunnerError as error:
        yield Finding(
            "campaigns", "problem", f"The campaigns could not be looked at. {error}", "Correct what stands above."
        )
        return
    if health.is_well(settings.health_max_lateness_minutes):
        yield Finding("campaigns", "ok", _well(health, is_locked=bool(facts.locks)))
    yield from _stuck(facts, health, settings)
    if health.is_late(settings.health_max_lateness_minutes) and health.oldest_due is not None:
        late = duration(health.oldest_due_seconds or 0)
        yield _found(
            "late", f"{health.oldest_due.name} {health.oldest_due.campaign_id} has waited for a run for {late}."
        )
    for run in health.runs:
        age = (health.checked_at - run.opened_at).total_seconds()
        if run.closed_at is None and age > UNREPORTED_SECONDS:
            yield _found("unreported", f"The run {run.run_id}, opened at {moment(run.opened_at)}, was never reported.")


def _well(health: Health, *, is_locked: bool) -> str:
    if health.due.count:
        said = [f"{counted(health.due.count, 'campaign')} due, for the next call; none failed, is held or late."]
        if is_locked:
            said.append("A lock may keep the next call from launching: see locks.")
    else:
        said = ["None is due; none failed, is held or late."]
        if health.upcoming:
            upcoming = health.upcoming[0]
            said.append(f"Next: {upcoming.name} {upcoming.campaign_id}, {coming(health, upcoming)}.")
        # A campaign of another status, as paused, is not looked at: no index leads to it.
        said.append("All campaigns with their status: python -m runner campaigns")
    return " ".join(said)


def _stuck(facts: Facts, health: Health, settings: Settings) -> Iterator[Finding]:
    lists = {
        "taken_over": health.taken_over,
        "needs_attention": health.needs_attention,
        "held": health.held,
        "failing": health.backing_off,
    }
    for kind, launches in lists.items():
        for launch in launches.campaigns:
            refusing = _refusing(facts.guards or (), launch) if kind in ("failing", "needs_attention") else ()
            yield _found(
                _trouble(kind, launch, refusing, facts),
                _told(health, kind, launch, refusing),
                statement=_statements(refusing),
                campaign_id=launch.campaign_id,
                organization_id=launch.organization_id,
                system_user_id=settings.system_user_id,
                role=settings.system_user_roles[-1],
            )
        if launches.count > len(launches.campaigns):
            more = launches.count - len(launches.campaigns)
            yield Finding("campaigns", "problem", f"{more:,} more of this kind.", "See: python -m runner status")


def _trouble(kind: str, launch: OpenLaunch, refusing: Sequence[Guard], facts: Facts) -> str:
    if launch.failed_with == "CR403" and kind == "needs_attention":
        return "no_member"
    if launch.failed_with in ("CR004", _LOCKED) and kind == "failing":
        return "locked"
    if kind in ("failing", "needs_attention"):
        # The statement that stands under tables keeps the constraint.
        if _stands_under_tables(refusing, facts):
            return "see_tables"
        if refusing:
            return "refused_by_trigger" if refusing[0].function_name else "refused_by_constraint"
    return kind


def _stands_under_tables(refusing: Sequence[Guard], facts: Facts) -> bool:
    told = [f"{each.lack} {each.remedy}" for each in facts.requirements or () if each.severity == "error"]
    return any(each.name in text for each in refusing for text in told) if refusing else bool(told)


def _refusing(guards: Sequence[Guard], launch: OpenLaunch) -> Sequence[Guard]:
    """The guards that the words of the refusal name; or, where these name none, all triggers that may have spoken."""
    if launch.failed_with is None or launch.last_error is None:
        return ()
    words = f"{launch.last_error}\n{launch.detail or ''}"
    named = [each for each in guards if re.search(_mention(each), words)]
    if named:
        return named
    told = re.search(r"trigger on (\w+)", launch.last_error)
    if told:
        return _triggers(guards, f"public.{told[1]}")
    if launch.failed_with[:2] in _OF_TRIGGERS or launch.failed_with in _SLOW:
        return [each for each in guards if each.function_name]
    return ()


def _mention(guard: Guard) -> str:
    return rf"\b{re.escape(guard.function_name)}\(" if guard.function_name else rf"constraint {re.escape(guard.name)}\b"


def _triggers(guards: Sequence[Guard], table: str) -> list[Guard]:
    return [each for each in guards if each.function_name and each.table_name == table]


def _guard(guard: Guard) -> str:
    if guard.function_name:
        return f"The trigger {guard.name} on {guard.table_name} runs {guard.function_name}()."
    return f"The constraint {guard.name} on {guard.table_name} reads: {guard.definition}."


def _statements(guards: Iterable[Guard]) -> str:
    return " ".join(each.statement for each in guards)


def _told(health: Health, kind: str, launch: OpenLaunch, refusing: Sequence[Guard]) -> str:
    who = f"{launch.name} {launch.campaign_id} {whose(launch)}"
    if kind == "taken_over":
        written = f"{launch.recipients_inserted:,} recipients were written"
        return f"{who}: a person set the campaign to sending before its audience was complete; {written}."
    since = stuck_because(health, launch, waits_for_a_person=kind in ("needs_attention", "held"))
    return " ".join([f"{who}: {since}.", *refusal(launch, map(_guard, refusing))])


def clock_finding(difference: float) -> Finding:
    if abs(difference) <= CLOCK_SECONDS:
        return Finding("clocks", "ok", "This machine and the database agree about the time.")
    direction = "behind" if difference > 0 else "ahead of"
    return _found("clock", f"This machine's clock is {abs(difference):.0f} s {direction} the database's.")


def _named(named: Iterable[Named], number: int) -> str:
    return _listed([f"{each.name or '(without a name)'} {each.id}" for each in named], number)


def _listed(shown: Sequence[str], number: int) -> str:
    return ", ".join(shown) + (f" and {number - len(shown):,} more" if number > len(shown) else "")

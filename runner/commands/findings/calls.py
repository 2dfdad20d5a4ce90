"""The last call of the runner, and the clocks."""

from __future__ import annotations

from collections.abc import Iterator

from runner.commands.findings import names
from runner.commands.findings.facts import Facts
from runner.commands.findings.finding import Finding, found
from runner.commands.terminal import duration
from runner.settings import Settings

CLOCK_SECONDS = 5.0  # more difference than this is worth a word
CALL_SECONDS = 600.0  # longer without a call than this, too


def call_findings(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """The time of the last call, its organization, and its settings."""
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
            f"The last call was for {names.named(call.passed_over_for)} alone (organization_id). Campaigns of other "
            "organizations are due, and no such call launches them.",
        )
    if call.system_user_id is not None:
        theirs = (call.system_user_id, call.system_user_roles, call.max_lateness_minutes)
        ours = (settings.system_user_id, settings.system_user_roles, settings.max_lateness_minutes)
        compared = ("SYSTEM_USER_ID", "SYSTEM_USER_ROLES", "MAX_LATENESS_MINUTES")
        differing = [
            f"The last call had the {name} {_setting(a)}, and this shell has {_setting(b)}."
            for name, a, b in zip(compared, theirs, ours, strict=True)
            if a != b
        ]
        if differing:
            yield found("other_settings", " ".join(differing))


def clock_finding(difference: float) -> Finding:
    """`difference`: by how many seconds the clock of the database is ahead of ours."""
    if abs(difference) <= CLOCK_SECONDS:
        return Finding("clocks", "ok", "This machine and the database agree about the time.")
    direction = "behind" if difference > 0 else "ahead of"
    return found("clock", f"This machine's clock is {abs(difference):.0f} s {direction} the database's.")


def _setting(value: object) -> str:
    if value is None:
        return "(not set)"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

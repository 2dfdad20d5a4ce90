"""`doctor`: what keeps campaigns from being launched, from the outside in, each finding with its remedy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import click

from runner import database, log
from runner.commands.console import explained
from runner.commands.findings.calls import clock_finding
from runner.commands.findings.campaigns import campaign_findings
from runner.commands.findings.database import database_findings, unreachable
from runner.commands.findings.environment import settings_findings
from runner.commands.findings.facts import DoctorResult
from runner.commands.findings.finding import Finding
from runner.commands.terminal import counted, printable, wrapped
from runner.database import system_user
from runner.errors import InvalidSettings, RunnerError
from runner.run.clock import Clock
from runner.run.deadline import READ_SECONDS
from runner.run.retry import persistently
from runner.settings import Settings

PATIENCE_SECONDS = 2.0  # an operator waits

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(
    "doctor",
    epilog="""\b
Examples:
  python -m runner doctor
  python -m runner doctor --json | jq '.findings[] | select(.severity != "ok")'

\b
Exit codes:
  0  no problem (there may be warnings)
  1  at least one problem
  2  wrong usage
  3  the database could not be asked; what could be checked is shown""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Find what keeps campaigns from being launched.

    Each finding says what is wrong, since when, why, and what to do: a statement or command to paste. The doctor looks
    at the settings, the way to the database, the key, migrations, tables, privileges, locks, indexes, the system user,
    schedules, contacts, the last calls, each campaign that is not being launched, and the clocks. Nothing stays
    written, and no secret is shown.
    """
    with explained(context):
        examination = examine()
        click.echo(to_json(examination) if as_json else to_text(examination))
    context.exit(examination.exit_code)


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
    """Look at the environment, the database and the campaigns. What is wrong is a finding, and raises nothing."""
    findings = list(settings_findings())
    try:
        settings = Settings.load()
        log.configure(settings.log_level)
    except InvalidSettings:
        return Examination(tuple(findings), complete=False)
    try:
        answer, difference = _ask(settings)
    except RunnerError as error:
        return Examination((*findings, unreachable(error)), complete=False)
    findings.append(Finding("database", "ok", f"{settings.supabase_url} answers, and accepts the key."))
    findings += database_findings(answer, settings)
    # A warning about the calls says that the last call passed campaigns over, or had other settings.
    problems = dict.fromkeys(
        finding.check
        for finding in findings
        if finding.severity == "problem" or (finding.severity, finding.check) == ("warning", "calls")
    )
    findings += campaign_findings(answer.facts, settings, problems)
    findings.append(clock_finding(difference))
    return Examination(tuple(findings), complete=True)


def to_json(examination: Examination) -> str:
    """The findings for a program."""
    found = [asdict(finding) for finding in examination.findings]
    return json.dumps({"complete": examination.complete, "findings": found}, indent=2)


def to_text(examination: Examination) -> str:
    """The findings for a person: what is well, then each warning, then each problem, with their remedies."""
    lines = []
    # The worst last, where a terminal ends.
    for finding in sorted(examination.findings, key=lambda each: list(_COLORS).index(each.severity)):
        severity = click.style(finding.severity.ljust(7), fg=_COLORS[finding.severity])
        first, *rest = wrapped(f"{finding.check}: {finding.message}", 9)
        lines += [f"{severity}  {first.lstrip()}", *rest]
        if finding.remedy:
            # Unwrapped: a statement that a terminal has broken is hard to paste.
            lines.append(f"         → {printable(finding.remedy)}".replace(" Then: ", "\n           Then: "))
    counts = [sum(finding.severity == severity for finding in examination.findings) for severity in _COLORS]
    lines += ["", f"{counted(counts[2], 'problem')}, {counted(counts[1], 'warning')}."]
    if not examination.complete:
        lines += wrapped("The database could not be asked, so not everything was looked at.")
    return "\n".join(lines)


def _ask(settings: Settings) -> tuple[DoctorResult, float]:
    """The answer of the database, and by how many seconds its clock is ahead of ours (behind: below 0), at least."""
    clock = Clock()
    sent = clock.time()

    def ask() -> DoctorResult:
        nonlocal sent
        sent = clock.time()
        return database.shared(settings).call(
            "campaign_runner_doctor", system_user(settings), DoctorResult, timeout=READ_SECONDS
        )

    answer = persistently(ask, clock, until=clock.now() + PATIENCE_SECONDS)
    # It was read at some moment between these two, so anything between is no difference.
    return answer, max(answer.clock - clock.time(), 0.0) or min(answer.clock - sent, 0.0)

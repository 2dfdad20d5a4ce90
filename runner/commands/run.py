"""`run`: launch the campaigns that are due."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

import click

from runner.commands import progress
from runner.commands.console import INTERRUPTED, explained, load_settings
from runner.commands.terminal import counted, is_watched, listing, short, wrapped
from runner.errors import RunnerError
from runner.health import read_health
from runner.run.automation import automate
from runner.run.parameters import Parameters
from runner.run.results import RunReport
from runner.run.shutdown import shutdown_on_signals
from runner.settings import Settings

CAMPAIGN_ERRORS = 1

GOES_ON = "interrupted; what was launched is in the database, and the next run goes on."
HEAD = ("CAMPAIGN", "RECIPIENTS", "ID")


@click.command(
    "run",
    epilog="""\b
Examples:
  python -m runner run
  python -m runner run --dry-run
  python -m runner run --organization-id 0b7c0f0e-5b0e-4c3e-9d57-1f6f3b1a2c3d --json

\b
Exit codes:
  0  all went well
  1  some campaigns could not be launched
  2  wrong usage
  3  the run was not possible
  130  it was interrupted; the next run goes on""",
)
@click.option("--organization-id", type=click.UUID, help="Only the campaigns of this organization.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and whether it is complete.")
@click.pass_context
def command(context: click.Context, organization_id: UUID | None, dry_run: bool, as_json: bool) -> None:
    """Launch the campaigns that are due, and print them.

    On a terminal, what is being generated is shown meanwhile, with how long the present pass still takes.
    """
    with explained(context, interrupted=GOES_ON), shutdown_on_signals() as shutdown:
        settings = load_settings()
        with _progress(settings, organization_id, wanted=not dry_run and not as_json):
            report = automate(settings, Parameters(organization_id, dry_run), shutdown=shutdown)
    if as_json:
        click.echo(json.dumps(report.result.model_dump(mode="json") | {"complete": report.complete}, indent=2))
    else:
        # For a person: a call from cron, with nothing due, stays one round trip.
        others = _others(settings, organization_id) if dry_run or is_watched() else ""
        click.echo(_report(report, dry_run=dry_run) + others)
    if shutdown.requested and not report.complete:
        context.exit(INTERRUPTED)
    context.exit(CAMPAIGN_ERRORS if report.result.errors else 0)


def _progress(settings: Settings, organization_id: UUID | None, *, wanted: bool) -> AbstractContextManager[None]:
    """Shows what is being generated while the block runs, where somebody watches."""
    if not wanted or not is_watched():
        return nullcontext()
    return progress.shown(settings, organization_id)


def _report(report: RunReport, *, dry_run: bool) -> str:
    result = report.result
    names = {campaign.campaign_id: campaign.name for campaign in result.campaigns}
    lines = []
    if result.campaigns:
        rows = [(c.name, f"{c.recipient_count:,}", str(c.campaign_id)) for c in result.campaigns]
        lines += [listing(HEAD, rows), ""]
    for failure in result.errors:
        name = report.names.get(failure.campaign_id)
        head = "Not launched:" if name is None else f"Not launched: {short(name, 60)}"
        lines += [head, f"  {failure.campaign_id}", *wrapped(failure.error, 2), ""]
    for warning in report.warnings:
        for sentence in warning.sentences():
            lines += [
                f"Warning: {short(names.get(warning.campaign_id, str(warning.campaign_id)), 60)}",
                *wrapped(sentence, 2),
                "",
            ]
    if dry_run and result.campaigns:
        lines += wrapped("A dry run tries no trigger, constraint or lock. What may refuse: `python -m runner doctor`.")
    verb = "would be launched" if dry_run else "launched"
    lines.append(f"{result.processed_count:,} {verb}, {len(result.errors):,} failed.")
    if not report.complete:
        lines.append("Work is left: run again to go on.")
    return "\n".join(lines)


def _others(settings: Settings, organization_id: UUID | None) -> str:
    """A line about the due campaigns that no run launches now. Empty: there are none, or the database does not say."""
    try:
        now = read_health(settings, organization_id)
    except RunnerError:
        return ""
    stuck = sum(each.count for each in (now.held, now.needs_attention, now.backing_off, now.taken_over))
    verb = "waits or fails" if stuck == 1 else "wait or fail"
    return f"\n{counted(stuck, 'campaign')} {verb}: `python -m runner status` shows why." if stuck else ""

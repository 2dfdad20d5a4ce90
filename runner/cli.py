"""The command line: `python -m runner`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import click

from runner import __version__, log
from runner.automation import automate, free_campaigns
from runner.environment import misspelt
from runner.errors import CampaignNotFound, InvalidRequest, RunnerError, Unexpected
from runner.models import RetryAnswer, RunReport
from runner.parameters import Parameters, parse_organization_id
from runner.settings import Settings
from runner.stop import stop_on_signals
from runner.terminal import counted, is_watched, listing, short, wrapped

CAMPAIGN_ERRORS = 1
NOT_WELL = 1
NO_CAMPAIGN = 1
NOTHING_WAITS = 1
COPY_DIFFERS = 1
COULD_NOT_RUN = 3  # 2 is click's, for a wrong usage
INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended

GOES_ON = "interrupted; what was launched is in the database, and the next run goes on."

LAUNCHED = ("CAMPAIGN", "RECIPIENTS", "ID")
FREED = ("CAMPAIGN", "FAILED", "ID")

_logger = logging.getLogger(__name__)


class _Id(click.ParamType[UUID]):
    name = "uuid"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        try:
            return parse_organization_id(value)
        except InvalidRequest:
            self.fail(f"{value!r} is not a UUID.", param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="campaign-runner")
def cli() -> None:
    """Launch the marketing campaigns that are due.

    Settings come from the environment, as in .env.example. Logs go to stderr.
    """
    log.configure()  # in our form from the beginning: Python's own would print the messages of foreign errors


@cli.command(
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
  130  it was interrupted; the next run goes on"""
)
@click.option("--organization-id", type=_Id(), help="Only the campaigns of this organization.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and whether it is complete.")
@click.pass_context
def run(context: click.Context, organization_id: UUID | None, dry_run: bool, as_json: bool) -> None:
    """Launch the campaigns that are due, and print them.

    On a terminal, what is being generated is shown meanwhile, with how long the present pass still takes.
    """
    with _explained(context, interrupted=GOES_ON), stop_on_signals() as stop:
        settings = _settings()
        with _progress(settings, organization_id, wanted=not dry_run and not as_json):
            report = automate(settings, Parameters(organization_id, dry_run), stop=stop)
    if as_json:
        click.echo(json.dumps(report.result.model_dump(mode="json") | {"complete": report.complete}, indent=2))
    else:
        # For a person: a call from cron, with nothing due, stays one round trip.
        others = _others(settings, organization_id) if is_watched() else ""
        click.echo(_report(report, dry_run=dry_run) + others)
    if stop.requested and not report.complete:
        context.exit(INTERRUPTED)
    context.exit(CAMPAIGN_ERRORS if report.result.errors else 0)


@cli.command(
    epilog="""\b
Examples:
  python -m runner retry 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11
  python -m runner retry --all
  python -m runner retry --all --json

\b
Exit codes:
  0  done
  1  the campaign waits for nothing: it has not failed, or there is no such campaign
  2  wrong usage
  3  the database could not be asked"""
)
@click.argument("campaign_id", type=_Id(), required=False)
@click.option("--all", "every", is_flag=True, help="Every campaign that waits.")
@click.option("--json", "as_json", is_flag=True, help="Print the campaigns as JSON.")
@click.pass_context
def retry(context: click.Context, campaign_id: UUID | None, every: bool, as_json: bool) -> None:
    """Have the next run try a campaign again that failed.

    A campaign that failed waits for its next attempt, longer each time, and after ten attempts for a person. So does
    one that was held because it was too late; it is held again, unless it is scheduled anew.
    """
    if (campaign_id is None) != every:
        raise click.UsageError("Name a campaign, or give --all.")
    with _explained(context):
        settings = _settings()
        freed = free_campaigns(settings, campaign_id)
        reason = "" if freed or campaign_id is None or as_json else _why_it_does_not_wait(settings, campaign_id)
    if as_json:
        click.echo(RetryAnswer(freed=freed).model_dump_json(indent=2))
    else:
        if freed:
            click.echo(listing(FREED, [(c.name, str(c.attempts), str(c.campaign_id)) for c in freed]) + "\n")
        click.echo("\n".join(wrapped(reason or f"{counted(len(freed), 'campaign')} will be tried by the next run.")))
    context.exit(0 if freed or every else NOTHING_WAITS)


@cli.command(
    epilog="""\b
Examples:
  python -m runner status
  python -m runner status --organization-id 0b7c0f0e-5b0e-4c3e-9d57-1f6f3b1a2c3d
  python -m runner status --json

\b
Exit codes:
  0  every due campaign is being launched
  1  one is not: it failed, needs a person, or has waited for a run for longer than HEALTH_MAX_LATENESS_MINUTES
  2  wrong usage
  3  the database could not be asked"""
)
@click.option(
    "--organization-id", type=_Id(), help="Only the campaigns of this organization. The runs are those of all."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON: GET /health, with details.")
@click.pass_context
def status(context: click.Context, organization_id: UUID | None, as_json: bool) -> None:
    """Show what is under way, what failed, what waits, what comes next, and the last runs.

    With the words of the trigger, constraint or server that refused, which may hold row data. GET /health shows the
    same without these words.
    """
    from runner import health, status

    with _explained(context):
        settings = _settings()
        now = health.read_health(settings, organization_id, with_details=True)
    minutes = settings.health_max_lateness_minutes
    click.echo(now.model_dump_json(indent=2) if as_json else status.as_text(now, minutes))
    context.exit(0 if now.is_well(minutes) else NOT_WELL)


@cli.command(
    epilog="""\b
Examples:
  python -m runner campaigns
  python -m runner campaigns --status scheduled --limit 100
  python -m runner campaigns --json | jq -r '.campaigns[].campaign_id'

\b
Exit codes:
  0  done
  2  wrong usage
  3  the database could not be asked"""
)
@click.option("--organization-id", type=_Id(), help="Only the campaigns of this organization.")
@click.option("--status", "campaign_status", help="Only the campaigns with this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show no more campaigns.")
@click.option("--json", "as_json", is_flag=True, help="Print the campaigns as JSON.")
@click.pass_context
def campaigns(
    context: click.Context, organization_id: UUID | None, campaign_status: str | None, limit: int, as_json: bool
) -> None:
    """List the campaigns with their ids, those with the latest schedule first."""
    with _explained(context):
        from runner import campaigns

        found = campaigns.campaigns(_settings(), organization_id, campaign_status, limit=limit)
        click.echo(found.model_dump_json(indent=2) if as_json else campaigns.as_text(found))


@cli.command(
    epilog="""\b
Examples:
  python -m runner preview 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11
  python -m runner preview 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11 --json | jq .recipient_count

\b
Exit codes:
  0  done
  1  there is no such campaign
  2  wrong usage
  3  the database could not be asked"""
)
@click.argument("campaign_id", type=_Id())
@click.option("--json", "as_json", is_flag=True, help="Print the preview as JSON.")
@click.pass_context
def preview(context: click.Context, campaign_id: UUID, as_json: bool) -> None:
    """Show who would get a campaign, and why the others not.

    As if it were launched now; it may have any status: look at a draft before you schedule it. Nothing is written. The
    audience is found by the function of the database that a launch asks, so a launch at this moment has just these
    recipients.
    """
    with _explained(context, interrupted="interrupted; nothing was written."):
        from runner import preview

        found = preview.preview(_settings(), campaign_id)
        click.echo(preview.as_json(found) if as_json else preview.as_text(found))


@cli.command(
    epilog="""\b
Examples:
  python -m runner history 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11
  python -m runner history 5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11 --limit 1 --json

\b
Exit codes:
  0  done
  1  there is no such campaign, and there was no launch of one
  2  wrong usage
  3  the database could not be asked"""
)
@click.argument("campaign_id", type=_Id())
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Show no more launches.")
@click.option("--json", "as_json", is_flag=True, help="Print the launches as JSON.")
@click.pass_context
def history(context: click.Context, campaign_id: UUID, limit: int, as_json: bool) -> None:
    """Show each launch of a campaign, the newest first.

    Who, when, how late, whom it left out, what went wrong. A campaign that was deleted since is shown too.
    """
    with _explained(context):
        from runner import history

        found = history.history(_settings(), campaign_id, limit=limit)
        click.echo(found.model_dump_json(indent=2) if as_json else history.as_text(found))


@cli.command(
    epilog="""\b
Examples:
  python -m runner doctor
  python -m runner doctor --json | jq '.findings[] | select(.severity != "ok")'

\b
Exit codes:
  0  no problem (there may be warnings)
  1  at least one problem
  2  wrong usage
  3  the database could not be asked; what could be checked is shown"""
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Find what keeps campaigns from being launched.

    Each finding says what is wrong, since when, why, and what to do: a statement or command to paste. The doctor looks
    at the settings, the way to the database, the key, migrations, tables, privileges, locks, indexes, the system user,
    schedules, contacts, the last calls, each campaign that is not being launched, and the clocks. Nothing stays
    written, and no secret is shown.
    """
    with _explained(context):
        from runner import doctor

        examination = doctor.examine()
        click.echo(doctor.as_json(examination) if as_json else doctor.as_text(examination))
    context.exit(examination.exit_code)


@cli.command(
    epilog="""\b
Examples:
  python -m runner migrations ../my-project --dry-run
  python -m runner migrations ../my-project

\b
Exit codes:
  0  the project has all of the runner's migrations
  1  a copy differs from this release; nothing was copied
  2  wrong usage, or the project is not suitable
  3  files could not be read or written"""
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be copied, and write nothing.")
@click.pass_context
def migrations(context: click.Context, directory: Path, dry_run: bool) -> None:
    """Copy the runner's migrations into a project that has migrations of its own.

    DIRECTORY is the folder that holds the project's folder supabase. The copies get versions of now, after those of the
    project. What was copied before is left alone, so an upgrade copies what is new. No settings and no database are
    needed.
    """
    from runner import migrations

    try:
        plan = migrations.plan(directory, datetime.now(UTC))
        if not plan.differing and not dry_run:
            migrations.carry_out(plan.copies)
    except migrations.UnsuitableProject as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
        context.exit(COULD_NOT_RUN)
    if plan.differing:
        click.echo("Error: " + migrations.difference(plan), err=True)
        context.exit(COPY_DIFFERS)
    click.echo(migrations.as_text(plan, dry_run=dry_run))


def _settings() -> Settings:
    settings = Settings.load()
    # A person at a terminal reads the result, and the log would stand between its lines.
    is_quiet = sys.stderr.isatty() and "log_level" not in settings.model_fields_set
    log.configure("ERROR" if is_quiet else settings.log_level)
    for name, meant in misspelt(os.environ).items():
        click.echo(f"Warning: {name} is no setting. Is {meant} meant?", err=True)
    return settings


@contextmanager
def _explained(context: click.Context, *, interrupted: str = "interrupted.") -> Iterator[None]:
    """End the program with a sentence and an exit code where the block fails."""
    try:
        yield
    except CampaignNotFound as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(NO_CAMPAIGN)
    except RunnerError as error:
        click.echo(f"Error: {error}", err=True)
    except KeyboardInterrupt:  # in a run the second one; the first lets the steps that are under way end
        click.echo(f"Error: {interrupted}", err=True)
        context.exit(INTERRUPTED)
    except Exception:
        _logger.exception("Failed unexpectedly.")  # without the message, which may hold row data
        click.echo(f"Error: {Unexpected.summary()}", err=True)
    else:
        return
    context.exit(COULD_NOT_RUN)


def _progress(settings: Settings, organization_id: UUID | None, *, wanted: bool) -> AbstractContextManager[None]:
    """Shows what is being generated while the block runs, where somebody watches."""
    if not wanted or not is_watched():
        return nullcontext()
    from runner import progress  # not above: the function has no terminal

    return progress.shown(settings, organization_id)


def _report(report: RunReport, *, dry_run: bool) -> str:
    result = report.result
    names = {campaign.campaign_id: campaign.name for campaign in result.campaigns}
    lines = []
    if result.campaigns:
        rows = [(c.name, f"{c.recipient_count:,}", str(c.campaign_id)) for c in result.campaigns]
        lines += [listing(LAUNCHED, rows), ""]
    for failure in result.errors:
        lines += ["Not launched:", f"  {failure.campaign_id}", *wrapped(failure.error, 2), ""]
    for warning in report.warnings:
        for sentence in warning.sentences():
            lines += [
                f"Warning: {short(names.get(warning.campaign_id, str(warning.campaign_id)), 60)}",
                *wrapped(sentence, 2),
                "",
            ]
    verb = "would be launched" if dry_run else "launched"
    lines.append(f"{result.processed_count:,} {verb}, {len(result.errors):,} failed.")
    if not report.complete:
        lines.append("Work is left: run again to go on.")
    return "\n".join(lines)


def _others(settings: Settings, organization_id: UUID | None) -> str:
    """A line about the due campaigns that no run launches now. Empty: there are none, or the database does not say."""
    from runner import health

    try:
        now = health.read_health(settings, organization_id)
    except RunnerError:
        return ""
    stuck = sum(each.count for each in (now.held, now.needs_attention, now.backing_off, now.taken_over))
    verb = "waits or fails" if stuck == 1 else "wait or fail"
    return f"\n{counted(stuck, 'campaign')} {verb}: `python -m runner status` shows why." if stuck else ""


def _why_it_does_not_wait(settings: Settings, campaign_id: UUID) -> str:
    """Why there was nothing to retry. Raises CampaignNotFound where there is no such campaign."""
    from runner import history

    found = history.history(settings, campaign_id, limit=1)
    name = found.campaign.name if found.campaign is not None else found.launches[0].name
    if not found.launches:
        status = found.campaign.status if found.campaign is not None else "deleted"
        return f"{name} waits for nothing: it has the status {status}, and no launch of it has failed."
    return f"{name} waits for nothing. Its last launch: {history.outcome(found.launches[0], found.campaign)}."

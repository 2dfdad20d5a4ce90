"""The command line: `python -m runner`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID

import click

from runner import __version__, log
from runner.automation import automate, free_campaigns
from runner.errors import CampaignNotFound, InvalidRequest, RunnerError, Unexpected
from runner.models import RetryAnswer, RunReport
from runner.parameters import Parameters, parse_organization_id
from runner.settings import Settings
from runner.stop import stop_on_signals
from runner.terminal import is_watched, printable, table

CAMPAIGN_ERRORS = 1
NEEDS_SOMEBODY = 1
NO_CAMPAIGN = 1
NOTHING_WAITS = 1
COULD_NOT_RUN = 3  # 2 is click's, for a wrong usage

INTERRUPTED = "interrupted; what was launched is in the database, and the next run goes on."

LAUNCHED = ("CAMPAIGN", "ID", "STATUS", "RECIPIENTS", "ORGANIZATION")
FREED = ("CAMPAIGN", "ID", "ATTEMPTS", "LAST ERROR")

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
  3  the run was not possible"""
)
@click.option("--organization-id", type=_Id(), help="Only the campaigns of this organization.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, as the HTTP function answers it.")
@click.pass_context
def run(context: click.Context, organization_id: UUID | None, dry_run: bool, as_json: bool) -> None:
    """Launch the campaigns that are due, and print them.

    On a terminal, what is being generated is shown meanwhile, with how long the present pass still takes.
    """
    with _explained(context, interrupted=INTERRUPTED), stop_on_signals() as stop:
        settings = _settings()
        with _progress(settings, organization_id, wanted=not dry_run and not as_json):
            report = automate(settings, Parameters(organization_id, dry_run), stop=stop)
    click.echo(report.result.model_dump_json(indent=2) if as_json else _report(report, dry_run=dry_run))
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
        freed = free_campaigns(_settings(), campaign_id)
    if as_json:
        click.echo(RetryAnswer(freed=freed).model_dump_json(indent=2))
        context.exit(0 if freed or every else NOTHING_WAITS)
    if freed:
        click.echo(table(FREED, [(c.name, str(c.campaign_id), str(c.attempts), c.error) for c in freed]) + "\n")
    click.echo(f"{len(freed)} freed for the next run.")
    context.exit(0 if freed or every else NOTHING_WAITS)


@cli.command(
    epilog="""\b
Examples:
  python -m runner status
  python -m runner status --organization-id 0b7c0f0e-5b0e-4c3e-9d57-1f6f3b1a2c3d
  python -m runner status --json

\b
Exit codes:
  0  all is well
  1  something needs a person, or has waited for a run for longer than HEALTH_MAX_LATENESS_MINUTES
  2  wrong usage
  3  the database could not be asked"""
)
@click.option(
    "--organization-id", type=_Id(), help="Only the campaigns of this organization. The runs are those of all."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, as GET /health answers it.")
@click.pass_context
def status(context: click.Context, organization_id: UUID | None, as_json: bool) -> None:
    """Show what is due, under way or stuck, and the last runs.

    A person is needed for a campaign that failed too often, was held because it is too late, or is scheduled without a
    time. One that backs off is tried again by itself.
    """
    from runner import health, status

    with _explained(context):
        settings = _settings()
        now = health.read_health(settings, organization_id)
    if as_json:
        click.echo(now.model_dump_json(indent=2))
    else:
        parts = ["\n".join(map(printable, status.summary(now, settings.health_max_lateness_minutes)))]
        parts += [table(head, rows) for head, rows in status.tables(now)]
        click.echo("\n\n".join(parts))
    context.exit(NEEDS_SOMEBODY if now.needs_somebody or now.is_late(settings.health_max_lateness_minutes) else 0)


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

    It says how to mend what it finds. It looks at settings, the way to the database, migrations, privileges,
    indexes, the system user and its memberships, schedules, contacts with one address, clocks, and when the runner was
    last called. Nothing is written, no secret is shown.
    """
    with _explained(context):
        from runner import doctor

        examination = doctor.examine()
        click.echo(doctor.as_json(examination) if as_json else doctor.as_text(examination))
    context.exit(examination.exit_code)


def _settings() -> Settings:
    settings = Settings.load()
    log.configure(settings.log_level)
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
    lines = []
    if result.campaigns:
        rows = [
            (c.name, str(c.campaign_id), c.new_status, f"{c.recipient_count:,}", str(c.organization_id))
            for c in result.campaigns
        ]
        lines += [table(LAUNCHED, rows), ""]
    lines += [f"{failure.campaign_id}: {printable(failure.error)}" for failure in result.errors]
    verb = "would be launched" if dry_run else "launched"
    lines.append(f"{result.processed_count} {verb}, {len(result.errors)} failed.")
    if not report.complete:
        lines.append("Work is left: run again to go on.")
    return "\n".join(lines)

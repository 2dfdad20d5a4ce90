"""The command line: `python -m runner`."""

from __future__ import annotations

import logging
from uuid import UUID

import click

from runner import __version__, log
from runner.automation import automate
from runner.errors import InvalidRequest, RunnerError, Unexpected
from runner.models import RunReport
from runner.parameters import Parameters, parse_organization_id
from runner.settings import Settings
from runner.stop import stop_on_signals

CAMPAIGN_ERRORS = 1
COULD_NOT_RUN = 3  # 2 is click's, for a wrong usage

COLUMNS = ("CAMPAIGN", "STATUS", "RECIPIENTS", "ORGANIZATION")

_logger = logging.getLogger(__name__)


class _OrganizationId(click.ParamType[UUID]):
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
@click.option("--organization-id", type=_OrganizationId(), help="Only the campaigns of this organization.")
@click.option("--dry-run", is_flag=True, help="Show what a run would do, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, as the HTTP function answers it.")
@click.pass_context
def run(context: click.Context, organization_id: UUID | None, dry_run: bool, as_json: bool) -> None:
    """Launch the campaigns that are due, and print them."""
    try:
        settings = Settings.load()
        log.configure(settings.log_level)
        with stop_on_signals() as stop:
            report = automate(settings, Parameters(organization_id, dry_run), stop=stop)
    except RunnerError as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(COULD_NOT_RUN)
    except KeyboardInterrupt:  # the second one; the first lets the steps that are under way end
        click.echo("Error: interrupted; what was launched is in the database, and the next run goes on.", err=True)
        context.exit(COULD_NOT_RUN)
    except Exception:
        _logger.exception("The run failed unexpectedly.")  # without the message, which may hold row data
        click.echo(f"Error: {Unexpected.summary()}", err=True)
        context.exit(COULD_NOT_RUN)
    click.echo(report.result.model_dump_json(indent=2) if as_json else _table(report, dry_run=dry_run))
    context.exit(CAMPAIGN_ERRORS if report.result.errors else 0)


def _table(report: RunReport, *, dry_run: bool) -> str:
    result = report.result
    rows = [
        (_printable(campaign.name), campaign.new_status, str(campaign.recipient_count), str(campaign.organization_id))
        for campaign in result.campaigns
    ]
    lines = []
    if rows:
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (COLUMNS, *rows)
        ]
        lines.append("")
    lines += [f"{failure.campaign_id}: {_printable(failure.error)}" for failure in result.errors]
    verb = "would be launched" if dry_run else "launched"
    lines.append(f"{result.processed_count} {verb}, {len(result.errors)} failed.")
    if not report.complete:
        lines.append("Work is left: run again to go on.")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Text from the database, unable to steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)

"""What every command does alike: read the settings, and end with a sentence and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from runner import log
from runner.environment import misspelt
from runner.errors import CampaignNotFound, RunnerError, Unexpected
from runner.settings import Settings

NO_CAMPAIGN = 1
COULD_NOT_RUN = 3  # 2 is click's, for a wrong usage
INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended

_logger = logging.getLogger(__name__)


def load_settings() -> Settings:
    """Read the settings, and set up the log. Raises InvalidSettings."""
    settings = Settings.load()
    # A person at a terminal reads the result, and the log would stand between its lines.
    is_quiet = sys.stderr.isatty() and "log_level" not in settings.model_fields_set
    log.configure("ERROR" if is_quiet else settings.log_level)
    for name, meant in misspelt(os.environ).items():
        click.echo(f"Warning: {name} is no setting. Is {meant} meant?", err=True)
    return settings


@contextmanager
def explained(context: click.Context, *, interrupted: str = "interrupted.") -> Iterator[None]:
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

"""The command line: `python -m runner`. Each command is a module, which is imported when the command is asked for."""

from __future__ import annotations

from importlib import import_module

import click

from runner import log
from runner.version import __version__

COMMANDS = ("run", "status", "doctor", "campaigns", "preview", "history", "retry", "migrations")


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"runner.commands.{cmd_name}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="campaign-runner")
def cli() -> None:
    """Launch the marketing campaigns that are due.

    Settings come from the environment, as in .env.example. Logs go to stderr.
    """
    log.configure()  # in our form from the beginning: Python's own would print the messages of foreign errors

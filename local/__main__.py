"""`python -m local serve` and `python -m local run`, which make calls."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from local import demo, serve
from local.binaries import available_versions

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants us to stop."""


@click.group()
def main() -> None:
    """The embedded stack."""
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # which nohup asks for
            signal.signal(number, _stop)


def _available(context: click.Context, parameter: click.Parameter, value: str) -> int:
    versions = {str(version): version for version in available_versions()}
    if value not in versions:
        raise click.ClickException(f"POSTGRES must be one of {', '.join(versions)}, not {value}.")
    return versions[value]


_postgres = click.option(
    "--postgres", envvar="POSTGRES", default="18", callback=_available, help="The version of Postgres."
)


@main.command("serve")
@click.option(
    "--reload", is_flag=True, help="Take up changes of the source; work on the project of the environment, if any."
)
@_postgres
@click.option("--seed", envvar="SEED", is_flag=True, help="Load the demo data.")
def serve_command(reload: bool, postgres: int, seed: bool) -> None:
    """Run the stack and the function until Ctrl-C."""
    try:
        serve.serve(reload=reload, version=postgres, seed=seed)
    except Stopped:
        click.echo("\nStopped.")


@main.command("run")
@_postgres
def run_command(postgres: int) -> None:
    """Play the demo, and stop everything."""
    try:
        demo.run(postgres)
    except Stopped:
        click.echo("\nStopped.")
        sys.exit(130)


def _stop(number: int, frame: FrameType | None) -> None:
    # Once: a second signal must not interrupt the stopping, which is bounded.
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    main()

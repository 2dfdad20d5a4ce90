"""`python -m local serve` and `python -m local run`, which make calls."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click

from local import demo, serve

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants us to stop."""


@click.group()
def main() -> None:
    """The embedded stack."""
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # which nohup asks for
            signal.signal(number, _stop)


@main.command("serve")
@click.option(
    "--reload", is_flag=True, help="Take up changes of the source; work on the project of the environment, if any."
)
def serve_command(reload: bool) -> None:
    """Run the stack and the function until Ctrl-C."""
    try:
        serve.serve(reload=reload)
    except Stopped:
        click.echo("\nStopped.")


@main.command("run")
def run_command() -> None:
    """Play the demo, and stop everything."""
    try:
        demo.run()
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

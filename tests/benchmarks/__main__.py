"""`make bench`: every benchmark, and with --write what the documentation says of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from local.binaries import available_versions
from tests.benchmarks import calls, growth, launches, projects
from tests.benchmarks.anatomy import anatomy
from tests.benchmarks.bed import Bed
from tests.benchmarks.floors import floors
from tests.benchmarks.plans import plans
from tests.benchmarks.ratio import Curve, Ratio

BENCHMARKS = {**launches.BENCHMARKS, **projects.BENCHMARKS, **calls.BENCHMARKS}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--rounds", default=5, show_default=True, help="Pairs of measurements of each benchmark.")
@click.option(
    "--postgres",
    default=Bed.postgres,
    show_default=True,
    help=f"The version: {', '.join(map(str, available_versions()))}.",
)
@click.option("--write", is_flag=True, help="Write docs/benchmarks.* and docs/growth.svg; takes all benchmarks.")
def main(names: Sequence[str], rounds: int, postgres: int, write: bool) -> None:
    """Run all benchmarks, or those with these NAMES. Half an hour, on a machine that does nothing else.

    Exit code 1: a goal was not reached.
    """
    known = [*BENCHMARKS, *growth.CURVES]
    for name in names:
        if name not in known:
            raise click.UsageError(f"There is no benchmark {name}; there are {', '.join(known)}.")
    if write and names:
        raise click.UsageError("--write takes all benchmarks, and no names.")
    if postgres not in available_versions():
        raise click.UsageError(f"Postgres {postgres} is not installed here.")
    Bed.postgres = postgres
    explained = dict(plans()) if write else {}  # first, as it would be a pity to fail at the end
    ratios: list[Ratio] = []
    curves: list[Curve] = []
    for name, benchmark in BENCHMARKS.items():
        if not names or name in names:
            started = time.monotonic()
            for ratio in benchmark(rounds):
                ratios.append(ratio)
                click.echo(ratio.line())
            click.echo(f"  {name} took {time.monotonic() - started:.0f} s", err=True)
    for name, measure in growth.CURVES.items():
        if not names or name in names:
            started = time.monotonic()
            for curve in measure():
                curves.append(curve)
                click.echo(f"{curve.name}: {', '.join(f'{x:,.0f} {y:.4g}' for x, y in curve.points)} {curve.aside}")
            click.echo(f"  {name} took {time.monotonic() - started:.0f} s", err=True)
    if write:
        from tests.benchmarks import report  # draws, with a large library

        report.write(ratios, curves, explained, anatomy(rounds) | floors(rounds))
    sys.exit(0 if all(ratio.is_reached for ratio in ratios) else 1)


if __name__ == "__main__":
    main()

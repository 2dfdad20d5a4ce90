"""`python -m runner`."""

from __future__ import annotations

from runner.cli import cli

cli(prog_name="python -m runner")

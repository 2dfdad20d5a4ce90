"""`python -m runner`."""

from __future__ import annotations

from runner.commands import cli

cli(prog_name="python -m runner")

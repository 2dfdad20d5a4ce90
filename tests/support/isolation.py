"""Specs for Postgres' own isolationtester, which runs the steps of sessions in all orders, or in stated ones."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.debian import INSTALLATION
from tests.support.programs import need

PROGRAM = INSTALLATION / "lib/pgxs/src/test/isolation/isolationtester"


@dataclass(frozen=True)
class Order:
    """One order of steps that was run, and what isolationtester printed about it."""

    steps: Sequence[str]
    output: str

    def result(self, step: str) -> str:
        """What a step selected: one row of one column."""
        return self._selected(rf"step {step}: .*\n.*")

    def verdict(self) -> str:
        """What the teardown selected, as `verdict`: one row of one column."""
        return self._selected("verdict *")

    def waited(self, step: str) -> bool:
        """Whether a step waited for a lock of another session."""
        return re.search(rf"^step {step}: .*<waiting \.\.\.>$", self.output, re.MULTILINE) is not None

    def error(self, step: str) -> str | None:
        """The message with which a step failed."""
        match = re.search(rf"^step {step}: .*\nERROR: +(.*)$", self.output, re.MULTILINE)
        return match and match[1]

    def _selected(self, heading: str) -> str:
        [value] = re.findall(rf"^{heading}\n-+\n(.*)\n\(1 row\)$", self.output, re.MULTILINE)
        return str(value).strip()


def run_spec(database_url: str, spec: str) -> list[Order]:
    """Run all orders of a spec. Its steps stand on one line each."""
    program = need(str(PROGRAM), of="postgresql-client-15")
    ended = subprocess.run([program, database_url], input=spec, capture_output=True, text=True, check=False)
    if ended.returncode or ended.stderr:  # a teardown that fails is told there alone
        raise AssertionError(ended.stderr)
    _, *outputs = ended.stdout.split("\nstarting permutation: ")
    return [Order(output.partition("\n")[0].split(), output) for output in outputs]

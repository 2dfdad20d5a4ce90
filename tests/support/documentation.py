"""The pages of the documentation, and the commands in them as a reader would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runner.commands.findings.troubles import TROUBLES

ROOT = Path(__file__).parents[2]


class Page:
    """A page, by its path in the repository."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text()

    def blocks(self, language: str, containing: str = "") -> list[str]:
        """The code blocks of a language that hold a text; at least one."""
        found = re.findall(rf"^ *```{language}\n(.*?)^ *```", self.text, re.DOTALL | re.MULTILINE)
        chosen = [block for block in found if containing in block]
        assert chosen, f"{self.path} has no {language} block with {containing!r}"
        return chosen


def troubles_table() -> str:
    """The table of docs/operations.md, from the list that `doctor` uses."""
    rows = [("what `doctor` calls it", "the cause", "the remedy"), ("---", "---", "---")]
    for trouble in TROUBLES.values():
        remedy = re.sub(r"\{(\w+)\}", lambda blank: blank[1].upper(), trouble.remedy)
        is_code = re.fullmatch(r"[a-z].*;", remedy) is not None
        rows.append((f"{trouble.check} ({trouble.severity})", trouble.cause, f"`{remedy}`" if is_code else remedy))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def shell(block: str, environment: Mapping[str, str], folder: Path) -> str:
    """What a block prints, run in a folder by a shell that stops at the first failure.

    It finds our Python, and nothing of the environment but what is given.
    """
    programs = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return subprocess.run(
        ["/bin/sh", "-eu"],
        input=block,
        cwd=folder,
        env={"PATH": programs, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout

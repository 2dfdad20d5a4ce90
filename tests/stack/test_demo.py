"""`make run`, which judges its outcome by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_make_run_plays_the_main_job_and_shows_before_and_after(tmp_path: Path) -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert recipe.splitlines()[-1].split()[1:] == ["-m", "local", "run"]

    played = subprocess.run(
        [sys.executable, "-m", "local", "run"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    before, after = played.split("After:")
    assert re.search(r"Newsletter to 25,000 +Northwind +scheduled +0\n", before)
    assert "campaigns: Newsletter to 25,000, scheduled → sending, 25,000 recipients" in before
    assert re.search(r"Newsletter to 25,000 +Northwind +sending +25,000\n", after)
    assert "Everything is stopped, and its data thrown away." in after
    [shown] = re.findall(r"^```\n\$ make run\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    for part in filter(None, shown.split("…\n")):
        # Small campaigns are launched in an order that differs from run to run.
        assert sorted(set(part.splitlines()) - set(played.splitlines())) == []
    assert max(len(line) for line in played.splitlines() if not line.startswith("curl")) <= 100

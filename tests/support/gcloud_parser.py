"""Whether the real gcloud, where it is installed, understands commands; none is executed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("parse_with_gcloud.py")


def parse_by_gcloud(commands: Sequence[Sequence[str]], directory: Path) -> Any:
    """Parse all in one process of gcloud's own Python, with its state in `directory`. Returns what was counted."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("gcloud is not installed")
    sdk = Path(gcloud).resolve().parent.parent
    bundled = sdk / "platform" / "bundledpythonunix" / "bin" / "python3"
    result = subprocess.run(
        [str(bundled if bundled.exists() else sys.executable), str(PROGRAM), str(sdk)],
        input=json.dumps(commands),
        env={"PATH": os.environ["PATH"], "CLOUDSDK_CONFIG": str(directory / "config"), "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)

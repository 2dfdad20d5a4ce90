"""Programs that only some tests need."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, *, of: str | None = None) -> str:
    """Where it is. Without it the test is skipped, naming it; where CI is set, nothing is skipped, and the test fails."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        miss(f"{program} is not installed" + (f" (Debian: {of})" if of else ""))
    return found


def miss(reason: str) -> None:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI skips nothing, and {reason}")
    pytest.skip(reason)

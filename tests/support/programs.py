"""Programs that only some tests need."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def need(program: str, *, of: str | None = None) -> str:
    """Where a program is, which the Debian package `of` brings. Without it the test is skipped, or fails in CI."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        miss(f"{program} is not installed" + (f" (Debian: {of})" if of else ""))
    return found


def miss(reason: str) -> NoReturn:
    """Skip the test, saying why; in CI, where nothing may be skipped, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"CI skips nothing, but {reason}")
    pytest.skip(reason)

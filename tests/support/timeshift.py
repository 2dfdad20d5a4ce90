"""The clock of a program that waits for full minutes, set ahead so that one is about to begin."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.programs import miss


def before_a_minute(seconds: float) -> dict[str, str]:
    """The environment of a program for which it is so many seconds before a full minute now."""
    for library in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        ahead = (60 - seconds - time.time()) % 60
        return {"LD_PRELOAD": str(library), "FAKETIME": f"+{ahead:.3f}s", "TZ": os.environ.get("TZ", "UTC")}
    miss("libfaketime is not installed (Debian: libfaketime)")

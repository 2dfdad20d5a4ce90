"""One run: the steps side by side, then the report; or a dry run."""

from __future__ import annotations

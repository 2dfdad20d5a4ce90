"""The HTTP contract."""

from __future__ import annotations

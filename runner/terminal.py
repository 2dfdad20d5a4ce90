"""Text for a terminal: tables, and progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def printable(text: str) -> str:
    """Text from the database, unable to steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines with aligned columns."""
    lines = [head, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def moment(text: str | None) -> str:
    """A time from the database, ISO 8601, as a person reads it."""
    if text is None:
        return "-"
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):  # a time that Python has no date for
        return printable(text)


def is_watched() -> bool:
    """Whether stderr is a terminal on which lines can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """One line on stderr that is written over and over, and gone in the end. Nothing where nobody watches."""

    def __init__(self) -> None:
        self._is_shown = is_watched()

    def show(self, text: str) -> None:
        """Put this text in the place of the one before."""
        if self._is_shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        self.show("")

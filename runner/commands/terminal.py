"""Text for a terminal, down to 40 columns: numbers, times, wrapped lines, tables, and progress."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

NARROWEST, WIDEST = 40, 100
BAR_WIDTH = 10


def printable(text: str) -> str:
    """Text from the database, unable to steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def width() -> int:
    """The columns that a text may fill."""
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def wrapped(text: str, indent: int = 0) -> list[str]:
    """A paragraph as lines that fit the width, each after so many blanks."""
    blanks = " " * indent
    lines = [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(printable(line), width() - indent, break_on_hyphens=False)
    ]
    return [blanks + line for line in lines]


def short(text: str, longest: int) -> str:
    """A name, cut off where it is longer than this."""
    text = printable(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines with aligned columns. The first column is cut off where a line would not fit."""
    lines = [[printable(cell) for cell in row] for row in (head, *rows)]
    others = [max(map(len, column)) for column in zip(*(line[1:] for line in lines), strict=True)]
    room = max(width() - sum(others) - 2 * len(others), 12)
    first = [short(line[0], room) for line in lines]
    widths = [max(map(len, first)), *others]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip((name, *line[1:]), widths, strict=True)).rstrip()
        for name, line in zip(first, lines, strict=True)
    )


def listing(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; on a narrow terminal, with the last column on lines of its own."""
    cells = [head, *rows]
    if sum(max(len(row[n]) for row in cells) for n in range(1, len(head))) + 2 * len(head) + 12 <= width():
        return table(head, rows)
    first, *others = table(head[:-1], [row[:-1] for row in rows]).splitlines()
    return "\n".join([first, *(f"{line}\n  {printable(row[-1])}" for line, row in zip(others, rows, strict=True))])


def pairs(facts: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of a name and its value, aligned; a long value goes on below its beginning."""
    facts = list(facts)
    indent = max((len(name) for name, _ in facts), default=0) + 2
    lines = []
    for name, value in facts:
        first, *rest = wrapped(value, indent) or [""]
        lines += [name.ljust(indent) + first[indent:], *rest]
    return lines


def counted(number: int, noun: str) -> str:
    """A number of things: 1 campaign, 2,000 campaigns."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def duration(seconds: float) -> str:
    """A length of time, rounded down: 0.4 s, 12 s, 5 min, 3 h 20 min, 2 d 4 h."""
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60)):
        if seconds >= size:
            rest = int(seconds % size // part)
            return f"{int(seconds // size):,} {unit}" + (f" {rest} {smaller}" if rest else "")
    if seconds >= 60:
        return f"{int(seconds // 60)} min"
    return f"{max(0.0, seconds):.1f} s" if 0 < seconds < 9.95 else f"{max(0, int(seconds))} s"


def moment(time: datetime | str | None) -> str:
    """A time, of Python or of the database (ISO 8601), as a person reads it."""
    if time is None:
        return "-"
    try:
        when = datetime.fromisoformat(time) if isinstance(time, str) else time
        return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):  # a time that Python has no date for
        return printable(str(time))


def bar(percent: int) -> str:
    """A bar of ten fields."""
    full = percent * BAR_WIDTH // 100
    return f"[{'#' * full}{'.' * (BAR_WIDTH - full)}]"


def share(done: int, total: int | None, *, estimated: bool) -> str:
    """So many of so many, as far as the total is known."""
    return f"{done:,}" if total is None else f"{done:,} of {'about ' if estimated else ''}{total:,}"


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
            sys.stderr.write(f"\r\x1b[K{short(text, width() - 1)}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        self.show("")

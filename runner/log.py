"""Logging: one JSON object a line on stderr, in the form that Google Cloud Logging understands.

Every module logs below the logger `runner`. Fields go into the line by `extra={"fields": {...}}`, or by `bound(...)`
into each line of a run. A foreign exception is logged as its type and its frames, never its message, which may hold row
data.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from runner.errors import RunnerError
from runner.models import RunReport

TRACE_FIELD = "logging.googleapis.com/trace"
TRACE_HEADERS = ("traceparent", "X-Cloud-Trace-Context")

_fields: ContextVar[Mapping[str, Any]] = ContextVar("runner_log_fields", default={})  # noqa: B039 (never changed)

_TRACE_ID = re.compile(r"(?:00-)?([0-9a-f]{32})(?:[/;-].*)?", re.IGNORECASE)


def configure(level: str = "INFO") -> None:
    """Log from `level` upwards. May be called again, to change the level."""
    logger = logging.getLogger("runner")
    logger.setLevel(level)
    logger.propagate = False
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields to every line that this context logs. None is left out."""
    token = _fields.set({**_fields.get(), **{name: value for name, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _fields.reset(token)


def trace_field(headers: Iterable[str], project: str | None) -> dict[str, str]:
    """The field that joins our lines with those of the request, when it is traced and the project is known.

    `headers` holds the values of TRACE_HEADERS, in the order of preference.
    """
    for header in headers:
        match = _TRACE_ID.fullmatch(header)
        if match and project:
            return {TRACE_FIELD: f"projects/{project}/traces/{match[1].lower()}"}
    return {}


def summary(logger: logging.Logger, report: RunReport, milliseconds: int, **counts: int) -> None:
    """Log the one line that every run leaves."""
    launched, failed = len(report.result.campaigns), len(report.result.errors)
    fields = {"launched": launched, "failed": failed, "complete": report.complete, "duration_ms": milliseconds}
    logger.info("Run finished: %d launched, %d failed.", launched, failed, extra={"fields": {**fields, **counts}})


class _StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is now: servers and tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = json.dumps(_entry(record), default=str)
            sys.stderr.write(line + "\n")  # in one piece: other handlers write there too
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def _entry(record: logging.LogRecord) -> dict[str, Any]:
    entry = {
        **_fields.get(),
        **getattr(record, "fields", {}),
        "severity": record.levelname,
        "message": record.getMessage(),
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "logger": record.name,
    }
    if record.exc_info and record.exc_info[1] is not None:
        entry["stack_trace"] = _frames(record.exc_info[1])
    return entry


def _frames(error: BaseException) -> str:
    """A traceback without the messages of foreign errors. Causes come first, as in Python's own."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    head = _frames(before) + "\n\n" if before is not None else ""
    message = f": {error}" if isinstance(error, RunnerError) else ""
    return f"{head}{_stack(error.__traceback__)}{type(error).__module__}.{type(error).__qualname__}{message}"


def _stack(trace: TracebackType | None) -> str:
    return "Traceback (most recent call last):\n" + "".join(traceback.format_list(traceback.extract_tb(trace)))

"""Logging: one JSON object a line on stderr, for Cloud Logging and Error Reporting; on a terminal, a line for people.

Every module logs below the logger `runner`. Fields go into the line by `extra={"fields": {...}}`, or by `bound(...)`
into each line of a run. What is counted or alerted on has a field `event`: docs/operations.md lists them. A foreign
exception is logged as its type and its frames, never its message, which may hold row data.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from runner.errors import RunnerError
from runner.run.results import LaunchWarning, RunReport, RunResult

# Makes Error Reporting take up an entry that holds no stack trace.
REPORTED_ERROR = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"

_BY_CAUSE = "\n\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
_FOR_MACHINES = frozenset(
    {"severity", "message", "time", "logger", "stack_trace", "@type", "serviceContext", "context"}
)

_fields: ContextVar[Mapping[str, Any]] = ContextVar("runner_log_fields", default={})  # noqa: B039 (never changed)


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


def outcomes(logger: logging.Logger, result: RunResult) -> None:
    """Log each campaign that a run launched, and each that it could not launch. No names, which are row data."""
    for campaign in result.campaigns:
        count = campaign.recipient_count
        fields = {
            "event": "campaign_launched",
            "campaign_id": campaign.campaign_id,
            "organization_id": campaign.organization_id,
            "recipients": count,
        }
        if count:
            logger.info("A campaign was launched to %d recipients.", count, extra={"fields": fields})
        else:
            logger.warning("A campaign was launched to an audience of nobody.", extra={"fields": fields})
    for failure in result.errors:
        fields = {"event": "campaign_failed", "campaign_id": failure.campaign_id}
        logger.warning("A campaign could not be launched: %s", failure.error, extra={"fields": fields})


def warnings(logger: logging.Logger, found: Iterable[LaunchWarning]) -> None:
    """Log what should be looked at of the campaigns that a run launched: numbers, since names may be of people."""
    for warning in found:
        fields = {"event": "campaign_launched_with_warning", "campaign_id": warning.campaign_id}
        for sentence in warning.sentences():
            logger.warning("A campaign has a warning. %s", sentence, extra={"fields": fields})


def summary(logger: logging.Logger, report: RunReport, milliseconds: int, **counts: int) -> None:
    """Log the one line that every run leaves: its result, the milliseconds that it took, and what else it counted."""
    launched, failed = len(report.result.campaigns), len(report.result.errors)
    fields = {
        "event": "run_finished",
        "launched": launched,
        "failed": failed,
        "recipients": sum(campaign.recipient_count for campaign in report.result.campaigns),
        "complete": report.complete,
        "duration_ms": milliseconds,
        **counts,
    }
    logger.info("Run finished: %d launched, %d failed.", launched, failed, extra={"fields": fields})


class _StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is now: servers and tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        # A line that cannot be written is no reason to fail a run. And not to call handleError either: it writes to the
        # same stderr, and the arguments of the line with it.
        with suppress(Exception):
            entry = _entry(record)
            line = _for_people(entry, record) if sys.stderr.isatty() else json.dumps(entry, default=str)
            sys.stderr.write(line + "\n")  # in one piece: other handlers write there too
            sys.stderr.flush()


def _entry(record: logging.LogRecord) -> dict[str, Any]:
    entry = {
        **_fields.get(),
        **getattr(record, "fields", {}),
        "severity": record.levelname,
        "message": record.getMessage(),
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "logger": record.name,
    }
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        entry["stack_trace"] = _stack_trace(error)
    elif record.levelno >= logging.ERROR:
        location = {"filePath": record.pathname, "lineNumber": record.lineno, "functionName": record.funcName}
        entry |= {"@type": REPORTED_ERROR, "context": {"reportLocation": location}}
    if record.levelno >= logging.ERROR:
        entry["serviceContext"] = _service()
    return entry


def _service() -> dict[str, str]:
    """Who reports an error: what Cloud Run calls us."""
    version = os.environ.get("K_REVISION")
    return {"service": os.environ.get("K_SERVICE", "campaign-runner"), **({"version": version} if version else {})}


def _for_people(entry: Mapping[str, Any], record: logging.LogRecord) -> str:
    """An entry as one line, and as many more as it has a stack trace; nothing in it can steer the terminal."""
    time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
    fields = [f"{name}={value}" for name, value in entry.items() if name not in _FOR_MACHINES]
    line = _visible("  ".join([f"{time} {record.levelname:8} {entry['message']}", *fields]))
    stack = entry.get("stack_trace", "").splitlines()
    return "\n    ".join([line, *map(_visible, stack)])


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _stack_trace(error: BaseException, seen: frozenset[int] = frozenset()) -> str:
    """As Python prints it, which is how Error Reporting wants it, but without the messages of foreign errors."""
    seen |= {id(error)}
    before, between = error.__cause__, _BY_CAUSE
    if before is None and not error.__suppress_context__:
        before, between = error.__context__, _DURING
    head = "" if before is None or id(before) in seen else _stack_trace(before, seen) + between
    frames = "".join(traceback.format_tb(error.__traceback__))
    message = f": {error}" if isinstance(error, RunnerError) else ""
    kind = type(error)
    return f"{head}Traceback (most recent call last):\n{frames}{kind.__module__}.{kind.__qualname__}{message}"

"""The trace of a request: how its headers become the fields that join our log lines with it in Cloud Logging."""

from __future__ import annotations

import re
from typing import Any

TRACE_FIELD = "logging.googleapis.com/trace"
SPAN_FIELD = "logging.googleapis.com/spanId"
SAMPLED_FIELD = "logging.googleapis.com/trace_sampled"

# version-trace-span-flags, all hexadecimal; later versions may append to it. https://www.w3.org/TR/trace-context/
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
# trace/span;o=flags, with a decimal span.
_CLOUD_TRACE_CONTEXT = re.compile(r"([0-9a-f]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]{1,3}))?", re.IGNORECASE)


def trace_fields(traceparent: str, cloud_trace_context: str, project: str | None) -> dict[str, Any]:
    """The fields for the values that a request has of `traceparent` and `X-Cloud-Trace-Context`; the first counts more.

    Empty when neither names a trace, or when `project`, the id of the Google Cloud project, is not known.
    """
    if project is None:
        return {}
    trace, span, sampled = _w3c(traceparent) or _cloud(cloud_trace_context) or (0, 0, None)
    if not trace:
        return {}
    fields: dict[str, Any] = {TRACE_FIELD: f"projects/{project}/traces/{trace:032x}"}
    if span:
        fields[SPAN_FIELD] = f"{span:016x}"
    if sampled is not None:
        fields[SAMPLED_FIELD] = sampled
    return fields


def _w3c(header: str) -> tuple[int, int, bool | None] | None:
    match = _TRACEPARENT.fullmatch(header)
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    return int(match[1], 16), int(match[2], 16), bool(int(match[3], 16) & 1)


def _cloud(header: str) -> tuple[int, int, bool | None] | None:
    match = _CLOUD_TRACE_CONTEXT.fullmatch(header)
    if match is None:
        return None
    span = int(match[2] or 0)
    return int(match[1], 16), span if span < 2**64 else 0, bool(int(match[3]) & 1) if match[3] else None

"""The responses: what came of a run, the health, and a problem in the sense of RFC 9457."""

from __future__ import annotations

import json
from uuid import UUID

from flask import Response

from runner.errors import RunnerError
from runner.health import Health
from runner.run.results import RunReport
from runner.settings import HttpSettings

HEALTH_RETRY_SECONDS = 60  # the next call may have mended it


def success(report: RunReport, *, is_dry: bool) -> Response:
    """200, with what the run did and whether it was complete."""
    response = _response(200, "application/json", report.result.model_dump_json(), report.run_id)
    response.headers["X-Run-Complete"] = str(report.complete).lower()
    response.headers["X-Dry-Run"] = str(is_dry).lower()
    return response


def health(now: Health, settings: HttpSettings) -> Response:
    """200 where every due campaign is being launched, else 503."""
    is_well = now.is_well(settings.health_max_lateness_minutes)
    response = _response(200 if is_well else 503, "application/json", now.model_dump_json(), None)
    if not is_well:
        response.headers["Retry-After"] = str(HEALTH_RETRY_SECONDS)
    return response


def problem(error: RunnerError, run_id: UUID | None) -> Response:
    """What went wrong, in the fixed sentences of the error. A request that was refused has no run."""
    fields = {"type": "about:blank", "title": error.title, "status": error.status, "detail": error.detail}
    if run_id is not None:
        fields["run_id"] = str(run_id)
    response = _response(error.status, "application/problem+json", json.dumps(fields), run_id)
    response.headers.update(error.headers)
    return response


def _response(status: int, content_type: str, body: str, run_id: UUID | None) -> Response:
    response = Response(body, status, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    if run_id is not None:
        response.headers["X-Run-Id"] = str(run_id)
    return response

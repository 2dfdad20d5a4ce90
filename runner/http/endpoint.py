"""The HTTP contract: from a request to a response."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, suppress
from io import BytesIO
from typing import Any
from uuid import uuid4

from flask import Request, Response

from runner import log
from runner.environment import misspelt
from runner.errors import (
    BodyTooLarge,
    HealthIsReadOnly,
    InvalidRequest,
    MethodNotAllowed,
    PathNotFound,
    RequestError,
    RunnerError,
    Unexpected,
)
from runner.health import Health, read_health
from runner.http import response
from runner.http.auth import authorize
from runner.http.request import parse_request
from runner.http.trace import trace_fields
from runner.run.automation import automate
from runner.run.parameters import Parameters
from runner.run.shutdown import WorkerShutdown
from runner.settings import HttpSettings

PATHS = ("/", "/api/campaigns/run-automation")
HEALTH_PATH = "/health"
BODY_BYTES = 16 * 1024

_logger = logging.getLogger(__name__)


def prepare() -> None:
    """Set up logging, and say at once, not at the first request alone, what is wrong with the settings."""
    log.configure()
    try:
        log.configure(HttpSettings.load().log_level)
    except RunnerError as error:
        _logger.critical("Every request will be answered with 500. %s", error)
    for name, meant in misspelt(os.environ).items():
        _logger.warning("%s is no setting. Is %s meant?", name, meant, extra={"fields": {"event": "setting_misspelt"}})


def answer(request: Request) -> Response:
    """Serve one request. Raises nothing: whatever goes wrong is answered with a problem in the sense of RFC 9457."""
    started = time.monotonic()
    run_id = None  # a request that is refused has no run
    with ExitStack() as context:
        try:
            settings = HttpSettings.load()
            context.enter_context(log.bound(**_trace(request, settings)))
            authorize(request.headers.get("Authorization"), settings.tokens, settings.identity)
            if request.path == HEALTH_PATH:
                return _health(request, settings)
            parameters = _parameters(request)
            run_id = uuid4()
            context.enter_context(log.bound(run_id=run_id, organization_id=parameters.organization_id))
            report = automate(settings, parameters, run_id=run_id, shutdown=WorkerShutdown())
            return response.success(report, is_dry=parameters.dry_run)
        except RunnerError as error:
            _log(error, started)
            return response.problem(error, run_id)
        except Exception:
            run_id = run_id or uuid4()  # at least to find the line of the log by
            unexpected = Unexpected()
            with log.bound(run_id=run_id):
                _log(unexpected, started)
            return response.problem(unexpected, run_id)
        finally:
            _drain(request)


def _trace(request: Request, settings: HttpSettings) -> dict[str, Any]:
    traceparent, cloud = (request.headers.get(name, "") for name in ("traceparent", "X-Cloud-Trace-Context"))
    return trace_fields(traceparent, cloud, settings.google_cloud_project)


def _health(request: Request, settings: HttpSettings) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise HealthIsReadOnly
    if request.args:
        raise InvalidRequest(f"{HEALTH_PATH} takes no parameters: it is about all organizations.")
    health = read_health(settings)
    if not health.is_well(settings.health_max_lateness_minutes):
        _warn(health, settings)
    return response.health(health, settings)


def _warn(health: Health, settings: HttpSettings) -> None:
    is_late = health.is_late(settings.health_max_lateness_minutes)
    stuck = {
        "late_seconds": health.oldest_due_seconds if is_late else None,
        "backing_off": health.backing_off.count,
        "held": health.held.count,
        "needs_attention": health.needs_attention.count,
        "taken_over": health.taken_over.count,
    }
    fields = {"event": "campaign_stuck", "status": 503, **{name: value for name, value in stuck.items() if value}}
    _logger.warning(
        "A due campaign is not being launched: `python -m runner doctor` names it.", extra={"fields": fields}
    )


def _drain(request: Request) -> None:
    """Read what is left of the body, so that the client hears the answer, however broken the rest is.

    The framework does this after us, but keeps it all in memory, and makes a 500 of broken chunks.
    """
    with suppress(Exception):
        while request.stream.read(BODY_BYTES):
            pass
    request.stream = BytesIO()


def _parameters(request: Request) -> Parameters:
    if request.path not in PATHS:
        raise PathNotFound
    if request.method != "POST":
        raise MethodNotAllowed
    content_encoding = request.headers.get("Content-Encoding", "")
    return parse_request(request.args.lists(), _body(request), request.mimetype, content_encoding)


def _body(request: Request) -> bytes:
    # Not by request.max_content_length: the server drains the body after us, and the limit would make that a 500.
    if (request.content_length or 0) > BODY_BYTES:
        raise BodyTooLarge
    body = b""
    try:
        while len(body) <= BODY_BYTES and (part := request.stream.read(BODY_BYTES + 1 - len(body))):
            body += part
    except Exception:  # each server has errors of its own for a body that is cut off or wrongly chunked
        raise InvalidRequest("The body ended early, or its chunks are broken.") from None
    if len(body) > BODY_BYTES:
        raise BodyTooLarge
    return body


def _log(error: RunnerError, started: float) -> None:
    refused = isinstance(error, RequestError)
    fields = {
        "event": "request_refused" if refused else "request_failed",
        "status": error.status,
        "duration_ms": round((time.monotonic() - started) * 1000),
    }
    _logger.log(
        logging.WARNING if refused else logging.ERROR,
        "Answered with %d: %s",
        error.status,
        error,
        exc_info=isinstance(error, Unexpected),
        extra={"fields": fields},
    )

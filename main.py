"""The HTTP function: `functions-framework --target run_campaigns`."""

from __future__ import annotations

import functions_framework
from flask import Request, Response

from runner.http import endpoint

endpoint.prepare()


@functions_framework.http
def run_campaigns(request: Request) -> Response:
    """Launch the campaigns that are due: `POST /` or `POST /api/campaigns/run-automation`, with a bearer token.

    `GET /health`, with the same token, tells whether that happens.
    """
    return endpoint.answer(request)

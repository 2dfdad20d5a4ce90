from __future__ import annotations

import re

import pytest

from runner import errors
from runner.errors import Impaired, InvalidSettings, RunnerError

STATUSES = {
    "InvalidRequest": 400,
    "Unauthorized": 401,
    "PathNotFound": 404,
    "OrganizationNotFound": 404,
    "CampaignNotFound": 404,
    "MethodNotAllowed": 405,
    "HealthIsReadOnly": 405,
    "BodyTooLarge": 413,
    "UnsupportedMediaType": 415,
    "InvalidSettings": 500,
    "InvalidProject": 500,
    "DatabaseRefused": 500,
    "Unexpected": 500,
    "CertificatesUnreachable": 503,
    "Unreachable": 503,
    "Impaired": 503,
    "Nonsense": 503,
    "StatementTimeout": 503,
    "RunClosed": 503,
}


def leaves(kind: type[RunnerError] = RunnerError) -> list[type[RunnerError]]:
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in leaves(each)] if below else [kind]


def test_every_leaf_is_one_http_answer() -> None:
    assert {leaf.__name__: leaf.status for leaf in leaves()} == STATUSES
    assert all(leaf.title for leaf in leaves())


def test_the_tree_in_the_documentation_is_the_real_one() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d{3})$", errors.__doc__ or "", re.MULTILINE))
    assert {name: int(status) for name, status in drawn.items()} == STATUSES


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
def test_the_docstring_is_the_message(leaf: type[RunnerError]) -> None:
    assert leaf.__doc__
    if leaf is not InvalidSettings:
        assert str(leaf()) == leaf.__doc__
        assert leaf().detail == leaf.__doc__


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
def test_the_caller_is_told_what_is_wrong_with_the_request_and_the_state_of_the_database(
    leaf: type[RunnerError],
) -> None:
    error = InvalidSettings(["CANARY"]) if leaf is InvalidSettings else leaf("CANARY")
    assert "CANARY" in str(error)
    assert ("CANARY" in error.detail) == (leaf.status < 500 or leaf is Impaired)


def test_the_headers_that_http_demands_are_there() -> None:
    headers = {leaf.__name__: leaf.headers for leaf in leaves()}
    assert headers["Unauthorized"] == {"WWW-Authenticate": "Bearer"}
    assert headers["MethodNotAllowed"] == {"Allow": "POST"}
    assert headers["HealthIsReadOnly"] == {"Allow": "GET, HEAD"}
    unavailable = [leaf for leaf in leaves() if leaf.status == 503]
    assert len(unavailable) == 6
    assert all(int(leaf.headers["Retry-After"]) > 0 for leaf in unavailable)

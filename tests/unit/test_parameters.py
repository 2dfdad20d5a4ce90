from __future__ import annotations

import json
from uuid import UUID

import pytest

from runner.errors import InvalidRequest
from runner.parameters import Parameters, parse_flag, parse_organization_id, parse_request
from tests.support.fake_api import ORGANIZATION

OTHER = "44444444-4444-4444-8444-444444444444"


def parse(
    query: dict[str, list[str]] | None = None, body: bytes = b"", mimetype: str = "application/json"
) -> Parameters:
    return parse_request((query or {}).items(), body, mimetype)


def body(**document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("text", [ORGANIZATION, "ABCDEFAB-ABCD-ABCD-ABCD-ABCDEFABCDEF"])
def test_a_uuid_is_read_in_any_case(text: str) -> None:
    assert parse_organization_id(text) == UUID(text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "all",
        ORGANIZATION + " ",
        ORGANIZATION + "\n",
        "{" + ORGANIZATION + "}",
        "urn:uuid:" + ORGANIZATION,
        ORGANIZATION.replace("-", ""),
        ORGANIZATION[:-1] + "g",
        ORGANIZATION[:-1] + "\u0662",
        1,
        True,
        ["x"],
        {},
        None,
    ],
)
def test_no_other_form_of_an_id_is_read(value: object) -> None:
    with pytest.raises(InvalidRequest, match="organization_id must be a UUID"):
        parse_organization_id(value)


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        ("true", True),
        ("TRUE", True),
        ("1", True),
        (True, True),
        ("false", False),
        ("False", False),
        ("0", False),
        (False, False),
    ],
)
def test_a_flag_is_read_in_its_usual_forms(value: object, flag: bool) -> None:
    assert parse_flag(value) is flag


@pytest.mark.parametrize("value", ["", "yes", "on", " true", "2", 1, 0, None, [], {}, 1.0])
def test_no_other_form_of_a_flag_is_read(value: object) -> None:
    with pytest.raises(InvalidRequest, match="dry_run must be true or false"):
        parse_flag(value)


@pytest.mark.parametrize(
    ("sent", "mimetype"),
    [
        (b"", ""),
        (b"", "application/json"),
        (b" \n", "application/json"),
        (b"{}", "application/json"),
        (b"not json", ""),
        (b"\xff\xfe", "application/octet-stream"),
        (b"[1]", "text/plain"),
        (b'{"name": "Functions"}', "application/json"),
        (b'{"organization_id": null}', "application/json"),
    ],
)
def test_harmless_bodies_ask_for_everything(sent: bytes, mimetype: str) -> None:
    assert parse(body=sent, mimetype=mimetype) == Parameters(None, False)


@pytest.mark.parametrize("mimetype", ["application/json", "application/cloudevents+json"])
def test_parameters_are_read_from_declared_json(mimetype: str) -> None:
    sent = body(organization_id=ORGANIZATION, dry_run=True)
    assert parse(body=sent, mimetype=mimetype) == Parameters(UUID(ORGANIZATION), True)


def test_parameters_are_not_read_from_other_bodies() -> None:
    assert parse(body=body(organization_id=ORGANIZATION), mimetype="text/plain") == Parameters(None, False)


def test_parameters_are_read_from_the_query() -> None:
    assert parse({"organization_id": [ORGANIZATION], "dry_run": ["1"]}) == Parameters(UUID(ORGANIZATION), True)


def test_query_and_body_may_agree() -> None:
    upper = {"organization_id": [ORGANIZATION.upper()], "dry_run": ["true"]}
    assert parse(upper, body(organization_id=ORGANIZATION, dry_run="TRUE")) == Parameters(UUID(ORGANIZATION), True)


@pytest.mark.parametrize(
    ("query", "sent", "message"),
    [
        ({"organization_id": [ORGANIZATION]}, body(organization_id=OTHER), "organization_id is not the same"),
        ({"dry_run": ["true"]}, body(dry_run=False), "dry_run is not the same"),
        ({"organization_id": [ORGANIZATION, ORGANIZATION]}, b"", "organization_id is given more than once"),
        ({"organization_id": [""]}, b"", "organization_id must be a UUID"),
        ({"dry_run": [""]}, b"", "dry_run must be"),
        ({"organisation_id": [ORGANIZATION]}, b"", "Unknown query parameter 'organisation_id'"),
        ({"Organization_Id": [ORGANIZATION]}, b"", "Unknown query parameter"),
        ({}, body(organization_id=""), "organization_id must be a UUID"),
        ({}, body(organization_id=5), "organization_id must be a UUID"),
        ({}, body(dry_run=None), "dry_run must be"),
        ({}, b"null", "must be a JSON object"),
        ({}, b"[]", "must be a JSON object"),
        ({}, b'"x"', "must be a JSON object"),
        ({}, b"{", "not valid JSON"),
        ({}, b"{'a': 1}", "not valid JSON"),
        ({}, b'{"a": NaN}', "not valid JSON"),
        ({}, b'{"a": -Infinity}', "not valid JSON"),
        ({}, b'{"dry_run": true, "dry_run": false}', "not valid JSON"),
        ({}, b'{"x": {"a": 1, "a": 1}}', "not valid JSON"),
        ({}, b'{"a": "\xff"}', "not valid JSON"),
        ({}, "{}".encode("utf-16"), "not valid JSON"),
        ({}, b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_bad_input_is_refused(query: dict[str, list[str]], sent: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse(query, sent)


@pytest.mark.parametrize("sent", [b"[" * 16_000, b'{"a":' * 2_700 + b"1" + b"}" * 2_700], ids=["open", "closed"])
def test_deep_nesting_is_refused_or_read_and_never_breaks(sent: bytes) -> None:
    try:  # how deep is too deep depends on the version of Python
        read = parse(body=sent)
    except InvalidRequest:
        return
    assert read == Parameters(None, False)

from __future__ import annotations

import gzip
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.errors import InvalidRequest, UnsupportedMediaType
from runner.http.request import parse_flag, parse_request
from runner.run.parameters import Parameters, parse_organization_id
from tests.support.fake_api import ORGANIZATION

OTHER = "44444444-4444-4444-8444-444444444444"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
BYTES = "application/octet-stream"
TYPES = ["application/json", "application/cloudevents+json", "text/json", "text/plain", FORM, MULTIPART, BYTES, ""]


def parse(
    query: dict[str, list[str]] | None = None,
    body: bytes = b"",
    mimetype: str = "application/json",
    content_encoding: str = "",
) -> Parameters:
    return parse_request((query or {}).items(), body, mimetype, content_encoding)


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
        (b"\xff\xfe", BYTES),
        (b"{}", BYTES),
        (b"not JSON", BYTES),
        (b"[1]", "text/plain"),
        (b'{"name": "Functions"}', "application/json"),
        (b'{"organization_id": null}', "application/json"),
        (b'{"payload": {"organization": "x", "organization_id": "y"}}', "application/json"),
        (b'{"payload": {"organization": "x", "organization_id": "y"}}', "text/plain"),
        (b'{"note": "the dry_run of org: x", "laundry_run": 1, "orgs": 2, "dry run": 3}', "application/json"),
        (b'{"name": "Functions"}', ""),
        (b"", FORM),
        (b"a=b&c=d", FORM),
        (b"email=a@example.org&site=http://example.org:80/&payload[org]=x", FORM),
        (b"email=a%40example.org&site=http%3A%2F%2Fexample.org%3A80%2F", FORM),
        (b"--x--\r\n", MULTIPART),
        (b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\norg\r\n--x--\r\n', MULTIPART),
        (b"the organization wants it dry, and runs", "text/plain"),
        (b"\x1f\x8b\x08\x00garbage", BYTES),
    ],
)
def test_harmless_bodies_ask_for_everything(sent: bytes, mimetype: str) -> None:
    assert parse(body=sent, mimetype=mimetype) == Parameters(None, False)


@pytest.mark.parametrize("mimetype", ["application/json", "application/cloudevents+json"])
def test_parameters_are_read_from_declared_json(mimetype: str) -> None:
    sent = body(organization_id=ORGANIZATION, dry_run=True)
    assert parse(body=sent, mimetype=mimetype) == Parameters(UUID(ORGANIZATION), True)


def part(name: str) -> bytes:
    """As curl -F sends it."""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\ntrue\r\n--x--\r\n'.encode()


@pytest.mark.parametrize(
    ("sent", "mimetype"),
    [
        (b'{"dry_run": true}', FORM),
        (b'{"dry_run": true}', "text/plain"),
        (b'{"dry_run": true}', ""),
        (b'{"dry_run": false}', BYTES),
        (b'{"dryRun": true}', FORM),
        (b'{"dry\\u005frun": true}', FORM),
        (b'[{"data": {"DRY-RUN": 1}}]', BYTES),
        (b'"dry_run=true"', "text/plain"),
        ('{"dry_run": true}'.encode("utf-16"), "text/plain"),
        ('{"dry_run": true}'.encode("utf-32-be"), ""),
        (b'\xef\xbb\xbf{"dry_run": true}', ""),
        (b'{"dry_run": true', FORM),
        (b"{'dry_run': True}", FORM),
        (b'{"dry_run": true}\n{"dry_run": true}', "application/x-ndjson"),
        (b'{"a": {"dry_run": true}, "a": 1}', ""),
        (b'{"Message": "{\\"dry_run\\": true}"}', "text/plain"),
        (b"dry_run=true", FORM),
        (b"dry_run", FORM),
        (b"a=b&dry%5Frun=true", FORM),
        (b"options[dry_run]=true", FORM),
        (b"dryRun=true", BYTES),
        (part("dry_run"), MULTIPART),
        (part("dryRun"), ""),
        (b"dry_run=true", "text/plain"),
        (b"dry-run: true", "text/plain"),
        (b"--dry-run", ""),
        ("dry_run=true".encode("utf-16-le"), "text/plain"),
        (b"\xff\xfe\x80dry_run\xff", BYTES),
        (b"<run><dry_run>true</dry_run></run>", "application/xml"),
        (b"\x81\xa7dry_run\xc3", "application/msgpack"),
    ],
    ids=repr,
)
def test_a_dry_run_that_is_not_declared_as_json_is_refused(sent: bytes, mimetype: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"dry_run.* not declared as JSON.*\?dry_run=true.*application/json"):
        parse(body=sent, mimetype=mimetype)


@pytest.mark.parametrize(
    "name", ["organization_id", "organizationId", "ORGANIZATION-ID", "organization", "orgId", "org"]
)
@pytest.mark.parametrize(
    ("form", "mimetype"),
    [
        ('{"%s": "x"}', FORM),
        ('{"%s": "x"}', ""),
        ("{'a': 1, '%s': 'x'}", FORM),
        ('[{"%s": "x"}]', "text/plain"),
        ("%s=x", FORM),
        ("a=b&%s=x", FORM),
        ("%s: x", "text/plain"),
        ("a = 1\n%s = x", "text/plain"),
        ("<run><%s>x</%s></run>", "application/xml"),
        ('--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx\r\n--x--\r\n', MULTIPART),
        ("--x\r\nContent-Disposition: form-data; name=%s\r\n\r\nx\r\n--x--\r\n", ""),
    ],
)
def test_an_organization_that_is_not_declared_as_json_is_refused(name: str, form: str, mimetype: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"organization_id.* not declared as JSON.*\?organization_id="):
        parse(body=form.replace("%s", name).encode(), mimetype=mimetype)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'{"dryRun": true}', "'dryRun'"),
        (b'{"DRY-RUN": true}', "'DRY-RUN'"),
        (b'{"dry_run": true, "dryrun": true}', "'dryrun'"),
        (b'{"options": {"dry_run": true}}', "'dry_run'"),
        (b'{"dry_run": true, "options": [[{"dry_run": true}]]}', "'dry_run'"),
        (b'{"flags": ["--dry-run"]}', "'--dry-run'"),
        (b'{"name": "dry_run", "value": true}', "'dry_run'"),
        (b'{"Message": "{\\"dry_run\\": true}"}', "'dry_run'"),
        (b'{"organizationId": "x"}', "'organizationId'"),
        (b'{"organization-id": "x"}', "'organization-id'"),
        (b'{"organization": "x"}', "'organization'"),
        (b'{"orgId": "x"}', "'orgId'"),
        (b'{"ORG": null}', "'ORG'"),
    ],
)
def test_a_parameter_in_another_place_or_spelling_is_refused(sent: bytes, told: str) -> None:
    name = "dry_run" if "dry" in told.lower() else "organization_id"
    with pytest.raises(InvalidRequest, match=rf"^The body has {told}.* Send {name} .*\(\?{name}="):
        parse(body=sent)


def test_what_is_repeated_of_a_body_is_short() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(body=body(**{"_" * 1_000 + "dryrun": True}))
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("mimetype", [FORM, BYTES, "text/plain", ""])
def test_a_compressed_body_is_refused_as_nobody_can_look_into_it(mimetype: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="compressed"):
        parse(body=gzip.compress(body(dry_run=True)), mimetype=mimetype, content_encoding="gzip")
    assert parse(body=b"", mimetype=mimetype, content_encoding="gzip") == Parameters(None, False)
    assert parse(body=b"a=b", mimetype=mimetype, content_encoding="identity") == Parameters(None, False)


def spelled(folded: str) -> st.SearchStrategy[str]:
    """Every name that folds to this one."""
    letters = [st.sampled_from([letter, letter.upper()]) for letter in folded]
    return st.tuples(*(st.tuples(st.text("-_", max_size=2), letter).map("".join) for letter in letters)).map("".join)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.text() | st.just("dry_run") | st.sampled_from(["organization_id", "org", "name"]) | spelled("dryrun")
documents: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=20
)
forms = st.sampled_from([{}, {"ensure_ascii": False}, {"indent": 2}])


def keys(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [*document, *(key for value in document.values() for key in keys(value))]
    return [key for value in document for key in keys(value)] if isinstance(document, list) else []


@given(document=documents, mimetype=st.sampled_from(TYPES), form=forms)
@example(document={"dry_run": True}, mimetype="application/json", form={})
@example(document={"dry_run": True}, mimetype=FORM, form={})
def test_a_dry_run_that_stands_in_a_json_document_is_obeyed_or_refused(
    document: Any, mimetype: str, form: dict[str, Any]
) -> None:
    try:
        read = parse(body=json.dumps(document, **form).encode("utf-8", "surrogatepass"), mimetype=mimetype)
    except (InvalidRequest, UnsupportedMediaType):
        return
    found = [key for key in keys(document) if key.lower().replace("-", "").replace("_", "") == "dryrun"]
    if found:
        assert found == ["dry_run"]
        assert mimetype.endswith("json")
        assert mimetype.startswith("application/")
        assert read.dry_run is parse_flag(document["dry_run"])


@given(before=st.binary(), name=spelled("dryrun"), after=st.binary(), mimetype=st.sampled_from(TYPES))
def test_a_dry_run_that_stands_in_any_bytes_is_refused(before: bytes, name: str, after: bytes, mimetype: str) -> None:
    with pytest.raises((InvalidRequest, UnsupportedMediaType)):
        parse(body=before + name.encode() + after, mimetype=mimetype)


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

"""The parameters of an HTTP request: where they stand, and which mistakes are refused."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from runner.errors import InvalidRequest, UnsupportedMediaType
from runner.run.parameters import Parameters, parse_organization_id

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_NAMES = ("organization_id", "dry_run")
_IN_QUERY = {"organization_id": "?organization_id=UUID", "dry_run": "?dry_run=true"}
_ALIKE = {"dryrun": "dry_run"} | dict.fromkeys(("organizationid", "organization", "orgid", "org"), "organization_id")
_ORGANIZATION = re.compile(
    r"""organizationid|(?<![\w.@/])(?:organization|orgid|org)[\\"'\s]*[=:>]|;\s*name="?(?:organization|orgid|org)\b"""
)

_logger = logging.getLogger(__name__)


def parse_flag(value: object) -> bool:
    """Read true, false, 1 or 0, in any case. Raises InvalidRequest for anything else."""
    flag = value if isinstance(value, bool) else _FLAGS.get(value.lower()) if isinstance(value, str) else None
    if flag is None:
        raise InvalidRequest("dry_run must be true or false.")
    return flag


def parse_request(
    query: Iterable[tuple[str, list[str]]], body: bytes, mimetype: str, content_encoding: str
) -> Parameters:
    """Read the parameters of an HTTP request: the query as names with their values, and the body as it came.

    A body that names a parameter in a way that is not read is refused: a dry run that was passed over would be a run.
    Raises InvalidRequest or UnsupportedMediaType.
    """
    given = [_from_query(query)]
    if mimetype == "application/json" or mimetype.endswith("+json"):
        given.append(_from_json(body))
    elif body and content_encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaType("The body is compressed. Send it as it is.")
    elif name := find_parameter(body):
        raise UnsupportedMediaType(
            f"The body names {name}, but is not declared as JSON. Send {name} in the query ({_IN_QUERY[name]}), or in a"
            " JSON object with Content-Type: application/json."
        )
    organization_ids = {parse_organization_id(each["organization_id"]) for each in given if "organization_id" in each}
    flags = {parse_flag(each["dry_run"]) for each in given if "dry_run" in each}
    for name, values in (("organization_id", organization_ids), ("dry_run", flags)):
        if len(values) > 1:
            raise InvalidRequest(f"{name} is not the same in the query and in the body.")
    return Parameters(organization_id=next(iter(organization_ids), None), dry_run=next(iter(flags), False))


def find_parameter(body: bytes) -> str | None:
    """Find the parameter that a body of any type names, exactly or nearly (`dryRun`, `org`). None: the body names none.

    In a JSON object `dry_run` counts at any depth, and `organization_id` at the top. Any other body (a form, lines of
    text, XML, bytes, broken JSON) has no known depth: there both count wherever they stand. The short names
    `organization`, `orgid` and `org` are common in texts. There they count only before `=`, `:` or `>`, and as the name
    of a part.
    """
    try:
        document = json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        word = _misplaced(document)
        return _ALIKE[_fold(word)] if word else None
    text = _plain(body)
    if "dryrun" in text:
        return "dry_run"
    return "organization_id" if _ORGANIZATION.search(text) else None


def _from_query(query: Iterable[tuple[str, list[str]]]) -> dict[str, Any]:
    parameters = {}
    for name, values in query:
        # A misspelt organization_id that was passed over would launch the campaigns of everybody.
        if name not in _NAMES:
            raise InvalidRequest(f"Unknown query parameter {name[:40]!r}: there are {' and '.join(_NAMES)}.")
        if len(values) != 1:
            raise InvalidRequest(f"{name} is given more than once.")
        parameters[name] = values[0]
    return parameters


def _from_json(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise InvalidRequest("The body must be a JSON object.")
    # Unlike in the query, unknown names are usual here: schedulers send bodies of their own, and the pg_cron example in
    # Supabase's documentation posts {"name": "Functions"}.
    unknown = {name: value for name, value in document.items() if name not in _NAMES}
    if word := _misplaced(unknown):
        name = _ALIKE[_fold(word)]
        raise InvalidRequest(
            f"The body has {word[:40]!r} in a place or a spelling that is not read. Send {name} at the top of the JSON"
            f" object, or in the query ({_IN_QUERY[name]})."
        )
    if unknown:
        _logger.warning("Ignored %d unknown keys in the body of the request.", len(unknown))
    return {
        name: document[name]
        for name in _NAMES
        if name in document and not (name == "organization_id" and document[name] is None)
    }


def _plain(body: bytes) -> str:
    """Fold a text in any encoding that contains ASCII: as it stands, and with the escapes of a form undone."""
    text = body.replace(b"\0", b"").decode("latin-1")
    return _fold(f"{text}\n{unquote(text)}")


def _misplaced(unread: dict[str, Any]) -> str | None:
    """Find the first word that is a parameter, exactly or nearly: a key at the top, or `dry_run` at any depth."""
    at_top = (key for key in unread if _fold(key) in _ALIKE)
    below = (word for word in _words(unread) if _fold(word) == "dryrun")
    return next(at_top, None) or next(below, None)


def _words(document: Any) -> Iterator[str]:
    """Every key and every text, at any depth, also of JSON in a text: message queues wrap their messages so."""
    values = [document]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            yield from value
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str):
            yield value
            with suppress(ValueError, RecursionError):
                values.append(json.loads(value))


def _fold(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

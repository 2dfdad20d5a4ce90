"""What a caller may ask for, and how it is written."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from runner.errors import InvalidRequest

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_NAMES = ("organization_id", "dry_run")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parameters:
    """`organization_id`: None means every organization. `dry_run`: answer as a run would, and write nothing."""

    organization_id: UUID | None = None
    dry_run: bool = False


def parse_organization_id(value: object) -> UUID:
    """Read `8-4-4-4-12`, in any case. Raises InvalidRequest for any other form."""
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _CANONICAL_UUID.fullmatch(value):
        raise InvalidRequest("organization_id must be a UUID.")
    return UUID(value)


def parse_flag(value: object) -> bool:
    """Read true, false, 1 or 0, in any case. Raises InvalidRequest for anything else."""
    flag = value if isinstance(value, bool) else _FLAGS.get(value.lower()) if isinstance(value, str) else None
    if flag is None:
        raise InvalidRequest("dry_run must be true or false.")
    return flag


def parse_request(query: Iterable[tuple[str, list[str]]], body: bytes, mimetype: str) -> Parameters:
    """Read the parameters of an HTTP request: the query as names with their values, and the body as it came.

    Raises InvalidRequest.
    """
    given = [_from_query(query)]
    if mimetype == "application/json" or mimetype.endswith("+json"):
        given.append(_from_json(body))
    organization_ids = {parse_organization_id(each["organization_id"]) for each in given if "organization_id" in each}
    flags = {parse_flag(each["dry_run"]) for each in given if "dry_run" in each}
    for name, values in (("organization_id", organization_ids), ("dry_run", flags)):
        if len(values) > 1:
            raise InvalidRequest(f"{name} is not the same in the query and in the body.")
    return Parameters(organization_id=next(iter(organization_ids), None), dry_run=next(iter(flags), False))


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
    if unknown := len(document.keys() - set(_NAMES)):
        _logger.warning("Ignored %d unknown keys in the body of the request.", unknown)
    return {
        name: document[name]
        for name in _NAMES
        if name in document and not (name == "organization_id" and document[name] is None)
    }


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

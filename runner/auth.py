"""Who may call."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from pydantic import SecretStr

from runner.errors import Unauthorized


def authorize(header: str | None, tokens: Iterable[SecretStr]) -> None:
    """Let a request pass whose `Authorization` header carries one of `tokens`. Raises Unauthorized.

    The header is as WSGI gives it: its bytes decoded as Latin-1. What is compared are digests, as the lengths of the
    originals would show in the time, and with every token, as the position of a match would.
    """
    scheme, _, given = (header or "").partition(" ")
    try:
        digest = _digest(given.strip(" ").encode("latin-1"))
    except UnicodeEncodeError:
        raise Unauthorized from None  # not a header of HTTP
    matches = 0
    for token in tokens:
        value = token.get_secret_value().encode()
        matches += hmac.compare_digest(digest, _digest(value)) and bool(value)
    if scheme.lower() != "bearer" or not matches:
        raise Unauthorized


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()

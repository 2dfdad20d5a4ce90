"""Who may call: whoever has a static token, and one service account, by the ID tokens that Google signs for it."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

from runner.errors import Unauthorized
from runner.settings import Identity

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
CLOCK_SKEW_SECONDS = 10

_logger = logging.getLogger(__name__)


def authorize(header: str | None, tokens: Iterable[SecretStr], identity: Identity | None = None) -> None:
    """Let a request pass whose `Authorization` header carries one of `tokens`, or an ID token of `identity`.

    The header is as WSGI gives it: its bytes decoded as Latin-1. Static tokens are compared first, and need no network.
    Raises Unauthorized, and CertificatesUnreachable when an ID token cannot be verified at the moment.
    """
    scheme, _, given = (header or "").partition(" ")
    given = given.strip(" ")
    if scheme.lower() == "bearer":
        if _is_known(given, tokens):
            return
        if identity is not None and given.count(".") == 2:
            refusal = _refusal(given, identity)
            if refusal is None:
                return
            _logger.warning("Refused an ID token: %s.", refusal)
    raise Unauthorized


def _is_known(given: str, tokens: Iterable[SecretStr]) -> bool:
    """Compare digests, and always every token, so that the time reveals neither length nor position."""
    try:
        digest = _digest(given.encode("latin-1"))
    except UnicodeEncodeError:
        return False  # not a header of HTTP
    matches = 0
    for token in tokens:
        value = token.get_secret_value().encode()
        matches += hmac.compare_digest(digest, _digest(value)) and bool(value)
    return bool(matches)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _refusal(token: str, identity: Identity) -> str | None:
    """Why an ID token is refused, for the log. None: it is valid, and of this identity."""
    from google.auth import exceptions, jwt  # not above: only the Scheduler's requests need it

    from runner.http import certificates

    malformed = (exceptions.GoogleAuthError, ValueError, TypeError, RecursionError)
    try:
        # Before the signature, so that a token that is not meant for us costs no fetching of certificates.
        mismatch = _mismatch(jwt.decode(token, verify=False), identity)
        key_id = jwt.decode_header(token).get("kid")
    except malformed:
        return "it is malformed"
    if mismatch is not None:
        return mismatch
    if not isinstance(key_id, str):
        return "it does not name the key that signed it"
    known = certificates.shared.naming(key_id)
    try:
        jwt.decode(token, known, audience=identity.audience, clock_skew_in_seconds=CLOCK_SKEW_SECONDS)
    except malformed:
        return "its signature is not Google's, or it is expired"
    return None


def _mismatch(claims: Mapping[str, Any], identity: Identity) -> str | None:
    if claims.get("aud") != identity.audience:
        return "its audience is not OIDC_AUDIENCE"
    if claims.get("iss") not in ISSUERS:
        return "its issuer is not Google"
    if claims.get("email") != identity.service_account:
        return "it is not of OIDC_SERVICE_ACCOUNT"
    if claims.get("email_verified") is not True:
        return "its e-mail address is not verified"
    return None

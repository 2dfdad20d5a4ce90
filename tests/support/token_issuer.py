"""An issuer of ID tokens in Google's place, with keys of its own."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

AUDIENCE = "projects/test/locations/europe-west1/services/campaign-runner"
SERVICE_ACCOUNT = "campaign-runner-caller@test.iam.gserviceaccount.com"


class Key:
    """A key with the certificate that the issuer publishes for it."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "federated-signon.system.gserviceaccount.com")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self.private.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        self.certificate = builder.sign(self.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class TokenIssuer:
    """Signs with its current key. `certificates` is what it publishes."""

    def __init__(self) -> None:
        self.key = Key("first")
        self.certificates = {self.key.id: self.key.certificate}

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish that one alone."""
        self.key = Key("second")
        self.certificates = {self.key.id: self.key.certificate}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a valid token, but for the changes. None: without this claim."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "azp": "100000000000000000001",
            "email": SERVICE_ACCOUNT,
            "email_verified": True,
            "exp": now + 3600,
            "iat": now,
            "iss": "https://accounts.google.com",
            "sub": "100000000000000000001",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, key: Key | None = None, **changes: Any) -> str:
        """A token with these claims, signed."""
        signer = key or self.key
        return jwt.encode(self.claims(**changes), signer.private, "RS256", headers={"kid": signer.id})

    def forged(self, header: dict[str, Any], signature: bytes = b"") -> str:
        """A token with valid claims under any header and signature."""
        parts = (json.dumps(header).encode(), json.dumps(self.claims()).encode(), signature)
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

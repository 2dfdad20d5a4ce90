"""The certificates with which Google's ID tokens are verified, kept in the process as long as Google says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Lock

import httpx
from pydantic import TypeAdapter

from runner.errors import CertificatesUnreachable
from runner.run.clock import Clock

URL = "https://www.googleapis.com/oauth2/v1/certs"
TIMEOUT_SECONDS = 5.0
SHORTEST_PAUSE_SECONDS = 10.0  # between two requests, however many tokens name unknown keys
DEFAULT_AGE_SECONDS = 3600.0
LONGEST_AGE_SECONDS = 86_400.0

_MAX_AGE = re.compile(r"max-age=(\d{1,9})")
_DOCUMENT = TypeAdapter(dict[str, str])


class Certificates:
    """Those of one address, as key ids with certificates in PEM. Safe to share between threads."""

    def __init__(self, url: str = URL, *, clock: Clock | None = None, transport: httpx.BaseTransport | None = None):
        self._url = url
        self._clock = clock or Clock()
        self._transport = transport
        self._lock = Lock()  # held during a request, so that there is never more than one
        self._known: dict[str, str] = {}
        self._fresh_until = self._next_request = self._clock.now()
        self._failed = False

    def naming(self, key_id: str) -> Mapping[str, str]:
        """Every certificate of the moment, asked for again when none is called `key_id`: Google's keys rotate.

        Raises CertificatesUnreachable.
        """
        with self._lock:
            now = self._clock.now()
            if key_id in self._known and now < self._fresh_until:
                return self._known
            if now >= self._next_request:
                self._next_request = now + SHORTEST_PAUSE_SECONDS
                self._failed = True
                self._known, age = self._fetch()
                self._failed = False
                self._fresh_until = self._clock.now() + age
            elif self._failed or now >= self._fresh_until:
                raise CertificatesUnreachable
            return self._known

    def _fetch(self) -> tuple[dict[str, str], float]:
        """The certificates, and for how many seconds they may be kept."""
        try:
            with httpx.Client(transport=self._transport, timeout=TIMEOUT_SECONDS) as client:
                response = client.get(self._url)
            response.raise_for_status()
            known = _DOCUMENT.validate_json(response.content)
            if not known:
                raise ValueError("no certificates")
        except (httpx.HTTPError, ValueError) as error:
            raise CertificatesUnreachable(f"No certificates from {self._url} ({type(error).__name__}).") from error
        age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
        return known, min(float(age[1]) if age else DEFAULT_AGE_SECONDS, LONGEST_AGE_SECONDS)


shared = Certificates()

"""Everything that can go wrong, and the HTTP answer that each leaf becomes.

RunnerError
├── RequestError
│   ├── InvalidRequest          400
│   ├── Unauthorized            401
│   ├── PathNotFound            404
│   ├── OrganizationNotFound    404
│   ├── CampaignNotFound        404
│   ├── MethodNotAllowed        405
│   ├── HealthIsReadOnly        405
│   ├── BodyTooLarge            413
│   └── UnsupportedMediaType    415
├── ConfigurationError
│   ├── InvalidSettings         500
│   └── InvalidProject          500
├── DatabaseRefused             500
├── Unexpected                  500
├── CertificatesUnreachable     503
└── Unavailable
    ├── Unreachable             503
    ├── Impaired                503
    ├── Nonsense                503
    ├── StatementTimeout        503
    └── RunClosed               503

The docstring of a leaf is its message. A more exact message may be given; it is always in our own words, never those of
a foreign error, which may hold row data, HTML or keys.
"""

from __future__ import annotations

import inspect
from typing import ClassVar, Literal


class RunnerError(Exception):
    """The runner failed."""

    status: ClassVar[int]
    title: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}
    public: ClassVar[bool] = False  # whether the exact message may stand in an answer, or in the log alone

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.summary())

    @classmethod
    def summary(cls) -> str:
        """The message of this kind of error in general, safe to show to anyone."""
        return inspect.cleandoc(cls.__doc__ or "")

    @property
    def detail(self) -> str:
        """What the caller over HTTP is told."""
        return str(self) if self.public else self.summary()


class RequestError(RunnerError):
    """The request cannot be served as it is."""

    public = True


class InvalidRequest(RequestError):
    """The request is not valid."""

    status = 400
    title = "Bad Request"


class Unauthorized(RequestError):
    """A valid bearer token is required."""

    status = 401
    title = "Unauthorized"
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 (the base class says ClassVar)


class PathNotFound(RequestError):
    """There is nothing at this path."""

    status = 404
    title = "Not Found"


class OrganizationNotFound(RequestError):
    """There is no organization with this id."""

    status = 404
    title = "Not Found"


class CampaignNotFound(RequestError):
    """There is no campaign with this id."""

    status = 404
    title = "Not Found"


class MethodNotAllowed(RequestError):
    """This path takes POST only."""

    status = 405
    title = "Method Not Allowed"
    headers = {"Allow": "POST"}  # noqa: RUF012


class HealthIsReadOnly(RequestError):
    """This path takes GET and HEAD only."""

    status = 405
    title = "Method Not Allowed"
    headers = {"Allow": "GET, HEAD"}  # noqa: RUF012


class BodyTooLarge(RequestError):
    """The body is larger than 16 KiB."""

    status = 413
    title = "Content Too Large"


class UnsupportedMediaType(RequestError):
    """The parameters in a body of this type are not read."""

    status = 415
    title = "Unsupported Media Type"


class ConfigurationError(RunnerError):
    """The runner is not configured correctly; its log says what to change."""

    status = 500
    title = "Internal Server Error"


class InvalidSettings(ConfigurationError):
    """The runner is not configured correctly; its log names the settings."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Invalid settings: " + "; ".join(problems) + ".")
        self.problems = tuple(problems)


class InvalidProject(ConfigurationError):
    """The Supabase project is not set up for the runner; its log says what is missing."""

    def __init__(
        self,
        message: str | None = None,
        *,
        part: Literal["project", "key", "migrations", "grants", "schema"] = "project",
        words: str | None = None,
    ) -> None:
        super().__init__(message)
        self.part = part  # what is wrong
        self.words = words  # of the database: for the commands alone


class DatabaseRefused(RunnerError):
    """The database refused the call; the log has its error code."""

    status = 500
    title = "Internal Server Error"


class Unexpected(RunnerError):
    """Something unexpected happened; the log has the details."""

    status = 500
    title = "Internal Server Error"


class CertificatesUnreachable(RunnerError):
    """The identity of the caller cannot be verified at the moment."""

    status = 503
    title = "Service Unavailable"
    headers = {"Retry-After": "10"}  # noqa: RUF012


class Unavailable(RunnerError):
    """The database cannot be used at the moment."""

    status = 503
    title = "Service Unavailable"
    headers = {"Retry-After": "10"}  # noqa: RUF012


class Unreachable(Unavailable):
    """The database cannot be reached at the moment."""


class Impaired(Unavailable):
    """The database was reached, and cannot work at the moment."""

    public = True  # its messages are fixed sentences with a code


class Nonsense(Unavailable):
    """The database gave an answer that makes no sense."""


class StatementTimeout(Unavailable):
    """The database is too slow at the moment."""


class RunClosed(Unavailable):
    """This run is over already."""

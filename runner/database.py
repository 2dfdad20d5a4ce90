"""The database: the only module that speaks to it, by RPC and nothing else.

Of `supabase-py` it imports the part that does this, `postgrest`: with those for sign-in, storage and realtime a process
took 0.1 s longer to start.

Each call is one transaction and is tried once; what may be tried again is raised as Unavailable.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import httpx
from postgrest import SyncPostgrestClient
from postgrest.exceptions import APIError
from pydantic import BaseModel

from runner.errors import (
    CampaignNotFound,
    DatabaseRefused,
    Impaired,
    InvalidProject,
    Nonsense,
    OrganizationNotFound,
    RunClosed,
    RunnerError,
    StatementTimeout,
    Unreachable,
)
from runner.settings import Settings
from runner.version import __version__

CONNECT_SECONDS = 5.0
# The pool of the API drops idle connections, and to find one dropped costs a retry: do not keep them from call to call.
KEEPALIVE_SECONDS = 5.0
# What the functions of the database take and return has a number, which the SQL refuses where it does not serve it.
INTERFACE = 1

_NOT_MIGRATED = frozenset({"PGRST202", "PGRST203", "42883", "42P01", "3F000"})
_KEY_REFUSED = frozenset({"PGRST301", "PGRST302", "PGRST303"})
_API_WITHOUT_DATABASE = frozenset({"PGRST000", "PGRST001", "PGRST002", "PGRST003"})
# What may pass, by the beginning of its SQLSTATE; the first that fits.
_PASSING = {
    "08": "The API lost its connection to the database",
    "25006": "The database is read-only: its disk may be full, or it is a replica",
    "40": "The transaction was in conflict with another one",
    "53100": "The disk of the database is full",
    "53200": "The database has no memory left",
    "53300": "The database has no connection left",
    "53": "The database lacks resources",
    "55": "Another transaction has locked a table that the runner needs, and `python -m runner doctor` names it",
    "57": "The database is starting, stopping, or ended the session",
    "58": "The database has trouble with its disk or system",
}
# Of the gateway, by HTTP status.
_GATEWAY = {
    402: "The project is over its quota, and restricted: see Usage and Billing of its organization",
    540: "The project is paused: restore it in its dashboard",
}

ModelT = TypeVar("ModelT", bound=BaseModel)

_logger = logging.getLogger(__name__)


@dataclass
class _Exchange:
    """What supabase-py has no way to pass on: a timeout for one call, and the HTTP status of its answer."""

    read_seconds: float
    status: int | None = None


_exchange: ContextVar[_Exchange] = ContextVar("runner_exchange")


def system_user(settings: Settings) -> dict[str, Any]:
    """The parameters that name the system user."""
    return {"p_system_user_id": settings.system_user_id, "p_system_user_roles": list(settings.system_user_roles)}


def limits(settings: Settings, max_rows: int) -> dict[str, Any]:
    """The parameters of a function that evaluates contacts, `max_rows` at most."""
    lateness = settings.max_lateness_minutes
    return {**system_user(settings), "p_max_rows": max_rows, "p_max_lateness_minutes": lateness}


class Database:
    """The functions of one project, over its REST API. Safe to use from several threads."""

    def __init__(self, settings: Settings, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = _new_http_client(transport)
        self._client = _new_client(settings, self._http)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, function: str, parameters: dict[str, Any], model: type[ModelT], *, timeout: float) -> ModelT:
        """Call one function, and read its result as the model. `timeout`: the seconds to wait for the answer.

        Raises

        - OrganizationNotFound and CampaignNotFound, where a parameter names none;
        - InvalidProject: the key, the migrations, the grants or the system user are not as they should be;
        - DatabaseRefused: an error that trying again does not mend;
        - Unavailable: an error that trying again may mend. Whether the call took effect is not known. Two kinds are
          StatementTimeout (the call did not take effect, and less should be asked for) and RunClosed (the run was
          reported already).
        """
        exchange = _Exchange(read_seconds=timeout)
        token = _exchange.set(exchange)
        started = time.monotonic()
        try:
            return model.model_validate(self._client.rpc(function, parameters).execute().data)
        except APIError as error:
            raise _translated(error, exchange.status) from error
        except httpx.RequestError as error:
            raise Unreachable(_silence(error)) from error
        except (ValueError, RecursionError) as error:  # of the model, the encoding, or the nesting
            raise Nonsense(f"{function} gave an answer of an unknown shape.") from error
        finally:
            _exchange.reset(token)
            _log_call(function, parameters, exchange, time.monotonic() - started)


def _log_call(function: str, parameters: dict[str, Any], exchange: _Exchange, seconds: float) -> None:
    fields = {"rows": parameters.get("p_max_rows"), "status": exchange.status, "duration_ms": round(seconds * 1000)}
    known = {name: value for name, value in fields.items() if value is not None}
    _logger.debug("Called %s.", function, extra={"fields": {"event": "database_called", **known}})


def _new_http_client(transport: httpx.BaseTransport | None) -> httpx.Client:
    return httpx.Client(
        transport=transport,
        http2=False,  # one HTTP/2 connection shared by threads ends in RemoteProtocolError
        follow_redirects=False,
        timeout=httpx.Timeout(CONNECT_SECONDS),  # but for the time to read, which each call sets
        limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
        headers={"User-Agent": f"campaign-runner/{__version__}"},
        event_hooks={"request": [_set_timeout], "response": [_keep_status]},
    )


def _new_client(settings: Settings, http: httpx.Client) -> SyncPostgrestClient:
    key = settings.supabase_secret_key.get_secret_value()
    # A secret key is let in as a bearer token where it is also the apikey.
    headers = {"apikey": key, "Authorization": f"Bearer {key}", "X-Client-Info": f"campaign-runner/{__version__}"}
    return SyncPostgrestClient(f"{settings.supabase_url}/rest/v1", headers=headers, http_client=http)


def _set_timeout(request: httpx.Request) -> None:
    request.extensions["timeout"] = {**request.extensions["timeout"], "read": _exchange.get().read_seconds}


def _keep_status(response: httpx.Response) -> None:
    _exchange.get().status = response.status_code


def _translated(error: APIError, status: int | None) -> RunnerError:
    """What an error of the API means to us. Only its code is passed on: its texts may hold row data or HTML."""
    code = error.code
    if code is None:
        return _translated_by_status(status)
    if code == "CR404":
        return OrganizationNotFound()
    if code == "CR410":
        return CampaignNotFound()
    if code == "CR409":
        return RunClosed()
    if code == "CR503":
        return Impaired("The runner's functions in the database are being upgraded: ask again in a few seconds.")
    if code == "CR500":
        return InvalidProject(error.message)  # raised by our own functions, in our own words
    if code in _KEY_REFUSED:
        return _key_refused()
    if code in _NOT_MIGRATED:
        return InvalidProject(
            f"The runner's functions are missing from the database ({code}): apply the migrations.", part="migrations"
        )
    if code == "42501":
        return InvalidProject(
            f"The key's role, or a function of the project, lacks a privilege ({code}): see `python -m runner doctor`.",
            part="grants",
            words=_named_object(error.message),
        )
    if code == "PGRST106":
        return InvalidProject(
            f"The API of the project does not expose the schema public ({code}): add it to the exposed schemas in the "
            "settings of the API.",
            part="schema",
        )
    if code == "57014":
        return StatementTimeout(
            f"A statement took longer than the statement_timeout of the role service_role allows (SQLSTATE {code})."
        )
    if code in _API_WITHOUT_DATABASE:
        return Unreachable(f"The API of the project has no connection to its database ({code}).")
    if code.isdigit() and len(code) == 3:
        if int(code) in _GATEWAY:
            return _translated_by_status(int(code))
        return Unreachable(
            f"Something between here and the database answered with a page and HTTP {code}: is SUPABASE_URL right?"
        )
    return impaired(code) or DatabaseRefused(
        f"The database refused the call ({code[:20]!r}): `python -m runner doctor` looks for the cause."
    )


def _named_object(message: str | None) -> str | None:
    """Words of Postgres that name an object of the schema, and can hold no row data."""
    return message if message and re.fullmatch(r"permission denied for \w+ [\w.]+", message) else None


def impaired(code: str) -> Impaired | None:
    """A database that was reached, and cannot work at the moment. None: the code says something else."""
    if len(code) == 5:
        for beginning, meaning in _PASSING.items():
            if code.startswith(beginning):
                return Impaired(f"{meaning} (SQLSTATE {code}).")
    return None


def _silence(error: httpx.RequestError) -> str:
    """Why no answer came."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, socket.gaierror):
            return "The host name of SUPABASE_URL is unknown."
        if isinstance(reason, ConnectionRefusedError):
            return "Nothing listens at the address of SUPABASE_URL (connection refused)."
        if isinstance(reason, ssl.SSLError):
            return "The certificate at SUPABASE_URL is not trusted, or the server speaks no TLS."
        reason = reason.__cause__ or reason.__context__
    if isinstance(error, httpx.TimeoutException):
        return f"No answer from the database in time ({type(error).__name__})."
    return f"The connection to the database broke ({type(error).__name__})."


def _translated_by_status(status: int | None) -> RunnerError:
    """What a JSON error without a code means: it comes from the gateway in front of the API."""
    if status in _GATEWAY:
        return Impaired(f"{_GATEWAY[status]} (HTTP {status}).")
    if status == 429 or (status or 0) >= 500:
        return Unreachable(f"The gateway of the project answered with HTTP {status}.")
    if status in (401, 403):
        return _key_refused()
    return InvalidProject(f"The gateway of the project answered with HTTP {status}: is SUPABASE_URL right?")


def _key_refused() -> InvalidProject:
    return InvalidProject("The project refuses the key: SUPABASE_SECRET_KEY is not one of its secret keys.", part="key")


_lock = Lock()
_shared: tuple[Settings, Database] | None = None


def shared(settings: Settings, connect: Callable[[Settings], Database] = Database) -> Database:
    """The database of this process, connected on first use. Never before: servers fork after they imported us."""
    global _shared
    with _lock:
        if _shared is None or _shared[0] != settings:
            _shared = (settings, connect(settings))
        return _shared[1]

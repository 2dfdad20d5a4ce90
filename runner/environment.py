"""The settings as the environment has them: their names, and the values that they may have.

deploy.sh runs this file too, with the Python that a machine has: the standard library alone, Python 3.9 or newer.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

TOKEN_LENGTH = 32
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# A name in the environment is near one of ours from this likeness on (0 to 1), or as so long a beginning of it.
NEAR = 0.88
SHORTEST_BEGINNING = 8


def project_url(value: str) -> str:
    try:
        url = urlsplit(value)
        is_usable = url.scheme in ("http", "https") and re.fullmatch(r"[\w.:-]+", url.hostname or "") and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or url.query or url.fragment or url.username or not value.isprintable() or " " in value:
        raise ValueError("is not the URL of a project, such as https://abcdefghijkl.supabase.co")
    if url.path.rstrip("/").endswith("/rest/v1"):
        raise ValueError("ends in /rest/v1, but the URL of the project itself is expected")
    return value.rstrip("/")


def secret_key(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):  # what a header can carry
        raise ValueError("holds characters that no key has")
    if value.startswith("sb_publishable_"):
        raise ValueError("is a publishable key, but a secret key (sb_secret_...) is expected")
    return value


def uuid(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        raise ValueError("is not a UUID") from None


def role_names(value: str) -> tuple[str, ...]:
    if not _split(value):
        raise ValueError("names no role")
    return _split(value)


def number(kind: type[int] | type[float], least: int, most: int) -> Callable[[str], float]:
    """The rule for an int or a float between two limits."""

    def within_limits(value: str) -> float:
        try:
            given = kind(value)
        except ValueError:
            given = least - 1
        if not least <= given <= most:
            raise ValueError(f"is not a {'whole ' if kind is int else ''}number from {least} to {most}")
        return given

    return within_limits


def log_level(value: str) -> str:
    if value.upper() not in LOG_LEVELS:
        raise ValueError(f"is not one of {', '.join(LOG_LEVELS)}")
    return value.upper()


def token(value: str) -> str:
    if len(value) < TOKEN_LENGTH:
        raise ValueError(f"is shorter than {TOKEN_LENGTH} characters")
    return value


def token_list(value: str) -> tuple[str, ...]:
    short = [str(position) for position, each in enumerate(_split(value), start=1) if len(each) < TOKEN_LENGTH]
    if short:
        raise ValueError(f"has tokens shorter than {TOKEN_LENGTH} characters, at position {', '.join(short)}")
    return _split(value)


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


# What a value becomes. A rule raises ValueError with the rest of a sentence that begins with the name.
RULES: Mapping[str, Callable[[str], Any]] = {
    "SUPABASE_URL": project_url,
    "SUPABASE_SECRET_KEY": secret_key,
    "SUPABASE_SERVICE_ROLE_KEY": str,  # is read, and checked, where the other name is not set
    "SYSTEM_USER_ID": uuid,
    "SYSTEM_USER_ROLES": role_names,
    "RUN_TIME_BUDGET_SECONDS": number(float, 1, 3300),
    "RUN_CONCURRENCY": number(int, 1, 32),
    "STEP_ROWS": number(int, 1, 1_000_000),
    "MAX_LATENESS_MINUTES": number(int, 1, 5_256_000),
    "HEALTH_MAX_LATENESS_MINUTES": number(int, 1, 5_256_000),
    "GOOGLE_CLOUD_PROJECT": str,
    "LOG_LEVEL": log_level,
    "OIDC_AUDIENCE": str,
    "OIDC_SERVICE_ACCOUNT": str,
    "RUNNER_TOKEN": token,
    "RUNNER_TOKENS": token_list,
}
REQUIRED = ("SUPABASE_URL", "SUPABASE_SECRET_KEY", "SYSTEM_USER_ID")


def problems(given: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each setting that is wrong or missing, without its value. A blank setting is not set."""
    for name, rule in RULES.items():
        value = given.get(name, "").strip()
        try:
            if value:
                rule(value)
            elif name in REQUIRED:
                raise ValueError("is not set")
        except ValueError as error:
            yield f"{name} {error}"


def misspelt(environment: Mapping[str, str], ours: Collection[str] = RULES.keys()) -> dict[str, str]:
    """Names in the environment that are near one of ours, which is not set: the name, and the one that is meant."""
    found = {}
    for name in sorted({name.upper() for name in environment} - set(ours)):
        longer = [each for each in ours if len(name) >= SHORTEST_BEGINNING and each.startswith(f"{name}_")]
        near = longer or get_close_matches(name, ours, n=1, cutoff=NEAR)
        if near and not environment.get(near[0]):
            found[name] = near[0]
    return found


def main() -> None:
    """Print the problems of the settings that deploy.sh was given, and a warning for each misspelt name.

    Standard input has all its settings, NAME=VALUE and a NUL each, and then the unknown names of its file, a line each.
    """
    *settings, unknown = os.fsdecode(sys.stdin.buffer.read()).split("\0")
    given = dict(each.split("=", 1) for each in settings)
    for name, meant in misspelt({**os.environ, **dict.fromkeys(unknown.splitlines(), ""), **given}, given).items():
        print(f"deploy.sh: {name} is no setting. Is {meant} meant?", file=sys.stderr)
    for problem in problems(given):
        print(problem)


if __name__ == "__main__":
    main()

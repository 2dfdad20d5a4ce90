"""The settings and the tokens of this shell."""

from __future__ import annotations

import os
from collections.abc import Iterator

from runner.commands.findings.finding import Finding, found
from runner.commands.terminal import counted
from runner.environment import misspelt
from runner.errors import InvalidSettings
from runner.settings import HttpSettings, Settings


def settings_findings() -> Iterator[Finding]:
    """Each setting that is missing, wrong or misspelt. Reads the environment, and no database."""
    needed = _problems(Settings)
    for problem in needed:
        yield found("setting", f"{problem}.")
    if not needed:
        settings = Settings.load()
        secret = "a secret key" if _key(settings).startswith("sb_secret_") else "a key of the older kind"
        yield Finding(
            "settings",
            "ok",
            f"SUPABASE_URL is {settings.supabase_url}, SUPABASE_SECRET_KEY {secret}, "
            f"SYSTEM_USER_ID {settings.system_user_id}.",
        )
    for name, meant in misspelt(os.environ).items():
        yield found("misspelt", f"{name} is no setting. Is {meant} meant?", meant=meant)
    http = [problem for problem in _problems(HttpSettings) if problem not in needed]
    for problem in http:
        if problem == "RUNNER_TOKENS is not set":
            yield found("no_token", "RUNNER_TOKENS is not set: over HTTP every call is refused.")
        else:
            yield found("token", f"{problem}.")
    if not http and not needed:
        yield Finding("tokens", "ok", _callers(HttpSettings.load()))


def _problems(kind: type[Settings]) -> tuple[str, ...]:
    try:
        kind.load()
    except InvalidSettings as error:
        return error.problems
    return ()


def _key(settings: Settings) -> str:
    return settings.supabase_secret_key.get_secret_value()


def _callers(settings: HttpSettings) -> str:
    number = len(settings.tokens)
    callers = [counted(number, "token")] if number else []
    if settings.identity is not None:
        callers.append(f"the ID tokens of {settings.oidc_service_account}")
    return f"Over HTTP the function accepts {' and '.join(callers)}."

"""The configuration, read from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from runner.auth import Identity
from runner.errors import InvalidSettings

TOKEN_LENGTH = 32
# A name in the environment is near one of ours from this likeness on (0 to 1), or as so long a beginning of it.
NEAR = 0.88
SHORTEST_BEGINNING = 8

_E_MAIL_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class _Environment(EnvSettingsSource):
    """The environment, where a blank variable is one that is not set."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {name: value.strip() for name, value in self.env_vars.items() if value and value.strip()}


class Settings(BaseSettings):
    """What a run needs. The environment names the fields in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    supabase_url: str
    supabase_secret_key: SecretStr = Field(
        validation_alias=AliasChoices("supabase_secret_key", "supabase_service_role_key")
    )
    system_user_id: UUID
    system_user_roles: Annotated[tuple[str, ...], NoDecode] = ("owner", "admin", "member")
    run_time_budget_seconds: float = Field(default=50.0, ge=1, le=3300)
    run_concurrency: int = Field(default=4, ge=1, le=32)
    step_rows: int = Field(default=20_000, ge=1, le=1_000_000)
    max_lateness_minutes: int | None = Field(default=None, ge=1, le=5_256_000)
    health_max_lateness_minutes: int = Field(default=10, ge=1, le=5_256_000)
    google_cloud_project: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises InvalidSettings, which names every problem and no value."""
        try:
            return cls(**{})  # all fields come from the environment
        except ValidationError as error:
            problems = [_problem(details) for details in error.errors(include_url=False)]
        # Raised out here, because the ValidationError holds the values, and a cause gets printed.
        raise InvalidSettings(problems)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)

    @field_validator("supabase_url")
    @classmethod
    def _url_of_a_project(cls, value: str) -> str:
        expected = "is not the URL of a project, such as https://abcdefghijkl.supabase.co"
        try:
            url = urlsplit(value)
            usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            raise ValueError(expected) from None
        if not usable or url.query or url.fragment or url.username or not value.isprintable() or " " in value:
            raise ValueError(expected)
        if url.path.rstrip("/").endswith("/rest/v1"):
            raise ValueError("ends in /rest/v1, but the URL of the project itself is expected")
        return value.rstrip("/")

    @field_validator("supabase_secret_key")
    @classmethod
    def _key_that_a_header_can_carry(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("holds characters that no key has")
        if key.startswith("sb_publishable_"):
            raise ValueError("is a publishable key, but a secret key (sb_secret_...) is expected")
        return value

    @field_validator("system_user_roles", mode="before")
    @classmethod
    def _list_of_roles(cls, value: Any) -> Any:
        roles = _split(value)
        if not roles:
            raise ValueError("names no role")
        return roles

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class HttpSettings(Settings):
    """What the HTTP function needs: all of that, and whom it lets in."""

    oidc_audience: str | None = None
    oidc_service_account: str | None = Field(default=None, validate_default=True)
    runner_token: SecretStr | None = None  # before the other: a field is validated with those before it
    runner_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), validate_default=True)

    @property
    def tokens(self) -> tuple[SecretStr, ...]:
        """Every accepted token, none of them empty; at least one, unless there is an identity."""
        return (*self.runner_tokens, *([self.runner_token] if self.runner_token else []))

    @property
    def identity(self) -> Identity | None:
        """The service account whose ID tokens are accepted, if any."""
        if self.oidc_audience is None or self.oidc_service_account is None:
            return None
        return Identity(self.oidc_audience, self.oidc_service_account)

    @field_validator("oidc_service_account")
    @classmethod
    def _both_or_none(cls, value: str | None, info: ValidationInfo) -> str | None:
        audience = info.data.get("oidc_audience")
        if value is None and audience is not None:
            raise ValueError("is not set, but OIDC_AUDIENCE is")
        if value is not None and audience is None:
            raise ValueError("is set, but OIDC_AUDIENCE is not")
        if value is not None and not _E_MAIL_ADDRESS.fullmatch(value):
            raise ValueError("is not the e-mail address of a service account")
        return value

    @field_validator("runner_token")
    @classmethod
    def _token_is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < TOKEN_LENGTH:
            raise ValueError(f"is shorter than {TOKEN_LENGTH} characters")
        return value

    @field_validator("runner_tokens", mode="before")
    @classmethod
    def _list_of_tokens(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("runner_tokens")
    @classmethod
    def _tokens_are_long_enough(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        short = [str(n) for n, token in enumerate(value, start=1) if len(token.get_secret_value()) < TOKEN_LENGTH]
        if short:
            raise ValueError(f"has tokens shorter than {TOKEN_LENGTH} characters, at position {', '.join(short)}")
        # A runner_token that is invalid is missing from the data, and a problem of its own.
        if not value and info.data.get("runner_token", "invalid") is None and not info.data.get("oidc_service_account"):
            raise ValueError("is not set")
        return value


def misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """Names in the environment that are near one of ours, which is not set: the name, and the one that is meant."""
    ours = {name.upper() for name in HttpSettings.model_fields} | {"SUPABASE_SERVICE_ROLE_KEY"}
    found = {}
    for name in sorted({name.upper() for name in environment} - ours):
        longer = [each for each in ours if len(name) >= SHORTEST_BEGINNING and each.startswith(f"{name}_")]
        near = longer or get_close_matches(name, ours, n=1, cutoff=NEAR)
        if near and near[0] not in environment:
            found[name] = near[0]
    return found


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _problem(details: ErrorDetails) -> str:
    """One problem in our own words, without the value."""
    name = str(details["loc"][0]).upper()
    if details["type"] == "missing":
        return f"{name} is not set"
    if details["type"].startswith("uuid"):
        return f"{name} is not a UUID"  # the original quotes a character of the value
    if details["type"] == "value_error":
        return f"{name} {details['ctx']['error']}"
    return f"{name}: {details['msg'].removeprefix('Input ')}"

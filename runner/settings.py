"""The configuration, read from the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Self
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

from runner.environment import RULES
from runner.errors import InvalidSettings

_E_MAIL_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class Identity:
    """A service account, by its e-mail address, and the audience for which its tokens have to be made."""

    audience: str
    service_account: str


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
    run_time_budget_seconds: float = 50.0
    run_concurrency: int = 4
    step_rows: int = 20_000
    max_lateness_minutes: int | None = None
    health_max_lateness_minutes: int = 10
    google_cloud_project: str | None = None
    log_level: str = "INFO"

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

    @field_validator("*", mode="before")
    @classmethod
    def _value_by_its_rule(cls, value: Any, info: ValidationInfo) -> Any:
        return RULES[str(info.field_name).upper()](value) if isinstance(value, str) else value


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

    @field_validator("runner_tokens")
    @classmethod
    def _somebody_is_let_in(cls, value: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        # A runner_token that is invalid is missing from the data, and a problem of its own.
        if not value and info.data.get("runner_token", "invalid") is None and not info.data.get("oidc_service_account"):
            raise ValueError("is not set")
        return value


def _problem(details: ErrorDetails) -> str:
    """One problem in our own words, without the value."""
    problem = "is not set" if details["type"] == "missing" else details["ctx"]["error"]
    return f"{str(details['loc'][0]).upper()} {problem}"

"""What the database found for `doctor`."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr


class MissingIndex(BaseModel):
    """An index that the runner needs; `command` builds it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: StrictStr
    is_invalid: StrictBool  # it is there, but no query uses it
    command: StrictStr


class Named(BaseModel):
    """A campaign or an organization. None: it has no name."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: UUID
    name: StrictStr | None


class NamedCampaign(Named):
    """A campaign. `because`: why it is named, where that differs from campaign to campaign."""

    because: StrictStr | None = None


class Lack(BaseModel):
    """How many lack something, and the first of them. `is_cut`: not all were looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    is_cut: StrictBool
    lacking: int = Field(ge=0, strict=True)
    named: tuple[NamedCampaign, ...]


class Tenant(Named):
    """An organization, with the role of the system user. None: it is no member."""

    role: StrictStr | None


class Memberships(BaseModel):
    """How many organizations the system user may not act for, and the first of them. `is_cut`: as for a Lack."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    is_cut: StrictBool
    lacking: int = Field(ge=0, strict=True)
    named: tuple[Tenant, ...]


class Closed(Lack):
    """The campaigns that are deleted, archived or closed.

    `columns`: those that keep the first one from being due. `statement` clears them.
    """

    columns: tuple[StrictStr, ...] | None
    statement: StrictStr | None


class Requirement(BaseModel):
    """What the project lacks; `remedy` is the SQL that mends it, or a sentence."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    severity: Literal["error", "warning", "note"]
    lack: StrictStr
    remedy: StrictStr


class Grant(BaseModel):
    """What the key's role lacks; `statement` grants it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    lack: StrictStr
    statement: StrictStr


class Blocker(BaseModel):
    """A session that holds a lock; None: it does not say, or we may not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    pid: int
    application: StrictStr | None
    role: StrictStr | None
    state: StrictStr | None
    seconds: int | None  # since its transaction began
    mode: StrictStr
    tables: tuple[StrictStr, ...]


class Guard(BaseModel):
    """What of the project may refuse a row that the runner writes.

    `name`: that of the column, where the guard is a default or an expression. `columns`: those that a constraint or an
    index is about. `function_name`: what a trigger runs. `statement` takes the guard away.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Literal[
        "trigger",
        "rule",
        "constraint",
        "domain constraint",
        "foreign key",
        "unique index",
        "default",
        "generated column",
    ]
    name: StrictStr
    table_name: StrictStr
    columns: tuple[StrictStr, ...]
    function_name: StrictStr | None
    definition: StrictStr
    statement: StrictStr


class Audiences(BaseModel):
    """What looks wrong in the contacts that were looked at, by organization."""

    class Organization(BaseModel):
        """One of them.

        How many addresses, and mobiles without an address, several contacts share; how many addresses are malformed;
        how many contacts have no `is_subscribed`.
        """

        organization_id: UUID
        addresses: int
        mobiles: int
        malformed: int
        unknown: int

    model_config = ConfigDict(extra="ignore", frozen=True)

    contacts: int = Field(ge=0, strict=True)
    is_sample: StrictBool  # there are more contacts
    organizations: tuple[Organization, ...]


class LastCall(BaseModel):
    """When something last called the runner, and with which settings."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    seconds_ago: float | None  # None: never
    is_any_due: StrictBool
    passed_over_for: Named | None  # the call was for this organization alone, and campaigns of others are due
    system_user_id: UUID | None
    system_user_roles: tuple[StrictStr, ...] | None
    max_lateness_minutes: int | None


class Facts(BaseModel):
    """What the database found. None: it could not look, see `errors` of the answer, or the fact itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: StrictStr | None = None  # the number of the last migration
    objects: tuple[StrictStr, ...] | None = None  # of the runner, with what is wrong: is gone, was changed
    requirements: tuple[Requirement, ...] | None = None  # what the tables lack
    grants: tuple[Grant, ...] | None = None  # that are missing
    writing: StrictStr | None = None  # the SQLSTATE with which the database refuses to write
    locks: tuple[Blocker, ...] | None = None
    guards: tuple[Guard, ...] | None = None
    indexes: tuple[MissingIndex, ...] | None = None
    system_user: StrictBool | None = None  # it is a profile
    memberships: Memberships | None = None  # organizations with scheduled campaigns
    schedules: Lack | None = None  # campaigns that are scheduled without a time,
    tenants: Lack | None = None  # without an organization,
    closed: Closed | None = None  # deleted, or of a closed organization,
    recipients: Lack | None = None  # or with recipients that no launch wrote
    nobody: Lack | None = None  # campaigns launched in the last week without a recipient to mail,
    dropped: Lack | None = None  # with recipients that a trigger dropped,
    unmatched: Lack | None = None  # or past an exclusion that matched nothing
    audiences: Audiences | None = None
    last_call: LastCall | None = None


class DoctorResult(BaseModel):
    """The answer of `campaign_runner_doctor`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    clock: float  # the database's time, in seconds since 1970
    facts: Facts
    errors: dict[StrictStr, StrictStr]  # SQLSTATE of each look that failed

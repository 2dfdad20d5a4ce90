"""What the database answers to `preview`, `campaigns`, `history` and `doctor`.

Apart from `models`, which a function imports when it starts: there nobody asks these.
"""

from __future__ import annotations

from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, model_validator


class UnmatchedNames(BaseModel):
    """What the rules of a campaign name, and no contact of its organization has."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    include_emails: tuple[StrictStr, ...]
    include_tags: tuple[StrictStr, ...]
    exclude_tags: tuple[StrictStr, ...]
    exclude_countries: tuple[StrictStr, ...]
    emails_not_looked_up: int = Field(ge=0, strict=True)  # beyond the first 10,000


class LooksWrong(BaseModel):
    """What looks wrong in the first contacts of an organization, by their ids: numbers."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contacts: int = Field(ge=0, strict=True)  # that were looked at
    addresses: int = Field(ge=0, strict=True)  # which several contacts share
    mobiles: int = Field(ge=0, strict=True)  # which several contacts without an address share
    malformed: int = Field(ge=0, strict=True)  # addresses
    unknown: int = Field(ge=0, strict=True)  # contacts without is_subscribed


class OpenLaunch(BaseModel):
    """A launch of a campaign that has begun and is not over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: StrictStr
    inserted: int = Field(ge=0, strict=True)  # recipients that it has written up to now
    waits_because: StrictStr | None  # of this error; None: the next run goes on with it


class CampaignPreview(BaseModel):
    """Whom one campaign would have as recipients if it were launched now.

    `recipient_count` and the numbers of `excluded` add up to `contacts`, those of the organization, but for the
    `outsiders`: recipients that are none of its contacts, which a launch leaves alone.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    name: StrictStr
    status: StrictStr
    scheduled_at: StrictStr | None  # ISO 8601; None too where it lies in no finite time
    has_schedule: StrictBool
    recipient_count: int = Field(ge=0, strict=True)
    contacts: int = Field(ge=0, strict=True)
    excluded: dict[StrictStr, int]
    sample: tuple[StrictStr, ...]  # addresses of the first recipients, by their ids
    unmatched: UnmatchedNames
    looks_wrong: LooksWrong | None  # None: the index that the look needs is missing
    outsiders: int = Field(ge=0, strict=True)
    generates: StrictBool  # False: recipients were there before any launch, and stay as they are
    pages: int = Field(ge=1, strict=True)  # in which the contacts were read, one after the other
    system_user_exists: StrictBool
    obstacles: tuple[StrictStr, ...]  # why it could not be launched at this moment
    launch: OpenLaunch | None


class CampaignPreviewAnswer(BaseModel):
    """One page of `campaign_runner_preview_campaign`; the last one, without a `cursor`, has the preview."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contacts: int = Field(ge=0, strict=True)  # judged up to now
    preview: CampaignPreview | None
    cursor: StrictStr | None

    @model_validator(mode="after")
    def _the_last_page_has_the_preview(self) -> Self:
        if (self.preview is None) == (self.cursor is None):
            raise ValueError("neither a preview nor a cursor, or both")
        return self


class LaunchRecord(BaseModel):
    """One launch in the ledger. Times are ISO 8601; what is not known, or not yet, is None."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    launch_id: int = Field(ge=1, strict=True)
    name: StrictStr  # of the campaign, as it was then
    organization_id: UUID
    state: StrictStr  # opened, generating, reconciling; launched or abandoned: it is over
    condition: StrictStr  # what it is at, see campaign_runner.condition()
    run_id: UUID | None  # the run that launched it
    system_user_id: UUID | None  # in whose name
    scheduled_at: StrictStr | None
    opened_at: StrictStr
    closed_at: StrictStr | None
    duration_seconds: float | None
    late_seconds: float | None
    generates: StrictBool | None  # False: recipients were there before, and stayed as they were
    contacts: int | None  # of the organization, which were judged
    recipients_inserted: int | None  # of an open launch: up to now
    recipient_count: int | None
    recipients_before: int | None  # where recipients were there before: how many when the launch began,
    pending_before: int | None  # and how many of these were pending
    excluded: dict[StrictStr, int] | None
    unmatched: dict[StrictStr, tuple[StrictStr, ...]] | None  # names in the rules that kept no contact out
    attempts: int = Field(ge=0, strict=True)  # those that failed
    next_attempt_at: StrictStr | None
    waits_for_a_person: StrictBool
    failed_with: StrictStr | None  # the SQLSTATE of the last failure, until the launch makes progress
    error: StrictStr | None  # of the last attempt that failed,
    detail: StrictStr | None  # and the words of the source that refused


class CampaignState(BaseModel):
    """A campaign as it is now."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: StrictStr
    status: StrictStr


class History(BaseModel):
    """The answer of `campaign_runner_history`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign: CampaignState | None  # None: it was deleted, or never was
    launches: tuple[LaunchRecord, ...]  # the newest first
    is_cut: StrictBool  # there are older ones


class ListedCampaign(BaseModel):
    """A campaign as it is now. Times are ISO 8601."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    organization_id: UUID | None
    organization_name: StrictStr | None
    name: StrictStr
    status: StrictStr
    scheduled_at: StrictStr | None


class CampaignList(BaseModel):
    """The answer of `campaign_runner_campaigns`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaigns: tuple[ListedCampaign, ...]  # the latest schedule first, those without one at the end
    is_cut: StrictBool  # there are more


class MissingIndex(BaseModel):
    """An index that the runner needs; `command` builds it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: StrictStr
    is_invalid: StrictBool  # it is there, but no query uses it
    command: StrictStr


class Lack(BaseModel):
    """How many lack something, and the first of them. `is_cut`: not all were looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    is_cut: StrictBool
    lacking: int = Field(ge=0, strict=True)
    named: tuple[UUID, ...]


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


class Tick(BaseModel):
    """When something last called the runner, and with which settings."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    seconds_ago: float | None  # None: never
    is_any_due: StrictBool
    system_user_id: UUID | None
    system_user_roles: tuple[StrictStr, ...] | None
    max_lateness_minutes: int | None


class Facts(BaseModel):
    """What the database found. None: it could not look, see `errors` of the answer, or the fact itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: StrictStr | None = None  # the number of the last migration
    functions: tuple[StrictStr, ...] | None = None  # that are gone, or have another body than the migrations gave them
    requirements: tuple[Requirement, ...] | None = None  # what the tables lack
    grants: tuple[Grant, ...] | None = None  # that are missing
    writing: StrictStr | None = None  # the SQLSTATE with which the database refuses to write
    locks: tuple[Blocker, ...] | None = None
    indexes: tuple[MissingIndex, ...] | None = None
    system_user: StrictBool | None = None  # it is a profile
    memberships: Lack | None = None  # organizations with scheduled campaigns
    schedules: Lack | None = None  # campaigns that are scheduled without a time,
    tenants: Lack | None = None  # without an organization,
    closed: Lack | None = None  # deleted, or of a closed organization,
    recipients: Lack | None = None  # or with recipients that no launch wrote
    launches: Lack | None = None  # campaigns that were launched in the last week with something to look at
    audiences: Audiences | None = None
    tick: Tick | None = None


class DoctorAnswer(BaseModel):
    """The answer of `campaign_runner_doctor`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    clock: float  # the database's time, in seconds since 1970
    facts: Facts
    errors: dict[StrictStr, StrictStr]  # SQLSTATE of each look that failed

"""What crosses the HTTP and RPC borders.

RunResult is the HTTP answer of a run; that of `campaign_runner_report` has warnings beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, model_validator


class CampaignOutcome(BaseModel):
    """One campaign that a run moved to `sending` (or, in a dry run, would move)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign_id: UUID
    organization_id: UUID
    name: StrictStr
    previous_status: Literal["scheduled"]
    new_status: Literal["sending"]
    recipients_generated: StrictBool
    recipient_count: int = Field(ge=0, strict=True)


class CampaignError(BaseModel):
    """One campaign that a run tried and could not launch, with a reason that a campaign manager understands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign_id: UUID
    error: StrictStr


class RunResult(BaseModel):
    """What a run did: the body of the HTTP answer, with exactly these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processed_count: int = Field(ge=0, strict=True)
    campaigns: tuple[CampaignOutcome, ...]
    errors: tuple[CampaignError, ...]

    @classmethod
    def of(cls, campaigns: Iterable[CampaignOutcome] = (), errors: Iterable[CampaignError] = ()) -> Self:
        """The result that consists of these."""
        launched = tuple(campaigns)
        return cls(processed_count=len(launched), campaigns=launched, errors=tuple(errors))

    @model_validator(mode="after")
    def _count_is_the_number_of_campaigns(self) -> Self:
        if self.processed_count != len(self.campaigns):
            raise ValueError("processed_count is not the number of campaigns")
        return self


class LaunchWarning(BaseModel):
    """What should be looked at of a campaign that a run launched."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaign_id: UUID
    recipients_before: int | None  # where recipients were there before the launch: how many,
    pending_before: int | None  # and how many of them were pending
    exclude_tags: tuple[StrictStr, ...]  # the names in the rules that kept no contact out
    exclude_countries: tuple[StrictStr, ...]

    def sentences(self) -> list[str]:
        """For a log: numbers alone, since names may be of people."""
        said = []
        if self.pending_before == 0:
            before = f"{self.recipients_before:,} recipients that were there before"
            said.append(f"It was launched with {before}, none of them pending.")
        for rule, names in (("exclude_tags", self.exclude_tags), ("exclude_countries", self.exclude_countries)):
            if names:
                said.append(f"{len(names):,} names in {rule} kept no contact out: `python -m runner history` has them.")
        return said


class ReportResult(RunResult):
    """The result of `campaign_runner_report`: the result of the run, warnings for the log, and names for a person.

    `names`: of the campaigns in `errors`, as far as they have one.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    warnings: tuple[LaunchWarning, ...] = ()
    names: dict[UUID, StrictStr] = Field(default_factory=dict)

    @property
    def result(self) -> RunResult:
        """The result alone."""
        return RunResult.of(self.campaigns, self.errors)


class StepResult(BaseModel):
    """The answer of `campaign_runner_step`. Keys that a newer database adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    work_left: StrictBool  # something is free to be worked on now
    laid_out: StrictBool  # the step has laid out chunks, which other steps can take
    busy: int = Field(ge=0, strict=True)  # due campaigns that another transaction holds
    contacts: int = Field(ge=0, strict=True)  # scanned by this step
    reconciled: int = Field(ge=0, strict=True)  # those of them whose recipients were written before
    launched: int = Field(ge=0, strict=True)
    failed: int = Field(ge=0, strict=True)
    locked: int = Field(ge=0, strict=True)  # of those that failed, on a lock that has lasted for over a minute
    timed_out: StrictBool  # a statement timeout hit one campaign, and was undone for it alone
    unrecorded: StrictStr | None  # the SQLSTATE with which the database refused to record a failure
    to_report: StrictBool  # this run has outcomes in the ledger

    @property
    def nothing_left(self) -> bool:
        """No campaign is due, not even one that somebody else holds."""
        return not self.work_left and self.busy == 0


class PreviewPage(BaseModel):
    """One page of `campaign_runner_preview`; `cursor` asks for the next one, None: this was the last."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    campaigns: tuple[CampaignOutcome, ...]
    errors: tuple[CampaignError, ...]
    cursor: StrictStr | None


@dataclass(frozen=True)
class RunReport:
    """A run that is over.

    `complete` is False when it ended with work left, which the next run goes on with.
    """

    run_id: UUID
    result: RunResult
    complete: bool
    warnings: tuple[LaunchWarning, ...] = ()
    names: Mapping[UUID, str] = field(default_factory=dict)  # of the campaigns in its errors, where they are known

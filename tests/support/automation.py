"""A run as the function makes it, over one connection of the service role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
from pydantic import BaseModel

from runner.answers import CampaignPreviewAnswer, DoctorAnswer, History
from runner.health import Health

STEPS_AT_MOST = 2000


class Automation:
    """A run with an id of its own: steps until no work is left, then the report."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        system_user: UUID,
        *,
        organization: UUID | None = None,
        roles: Sequence[str] = ("member",),
        max_rows: int = 20_000,
        max_lateness_minutes: int | None = None,
    ) -> None:
        self.connection = connection
        self.run_id = uuid4()
        self.system_user = system_user
        self.organization = organization
        self.roles = list(roles)
        self.max_rows = max_rows
        self.max_lateness_minutes = max_lateness_minutes

    def step(self) -> dict[str, Any]:
        """One step."""
        return self._call(
            "select public.campaign_runner_step(%s, %s, %s, %s, %s, %s)",
            *(self.run_id, self.organization, self.system_user, self.roles, self.max_rows, self.max_lateness_minutes),
        )

    def first_slice(self) -> dict[str, Any]:
        """Two steps on a campaign that does not fit in one: the first lays out slices, the second writes the first."""
        self.step()
        return self.step()

    def finish(self) -> Self:
        """Steps until none is left to do. A campaign that was found busy is asked for again."""
        for _ in range(STEPS_AT_MOST):
            answer = self.step()
            if not answer["work_left"] and not answer["busy"]:
                return self
        raise AssertionError(f"there is work left after {STEPS_AT_MOST} steps")

    def report(self) -> dict[str, Any]:
        """The report, which closes the run."""
        return self._call("select public.campaign_runner_report(%s)", self.run_id)

    def launch(self) -> dict[str, Any]:
        """The whole run."""
        return self.finish().report()

    def retry(self, campaign: UUID | None = None) -> list[dict[str, Any]]:
        """Free this campaign, or all that wait. Returns them."""
        freed: list[dict[str, Any]] = self._call("select public.campaign_runner_retry(%s)", campaign)["freed"]
        return freed

    def health(self) -> dict[str, Any]:
        """How the runner is, in the eyes of a monitor."""
        statement = "select public.campaign_runner_health(%s, %s, %s)"
        return self._read(Health, statement, self.organization, self.system_user, self.roles)

    def preview(self) -> dict[str, Any]:
        """The dry run: what a report would say."""
        campaigns: list[Any] = []
        errors: list[Any] = []
        cursor: str | None = None
        for _ in range(STEPS_AT_MOST):
            answer = self._call(
                "select public.campaign_runner_preview(%s, %s, %s, %s, %s, %s)",
                *(self.organization, self.system_user, self.roles, self.max_rows, self.max_lateness_minutes),
                cursor,
            )
            campaigns += answer["campaigns"]
            errors += answer["errors"]
            cursor = answer["cursor"]
            if cursor is None:
                return {"processed_count": len(campaigns), "campaigns": campaigns, "errors": errors}
        raise AssertionError(f"there is work left after {STEPS_AT_MOST} calls")

    def preview_campaign(self, campaign: UUID) -> dict[str, Any]:
        """Whom one campaign would have as recipients."""
        cursor: str | None = None
        for _ in range(STEPS_AT_MOST):
            answer = self._read(
                CampaignPreviewAnswer,
                "select public.campaign_runner_preview_campaign(%s, %s, %s, %s, %s, %s)",
                *(campaign, self.system_user, self.roles, self.max_rows, self.max_lateness_minutes, cursor),
            )
            cursor = answer["cursor"]
            if cursor is None:
                preview: dict[str, Any] = answer["preview"]
                return preview
        raise AssertionError(f"there is work left after {STEPS_AT_MOST} calls")

    def history(self, campaign: UUID, *, limit: int = 20) -> dict[str, Any]:
        """The launches of a campaign."""
        return self._read(History, "select public.campaign_runner_history(%s, %s)", campaign, limit)

    def doctor(self) -> dict[str, Any]:
        """What the database finds when the doctor asks it."""
        return self._read(DoctorAnswer, "select public.campaign_runner_doctor(%s, %s)", self.system_user, self.roles)

    def _read(self, model: type[BaseModel], statement: str, *values: Any) -> dict[str, Any]:
        """The answer as it came, of which the program has to be able to make this."""
        answer = self._call(statement, *values)
        model.model_validate(answer)
        return answer

    def _call(self, statement: str, *values: Any) -> dict[str, Any]:
        [(answer,)] = self.connection.execute(statement.encode(), values).fetchall()
        assert isinstance(answer, dict)
        return answer

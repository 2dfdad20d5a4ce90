"""The calls of a run, as the function makes them, over one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from pydantic import BaseModel

from runner.commands.campaigns import CampaignList
from runner.commands.findings.facts import DoctorResult
from runner.commands.history import History
from runner.commands.preview import CampaignPreviewPage
from runner.health import Health

STEPS_AT_MOST = 2000
WAITING = """
do $$ begin
    for attempt in 1..3000 loop
        if (
            select count(*) >= {sessions} from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'
        ) then return; end if;
        perform pg_stat_clear_snapshot();
        perform pg_sleep(0.01);
    end loop;
    raise 'no session waits for a lock';
end $$
"""


class Automation:
    """A run: steps until no work is left, then the report.

    On a connection in autocommit each call is a transaction. On others each call ends with a commit, but for a step
    without `commit`. A report and a retry need no system user.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        system_user: UUID | None = None,
        *,
        run_id: UUID | None = None,
        organization: UUID | None = None,
        roles: Sequence[str] = ("member",),
        max_rows: int = 20_000,
        max_lateness_minutes: int | None = None,
    ) -> None:
        self.connection = connection
        self.system_user = system_user
        self.run_id = run_id or uuid4()
        self.organization = organization
        self.roles = list(roles)
        self.max_rows = max_rows
        self.max_lateness_minutes = max_lateness_minutes
        self.warnings: list[dict[str, Any]] = []

    def step(self, *, max_rows: int | None = None, commit: bool = True) -> dict[str, Any]:
        """One step. Without `commit` its transaction stays open."""
        return self._call(
            "step",
            commit=commit,
            p_run_id=self.run_id,
            p_organization_id=self.organization,
            p_system_user_id=self.system_user,
            p_system_user_roles=self.roles,
            p_max_rows=max_rows or self.max_rows,
            p_max_lateness_minutes=self.max_lateness_minutes,
        )

    def first_chunk(self, *, max_rows: int | None = None) -> dict[str, Any]:
        """Two steps on a campaign that does not fit in one: the first lays out chunks, the second syncs the first."""
        self.step(max_rows=max_rows)
        return self.step(max_rows=max_rows)

    def finish(self, *, max_rows: int | None = None) -> Self:
        """Steps until none is left to do. A campaign that was found busy is asked for again."""
        for _ in range(STEPS_AT_MOST):
            answer = self.step(max_rows=max_rows)
            if not answer["work_left"] and not answer["busy"]:
                return self
        raise AssertionError(f"there is work left after {STEPS_AT_MOST} steps")

    def report(self) -> dict[str, Any]:
        """The report, which closes the run. Its warnings, for the log, and names, for a person, are kept aside."""
        report = self._call("report", p_run_id=self.run_id)
        self.warnings = report.pop("warnings")
        self.names = report.pop("names")
        return report

    def launch(self) -> dict[str, Any]:
        """The whole run."""
        return self.finish().report()

    def retry(self, campaign: UUID | None = None) -> list[dict[str, Any]]:
        """Free this campaign, or all that wait. Returns them."""
        freed: list[dict[str, Any]] = self._call("retry", p_campaign_id=campaign)["freed"]
        return freed

    def health(self, *, with_details: bool = False) -> dict[str, Any]:
        """How the runner is, in the eyes of a monitor; or, with details, of an operator."""
        return self._read(
            Health,
            "health",
            p_organization_id=self.organization,
            p_system_user_id=self.system_user,
            p_system_user_roles=self.roles,
            p_with_details=with_details,
        )

    def preview(self) -> dict[str, Any]:
        """The dry run: what a report would say."""
        campaigns: list[Any] = []
        errors: list[Any] = []
        cursor: str | None = None
        for _ in range(STEPS_AT_MOST):
            answer = self._call(
                "preview",
                p_organization_id=self.organization,
                p_system_user_id=self.system_user,
                p_system_user_roles=self.roles,
                p_max_rows=self.max_rows,
                p_max_lateness_minutes=self.max_lateness_minutes,
                p_cursor=cursor,
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
            answer = self.preview_page(campaign, cursor)
            cursor = answer["cursor"]
            if cursor is None:
                preview: dict[str, Any] = answer["preview"]
                return preview
        raise AssertionError(f"there is work left after {STEPS_AT_MOST} calls")

    def preview_page(self, campaign: UUID, cursor: str | None) -> dict[str, Any]:
        """One page of the preview of a campaign."""
        return self._read(
            CampaignPreviewPage,
            "preview_campaign",
            p_campaign_id=campaign,
            p_system_user_id=self.system_user,
            p_system_user_roles=self.roles,
            p_max_rows=self.max_rows,
            p_max_lateness_minutes=self.max_lateness_minutes,
            p_cursor=cursor,
        )

    def history(self, campaign: UUID, *, limit: int = 20) -> dict[str, Any]:
        """The launches of a campaign."""
        return self._read(History, "history", p_campaign_id=campaign, p_max_launches=limit)

    def campaigns(self, *, limit: int = 20) -> dict[str, Any]:
        """The campaigns of the organization, or of all."""
        return self._read(
            CampaignList, "campaigns", p_organization_id=self.organization, p_status=None, p_max_campaigns=limit
        )

    def doctor(self) -> dict[str, Any]:
        """What the database finds when the doctor asks it."""
        return self._read(DoctorResult, "doctor", p_system_user_id=self.system_user, p_system_user_roles=self.roles)

    def commit(self) -> None:
        """Commit what the last step did."""
        if not self.connection.autocommit:
            self.connection.commit()

    def rollback(self) -> None:
        """Undo what the last step did, as a crash would."""
        if not self.connection.autocommit:
            self.connection.rollback()

    @contextmanager
    def waiting(
        self, call: Callable[[], dict[str, Any]], *, sessions: int = 1
    ) -> Iterator[Callable[[], dict[str, Any]]]:
        """Make a call of this run in a thread. The block begins when so many sessions wait for a lock."""
        with ThreadPoolExecutor(1) as thread:
            with psycopg.connect(self.connection.info.dsn, password=self.connection.info.password) as observer:
                answer = thread.submit(call)
                observer.execute(WAITING.format(sessions=sessions).encode())
            yield answer.result

    def _read(self, model: type[BaseModel], function: str, **arguments: Any) -> dict[str, Any]:
        """The answer as it came, of which the program has to be able to make this."""
        answer = self._call(function, **arguments)
        model.model_validate(answer)
        return answer

    def _call(self, function: str, *, commit: bool = True, **arguments: Any) -> dict[str, Any]:
        statement = sql.SQL("select {}({})").format(
            sql.Identifier("public", f"campaign_runner_{function}"),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in arguments
            ),
        )
        try:
            [(answer,)] = self.connection.execute(statement, arguments).fetchall()
        except psycopg.Error:
            self.rollback()
            raise
        if commit:
            self.commit()
        assert isinstance(answer, dict)
        return answer

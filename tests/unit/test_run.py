from __future__ import annotations

import json
import logging
import threading
from typing import Any
from uuid import UUID

import httpx
import pytest

from runner.database import Database
from runner.errors import (
    DatabaseRefused,
    Impaired,
    InvalidProject,
    Nonsense,
    OrganizationNotFound,
    RunnerError,
    StatementTimeout,
    Unreachable,
)
from runner.run.results import RunReport
from runner.run.run import Run
from runner.run.shutdown import Shutdown
from runner.settings import HttpSettings
from tests.support.fake_api import USER, FakeApi, FakeClock, Reply, failure, outcome, page, refusal, report, step

RUN = UUID("55555555-5555-4555-8555-555555555555")


@pytest.fixture
def shutdown() -> Shutdown:
    return Shutdown()


@pytest.fixture
def run(environ: pytest.MonkeyPatch, api: FakeApi, clock: FakeClock, shutdown: Shutdown) -> Any:
    """Execute one run, with one worker unless asked otherwise."""

    def execute(*, workers: int = 1) -> RunReport:
        environ.setenv("RUN_CONCURRENCY", str(workers))
        settings = HttpSettings.load()
        made = Run(Database(settings), settings, run_id=RUN, organization_id=None, clock=clock, shutdown=shutdown)
        return made.execute()

    return execute


def takes(clock: FakeClock, seconds: float) -> Any:
    """Every step takes this long."""
    return lambda name, parameters: clock.advance(seconds) if name == "step" else None


class TestIdle:
    def test_an_idle_tick_is_one_request(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.on("step", step())
        result = run()
        assert api.names() == ["step"]
        assert clock.waits == []
        assert result.complete
        assert result.result.model_dump() == {"processed_count": 0, "campaigns": (), "errors": ()}

    def test_a_step_that_did_something_is_reported(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(launched=1, to_report=True))
        api.on("report", report(outcome()))
        result = run()
        assert api.names() == ["step", "report"]
        assert result.result.processed_count == 1
        assert result.complete

    def test_a_lost_answer_is_reported_although_the_repeat_found_nothing(self, api: FakeApi, run: Any) -> None:
        api.on("step", httpx.ReadTimeout(""), step())
        api.on("report", report(outcome()))
        assert run().result.processed_count == 1
        assert api.names() == ["step", "step", "report"]


class TestSteps:
    def test_steps_follow_at_once_while_work_is_left(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.on("step", step(work_left=True), step(work_left=True), step(to_report=True))
        api.on("report", report(outcome()))
        assert run().complete
        assert api.names() == ["step", "step", "step", "report"]
        assert clock.waits == []

    def test_one_run_id_names_every_call(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(work_left=True), step())
        api.on("report", report())
        run()
        assert {parameters["p_run_id"] for _, parameters in api.calls} == {str(RUN)}

    def test_a_step_takes_the_settings_of_the_run(
        self, environ: pytest.MonkeyPatch, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        environ.setenv("SYSTEM_USER_ROLES", "editor")
        environ.setenv("MAX_LATENESS_MINUTES", "90")
        api.on("step", step())
        run()
        assert api.asked("step") == [
            {
                "p_run_id": str(RUN),
                "p_organization_id": None,
                "p_system_user_id": USER,
                "p_system_user_roles": ["editor"],
                "p_max_rows": 20_000,
                "p_max_lateness_minutes": 90,
                "p_interface": 1,
            }
        ]

    def test_quick_full_steps_grow(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.before = takes(clock, 0.5)
        api.on("step", step(work_left=True, contacts=20_000), step(work_left=True, contacts=80_000), step())
        api.on("report", report())
        run()
        assert [asked["p_max_rows"] for asked in api.asked("step")] == [20_000, 80_000, 320_000]

    def test_contacts_that_are_judged_again_say_nothing_about_the_next_that_are_written(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        api.before = takes(clock, 0.1)
        api.on("step", step(work_left=True, contacts=80_000, reconciled=80_000), step())
        api.on("report", report())
        run()
        assert [asked["p_max_rows"] for asked in api.asked("step")] == [20_000, 20_000]

    @pytest.mark.parametrize(
        "slow", [refusal("57014", 500), step(work_left=True, timed_out=True)], ids=["raised", "told"]
    )
    def test_a_statement_timeout_halves_the_step_and_the_run_goes_on(self, api: FakeApi, run: Any, slow: Reply) -> None:
        api.on("step", slow, slow, step(to_report=True))
        api.on("report", report(outcome()))
        assert run().result.processed_count == 1
        assert [asked["p_max_rows"] for asked in api.asked("step")] == [20_000, 10_000, 5_000]

    def test_the_smallest_step_is_tried_until_the_budget_ends(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.before = takes(clock, 8.0)
        api.on("step", refusal("57014", 500))
        api.on("report", report())
        with pytest.raises(StatementTimeout):
            run()
        asked = [each["p_max_rows"] for each in api.asked("step")]
        assert asked[:5] == [20_000, 10_000, 5_000, 2_500, 1_250]
        assert 1000 + 30 < clock.now() <= 1000 + 50 + 8

    def test_what_was_launched_before_the_timeouts_is_answered(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.before = takes(clock, 8.0)
        api.on("step", step(work_left=True, to_report=True), refusal("57014", 500))
        api.on("report", report(outcome()))
        result = run()
        assert (result.result.processed_count, result.complete) == (1, False)


class TestBudget:
    def test_a_run_ends_within_its_budget_and_says_that_work_is_left(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        api.before = takes(clock, 3.0)
        api.on("step", step(work_left=True))
        api.on("report", report(outcome()))
        result = run()
        assert result.complete is False
        assert result.result.processed_count == 1
        assert 1000 + 40 < clock.now() <= 1000 + 50

    def test_a_step_is_not_begun_when_the_last_one_took_longer_than_what_is_left(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        api.before = takes(clock, 30.0)
        api.on("step", step(work_left=True))
        api.on("report", report())
        assert not run().complete
        assert api.names() == ["step", "report"]

    def test_an_answer_is_waited_for_no_longer_than_the_budget_and_one_step(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        seconds = [4.0] * 10 + [8.0]  # the last one begins after 40 s and ends after 48
        api.before = lambda name, parameters: clock.advance(seconds.pop(0)) if name == "step" else None
        api.on("step", step(work_left=True))
        api.on("report", report())
        run()
        reads = [request.extensions["timeout"]["read"] for request in api.requests]
        assert reads == [15.0] * 11 + [12.0]

    def test_work_may_be_left_in_a_run_that_ends_with_nothing_launched(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        api.before = takes(clock, 10.0)
        api.on("step", step(work_left=True, contacts=20_000))
        api.on("report", report())
        assert run() == RunReport(RUN, run().result, complete=False)


class TestHeldCampaigns:
    def test_an_editor_is_waited_for_a_little_with_growing_jittered_waits(
        self, api: FakeApi, run: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        logging.getLogger("runner").addHandler(caplog.handler)
        api.on("step", step(busy=2))
        api.on("report", report())
        result = run()
        assert result.complete
        assert clock.waits[:5] == [0.1, 0.2, 0.25, 0.25, 0.25]
        assert 5.0 <= sum(clock.waits) < 6.1
        assert api.names()[-1] == "report"
        assert "2 due campaigns are held by others" in caplog.text

    def test_what_becomes_free_is_taken(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.on("step", step(busy=1), step(busy=1), step(work_left=True), step(launched=1, to_report=True))
        api.on("report", report(outcome()))
        result = run()
        assert result.result.processed_count == 1
        assert clock.waits == [0.1, 0.2]

    def test_what_becomes_free_is_taken_by_all_workers(self, api: FakeApi, run: Any) -> None:
        together, seen = threading.Barrier(3), []

        def all_at_once(name: str, parameters: dict[str, Any]) -> None:
            seen.append(threading.get_ident())
            if 2 < len(seen) <= 5:
                together.wait(5)

        api.before = all_at_once
        api.on("step", step(busy=1), step(work_left=True), step())
        api.on("report", report())
        assert run(workers=3).complete
        assert len(set(seen[2:5])) == 3

    def test_a_worker_that_waits_asks_again_as_soon_as_another_has_laid_out_work(
        self, api: FakeApi, run: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a step does that ends the chunks of one pass, and lays out those of the next."""
        waits, together = threading.Event(), threading.Barrier(2)

        def wait(news: threading.Event, seconds: float) -> bool:
            waits.set()
            return news.wait(5)

        def one_works_while_the_other_waits() -> dict[str, Any]:
            assert waits.wait(5)
            return step(work_left=True, laid_out=True)

        def both_ask() -> dict[str, Any]:
            together.wait(2)
            return step()

        monkeypatch.setattr(clock, "wait", wait)
        api.on("step", step(work_left=True), step(busy=1), one_works_while_the_other_waits, both_ask)
        api.on("report", report())
        assert run(workers=2).complete

    def test_the_patience_begins_anew_after_work(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        held: list[Reply] = [step(busy=1)] * 12
        api.on("step", *held, step(work_left=True), *held, step(work_left=True), *held, step())
        api.on("report", report())
        assert run().complete
        assert sum(clock.waits) > 6
        assert len(api.asked("step")) == 39

    def test_while_our_own_workers_work_the_others_keep_asking(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        """One worker has a step of 20 s, in which the other finds the campaign held, again and again."""
        free, first = threading.Event(), threading.Lock()

        def one_works_while_the_other_asks() -> dict[str, Any]:
            if first.acquire(blocking=False):
                assert free.wait(5)
                return step(to_report=True)
            if clock.now() > 1020:
                free.set()
            return step() if free.is_set() else step(busy=1)

        api.on("step", step(work_left=True), one_works_while_the_other_asks)
        api.on("report", report(outcome()))
        result = run(workers=2)
        assert result.complete
        assert result.result.processed_count == 1
        assert clock.now() > 1020

    def test_a_worker_that_waited_and_found_work_is_at_work_from_its_call_on(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        """Both workers find the campaign held; then one gets it, in a step of 20 s. The other does not give it up."""
        free, first = threading.Event(), threading.Lock()

        def one_works_while_the_other_asks() -> dict[str, Any]:
            if first.acquire(blocking=False):
                assert free.wait(5)
                return step(to_report=True)
            if clock.now() > 1020:
                free.set()
            return step() if free.is_set() else step(busy=1)

        api.on("step", step(work_left=True), step(busy=1), step(busy=1), one_works_while_the_other_asks)
        api.on("report", report(outcome()))
        assert run(workers=2).complete
        assert clock.now() > 1020

    def test_the_patience_begins_when_the_last_worker_ceases_to_work(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        free, first, ended = threading.Event(), threading.Lock(), []

        def another_run_takes_over() -> dict[str, Any]:
            if first.acquire(blocking=False):
                assert free.wait(5)
                ended.append(clock.now())
            elif clock.now() > 1020:
                free.set()
            return step(busy=1)

        api.on("step", step(work_left=True), another_run_takes_over)
        api.on("report", report())
        assert run(workers=2).complete
        assert ended[0] + 5 <= clock.now() < ended[0] + 9

    def test_what_one_worker_found_finished_does_not_keep_another_from_waiting(self, api: FakeApi, run: Any) -> None:
        """One worker is told that nothing is left; the other then finds work, and after it a held campaign."""
        me: list[int] = []
        finished, turn = threading.Event(), threading.Lock()
        # Many steps of work, so that the first worker has left long before the campaign is held.
        later = [step(work_left=True)] * 50 + [step(busy=1), step(busy=1), step(to_report=True)]

        def one_finishes_first() -> dict[str, Any]:
            with turn:
                me.append(threading.get_ident())
            if me[0] != threading.get_ident():
                finished.set()
                return step()
            assert finished.wait(5)
            return later.pop(0)

        api.on("step", step(work_left=True), one_finishes_first)
        api.on("report", report(outcome()))
        assert run(workers=2).complete
        assert later == []


class TestRetries:
    @pytest.mark.parametrize(
        "passing",
        [
            httpx.ConnectError(""),
            httpx.RemoteProtocolError(""),
            refusal("40P01", 500),
            refusal("55P03", 500),
            page(524),
        ],
        ids=["connect", "dropped", "deadlock", "lock", "html"],
    )
    def test_what_passes_is_tried_again_with_growing_waits(
        self, api: FakeApi, run: Any, clock: FakeClock, passing: Reply
    ) -> None:
        api.on("step", passing, passing, passing, step(to_report=True))
        api.on("report", report(outcome()))
        assert run().result.processed_count == 1
        assert clock.waits == [0.2, 0.4, 0.8]

    def test_a_database_that_stays_away_is_an_error_after_some_seconds(
        self, api: FakeApi, run: Any, clock: FakeClock
    ) -> None:
        api.on("step", httpx.ConnectError(""))
        api.on("report", httpx.ConnectError(""))
        with pytest.raises(Unreachable):
            run()
        assert 1010 < clock.now() < 1013
        assert api.names()[-1] == "report"
        assert api.names().count("report") == 1

    def test_why_the_run_ended_says_more_than_that_the_report_failed_too(self, api: FakeApi, run: Any) -> None:
        api.on("step", httpx.ConnectError(""))
        api.on("report", {"ok": True})
        with pytest.raises(Unreachable):
            run()

    def test_a_missing_report_says_more_than_why_the_steps_ended(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(work_left=True, to_report=True), httpx.ConnectError(""))
        api.on("report", {"ok": True})
        with pytest.raises(Nonsense):
            run()

    def test_nonsense_is_an_error_after_retries(self, api: FakeApi, run: Any) -> None:
        api.on("step", {"ok": True})
        api.on("report", report())
        with pytest.raises(Nonsense):
            run()
        assert len(api.asked("step")) > 3

    def test_what_was_launched_before_the_connection_broke_is_answered(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(work_left=True, to_report=True), httpx.ConnectError(""))
        api.on("report", report(outcome()))
        result = run()
        assert result.result.processed_count == 1
        assert not result.complete

    def test_what_a_lost_step_launched_is_answered_although_no_step_ever_answered(self, api: FakeApi, run: Any) -> None:
        api.on("step", httpx.ReadTimeout(""))
        api.on("report", report(outcome()))
        result = run()
        assert result.result.processed_count == 1
        assert not result.complete

    def test_headway_without_a_launch_is_no_error(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(work_left=True, contacts=20_000), page(502))
        api.on("report", report())
        result = run()
        assert result.result.processed_count == 0
        assert not result.complete

    def test_the_report_is_tried_again_while_steps_still_run(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.on("step", step(to_report=True))
        api.on("report", refusal("55P03", 500), httpx.ReadError(""), report(outcome()))
        assert run().result.processed_count == 1
        assert clock.waits == [0.2, 0.4]

    def test_no_short_list_is_answered_when_the_report_fails(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(launched=1, to_report=True))
        api.on("report", refusal("55P03", 500))
        with pytest.raises(Impaired, match="55P03"):
            run()

    def test_a_report_of_another_shape_is_an_error(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(launched=1, to_report=True))
        api.on("report", report(outcome()) | {"processed_count": 7})
        with pytest.raises(Nonsense):
            run()

    def test_one_worker_that_fails_does_not_end_the_others(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        """One of two workers is refused with 429 until it gives up; the other goes on until nothing is left."""
        gave_up = threading.Event()
        refused: list[int] = []
        turn = threading.Lock()

        def one_is_refused() -> dict[str, Any]:
            me = threading.get_ident()
            with turn:
                if not refused:
                    refused.append(me)
            if refused == [me]:
                if clock.now() > 1009:
                    gave_up.set()
                clock.advance(0.5)
                raise httpx.ConnectError("")
            return step(work_left=not gave_up.wait(0.01), contacts=1, to_report=True)

        api.on("step", step(work_left=True), one_is_refused)
        api.on("report", report(outcome()))
        result = run(workers=2)
        assert gave_up.is_set()
        assert result.result.processed_count == 1
        assert result.complete


class TestFatalErrors:
    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (refusal("CR404", 404), OrganizationNotFound),
            (refusal("CR500", 500), InvalidProject),
            (refusal("PGRST202", 404), InvalidProject),
            (refusal(None, 401), InvalidProject),
            (refusal("XX000", 500), DatabaseRefused),
        ],
        ids=["organization", "system user", "migrations", "key", "bug"],
    )
    def test_a_refused_first_step_is_the_only_request(
        self, api: FakeApi, run: Any, clock: FakeClock, reply: Reply, kind: type[RunnerError]
    ) -> None:
        api.on("step", reply)
        with pytest.raises(kind):
            run()
        assert api.names() == ["step"]
        assert clock.waits == []

    def test_what_was_launched_before_the_refusal_is_answered(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(work_left=True, to_report=True), refusal("CR500", 500))
        api.on("report", report(outcome()))
        result = run()
        assert result.result.processed_count == 1
        assert not result.complete

    def test_a_refusal_with_nothing_launched_is_an_error(self, api: FakeApi, run: Any) -> None:
        api.on("step", step(work_left=True, contacts=5), refusal("CR500", 500))
        api.on("report", report())
        with pytest.raises(InvalidProject):
            run()

    def test_a_refusal_after_a_lost_answer_is_an_error_unless_that_launched_something(
        self, api: FakeApi, run: Any
    ) -> None:
        api.on("step", httpx.ReadTimeout(""), refusal("CR404", 404))
        api.on("report", report())
        with pytest.raises(OrganizationNotFound):
            run()
        assert api.names() == ["step", "step", "report"]

    def test_a_run_that_was_refused_is_not_complete_although_a_worker_found_nothing_left(
        self, api: FakeApi, run: Any
    ) -> None:
        finished, first = threading.Event(), threading.Lock()

        def one_is_refused_last() -> dict[str, Any]:
            if first.acquire(blocking=False):
                assert finished.wait(5)
                raise OrganizationNotFound  # as the database module would
            finished.set()
            return step(to_report=True)

        api.on("step", step(work_left=True), one_is_refused_last)
        api.on("report", report(outcome()))
        result = run(workers=2)
        assert result.result.processed_count == 1
        assert not result.complete

    def test_a_refusal_stops_all_workers(self, api: FakeApi, run: Any) -> None:
        turn = threading.Lock()

        def one_is_refused() -> dict[str, Any]:
            if turn.acquire(blocking=False):
                raise OrganizationNotFound  # as the database module would
            return step(work_left=True)

        api.on("step", step(work_left=True), one_is_refused)
        api.on("report", report())
        with pytest.raises(OrganizationNotFound):
            run(workers=4)

    def test_a_closed_run_stops_stepping_and_is_reported(self, api: FakeApi, run: Any, clock: FakeClock) -> None:
        api.on("step", step(work_left=True), refusal("CR409", 409))
        api.on("report", report(outcome()))
        result = run()
        assert api.names() == ["step", "step", "report"]
        assert result.result.processed_count == 1
        assert clock.waits == []

    def test_a_mistake_of_ours_ends_the_run_in_every_thread(self, api: FakeApi, run: Any) -> None:
        def broken() -> dict[str, Any]:
            raise KeyError("mistake")

        api.on("step", step(work_left=True), broken)
        with pytest.raises(KeyError, match="mistake"):
            run(workers=4)


class TestWorkers:
    def test_steps_run_side_by_side(self, api: FakeApi, run: Any) -> None:
        together = threading.Barrier(4)

        def meet() -> dict[str, Any]:
            together.wait(5)  # breaks, and with it the run, unless four steps are under way
            return step()

        api.on("step", step(work_left=True), meet)
        api.on("report", report())
        assert run(workers=4).complete
        assert len(api.asked("step")) == 5

    def test_the_first_step_runs_alone_in_the_calling_thread(self, api: FakeApi, run: Any) -> None:
        threads: list[int] = []
        api.before = lambda name, parameters: threads.append(threading.get_ident())
        api.on("step", step(work_left=True), step())
        api.on("report", report())
        run(workers=3)
        me = threading.get_ident()
        assert (threads[0], threads[-1]) == (me, me)
        assert me not in threads[1:-1]

    def test_the_log_of_a_worker_knows_its_run(
        self, api: FakeApi, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        logger = logging.getLogger("runner.test")
        api.before = lambda name, parameters: logger.warning("in %s", name)
        api.on("step", step(work_left=True), step())
        api.on("report", report())
        run(workers=3)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert [line["message"] for line in lines].count("in step") == 4
        assert {line["run_id"] for line in lines} == {str(RUN)}


class TestStop:
    def test_a_stop_lets_the_running_step_end_and_reports(self, api: FakeApi, run: Any, shutdown: Shutdown) -> None:
        def stopped_meanwhile() -> dict[str, Any]:
            shutdown.request()
            return step(work_left=True, to_report=True)

        api.on("step", stopped_meanwhile)
        api.on("report", report(outcome()))
        result = run()
        assert api.names() == ["step", "report"]
        assert result.result.processed_count == 1
        assert not result.complete

    def test_a_stop_ends_retries(self, api: FakeApi, run: Any, shutdown: Shutdown) -> None:
        shutdown.request()
        api.on("step", page(503))
        api.on("report", report())
        with pytest.raises(Unreachable):
            run()
        assert api.names() == ["step", "report"]


class TestLog:
    def test_an_idle_tick_logs_one_line(self, api: FakeApi, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
        api.on("step", step())
        run()
        (line,) = capsys.readouterr().err.splitlines()
        summary = json.loads(line)
        assert summary["severity"] == "INFO"
        assert summary["run_id"] == str(RUN)
        assert (summary["launched"], summary["failed"], summary["complete"], summary["steps"]) == (0, 0, True, 1)
        assert summary["duration_ms"] == 0

    def test_an_audience_of_nobody_and_a_failure_are_warnings(
        self, api: FakeApi, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.on("step", step(to_report=True))
        api.on("report", report(outcome(1, recipients=0), outcome(2), errors=(failure("Too many."),)))
        run()
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert [(line["severity"], line.get("campaign_id")) for line in lines] == [
            ("WARNING", outcome(1)["campaign_id"]),
            ("INFO", outcome(2)["campaign_id"]),
            ("WARNING", failure()["campaign_id"]),
            ("INFO", None),
        ]
        assert "Too many." in lines[2]["message"]
        assert "Campaign 1" not in str(lines)  # a name is row data

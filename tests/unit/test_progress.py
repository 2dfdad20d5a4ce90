"""The live progress of a run: who sees it, what it says, and that it never disturbs what else is written."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

import httpx
import pytest

from runner.commands import cli, progress
from runner.commands.progress import Screen, Speed, lines
from runner.health import Health
from runner.settings import Settings
from tests.support.fake_api import CAMPAIGN, ROW_DATA, FakeApi, health, report, step, stuck
from tests.unit.test_health import UNDER_WAY


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 10 lines."""
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((80, 10)))
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def under_way(**changes: Any) -> Health:
    return Health.model_validate(health(generating=stuck(**UNDER_WAY | changes)))


class TestWhoSeesIt:
    @pytest.fixture
    def shown(self, environ: pytest.MonkeyPatch, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> list[UUID | None]:
        """The organizations of which a progress was shown."""
        api.on("step", step())
        api.on("preview", {"campaigns": [], "errors": [], "cursor": None})
        api.on("health", health())
        shown = []

        @contextmanager
        def remember(settings: Settings, organization_id: UUID | None) -> Iterator[None]:
            shown.append(organization_id)
            yield

        monkeypatch.setattr(progress, "shown", remember)
        return shown

    def run(self, stderr: io.StringIO, *options: str) -> None:
        with patch.object(sys, "stderr", stderr):  # not in a fixture: pytest sets its own after that
            assert cli.main(["run", *options], standalone_mode=False) == 0

    def test_a_run_on_a_terminal_shows_it(self, terminal: Terminal, shown: list[UUID | None]) -> None:
        self.run(terminal, "--organization-id", CAMPAIGN)
        assert shown == [UUID(CAMPAIGN)]

    @pytest.mark.parametrize("option", ["--json", "--dry-run"])
    def test_other_kinds_of_a_run_do_not(self, terminal: Terminal, shown: list[UUID | None], option: str) -> None:
        self.run(terminal, option)
        assert shown == []

    def test_a_run_that_is_piped_does_not(self, shown: list[UUID | None]) -> None:
        self.run(io.StringIO())
        assert shown == []

    def test_a_terminal_that_cannot_move_its_cursor_does_not(
        self, terminal: Terminal, shown: list[UUID | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "dumb")
        self.run(terminal)
        assert shown == []


class TestLines:
    def test_a_campaign_shows_rows_rate_and_time_left(self) -> None:
        now = under_way()
        assert lines(now, {UUID(CAMPAIGN): 50_000.0}) == [
            " 45 % [####......]  11 s left  50,000/s  Spring sale  generating  450,000 of about 1,000,000 contacts"
            "  440,000 recipients",
            "0 due, 1 of them under way",
        ]

    def test_what_is_not_known_is_left_out(self) -> None:
        now = under_way(contacts_total=None, percent=None)
        assert lines(now, {})[0] == "Spring sale  generating  450,000 contacts  440,000 recipients"
        assert lines(now, {UUID(CAMPAIGN): 2.0})[0].startswith("2/s  Spring sale")

    def test_a_long_name_leaves_room_for_the_figures(self) -> None:
        assert "  " + "x" * 31 + "…  generating" in lines(under_way(name="x" * 33), {})[0]

    def test_nothing_under_way_is_nothing_to_see(self) -> None:
        assert lines(Health.model_validate(health()), {}) == []


class TestSpeed:
    def measured(self, *seen: tuple[float, str, int]) -> list[float | None]:
        speed = Speed()
        return [
            speed.measured(under_way(state=state, contacts_done=done), now).get(UUID(CAMPAIGN))
            for now, state, done in seen
        ]

    def test_it_is_that_of_the_present_pass_since_it_was_first_seen(self) -> None:
        seen = [(10.0, "generating", 100), (11.0, "generating", 100), (20.0, "generating", 600)]
        assert self.measured(*seen, (21.0, "reconciling", 100), (22.0, "reconciling", 300)) == [
            *(None, None, 50.0),
            *(None, 200.0),
        ]

    def test_a_pass_that_begins_again_is_measured_again(self) -> None:
        seen = [(0.0, "reconciling", 0), (10.0, "reconciling", 1000), (11.0, "reconciling", 0)]
        assert self.measured(*seen, (12.0, "reconciling", 10)) == [None, 100.0, None, 10.0]


class TestScreen:
    def test_lines_are_drawn_in_the_place_of_the_last_ones(self, terminal: Terminal) -> None:
        screen = Screen(terminal)
        screen.draw(["one", "two"])
        screen.draw(["three"])
        screen.close()
        assert terminal.getvalue() == (
            "\x1b[?7lone\ntwo\n\x1b[?7h" + "\x1b[2F\x1b[J" + "\x1b[?7lthree\n\x1b[?7h" + "\x1b[1F\x1b[J"
        )

    def test_what_is_written_stands_above_the_lines(self, terminal: Terminal) -> None:
        screen = Screen(terminal)
        screen.draw(["one"])
        print("a log line", file=screen)
        assert terminal.getvalue().endswith("\x1b[1F\x1b[Ja log line\n\x1b[?7lone\n\x1b[?7h")

    def test_a_line_that_is_not_whole_yet_is_not_mixed_with_others(self, terminal: Terminal) -> None:
        screen = Screen(terminal)
        screen.draw(["one"])
        screen.write("half")
        screen.draw(["two"])
        screen.write(" a line\n")
        assert terminal.getvalue().endswith("\x1b[1F\x1b[Jhalf a line\n\x1b[?7ltwo\n\x1b[?7h")

    def test_more_lines_than_the_terminal_has_leave_the_last_ones(self, terminal: Terminal) -> None:
        Screen(terminal).draw([f"<{n}>" for n in range(30)])
        assert "<21>" not in terminal.getvalue()
        assert all(f"<{n}>" in terminal.getvalue() for n in range(22, 30))

    def test_names_cannot_steer_the_terminal(self, terminal: Terminal) -> None:
        Screen(terminal).draw(["\x1b[2Jevil\r\n"])
        assert "?[2Jevil??\n" in terminal.getvalue()

    def test_nothing_is_drawn_on_a_closed_screen_but_what_is_written_arrives(self, terminal: Terminal) -> None:
        screen = Screen(terminal)
        screen.close()
        screen.draw(["one"])
        screen.write("a log line\n")
        assert terminal.getvalue() == "a log line\n"


class TestWatching:
    @pytest.fixture
    def watched(self, environ: pytest.MonkeyPatch, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
        monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.001)
        api.on("report", report())
        return api

    @contextmanager
    def watching(self, terminal: Terminal, api: FakeApi, *, calls: int) -> Iterator[None]:
        """Shows the progress there until the database was asked so often."""
        asked = threading.Semaphore(0)
        api.before = lambda name, parameters: asked.release()
        with patch.object(sys, "stderr", terminal):
            with progress.shown(Settings.load(), None):
                yield
                for _ in range(calls):
                    assert asked.acquire(timeout=30)
            assert sys.stderr is terminal

    def test_stderr_is_what_it_was_afterwards_and_the_thread_has_ended(
        self, terminal: Terminal, watched: FakeApi
    ) -> None:
        watched.on("health", health(generating=stuck(**UNDER_WAY)))
        threads = threading.active_count()
        with self.watching(terminal, watched, calls=3):
            assert sys.stderr is not terminal
        assert " 45 % [####......]  Spring sale" in terminal.getvalue()
        assert terminal.getvalue().endswith("\x1b[2F\x1b[J")
        assert threading.active_count() == threads

    def test_it_ends_with_a_run_that_fails(self, terminal: Terminal, watched: FakeApi) -> None:
        watched.on("health", health(generating=stuck(**UNDER_WAY)))
        threads = threading.active_count()
        with pytest.raises(KeyboardInterrupt), self.watching(terminal, watched, calls=3):
            raise KeyboardInterrupt
        assert threading.active_count() == threads

    def test_a_database_that_does_not_answer_is_asked_again_and_not_complained_of(
        self, terminal: Terminal, watched: FakeApi
    ) -> None:
        watched.on("health", httpx.ConnectError(ROW_DATA), health(generating=stuck(**UNDER_WAY)))
        with self.watching(terminal, watched, calls=3):
            pass
        assert "Spring sale" in terminal.getvalue()
        assert "Error" not in terminal.getvalue()
        assert "CANARY" not in terminal.getvalue()

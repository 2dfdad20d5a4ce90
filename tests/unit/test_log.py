from __future__ import annotations

import io
import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from runner import log
from runner.errors import DatabaseRefused
from runner.run.results import RunResult
from tests.support.fake_api import ROW_DATA, failure, outcome, report

logger = logging.getLogger("runner.test")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_is_one_json_object_in_the_form_of_cloud_logging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.configure()
    # pytest keeps a copy of each line, and cannot send half a character from one process to the other.
    monkeypatch.setattr(logging.getLogger("runner"), "propagate", False)
    logger.warning("two\nlines %s", "\u2028 \ud800", extra={"fields": {"campaign_id": 7}})
    (line,) = lines(capsys)
    assert line["severity"] == "WARNING"
    # As ASCII, since a report of half a character cannot be sent either.
    assert ascii(line["message"]) == ascii("two\nlines \u2028 \ud800")
    assert line["campaign_id"] == 7
    assert datetime.fromisoformat(line["time"]).tzinfo


def test_configuring_twice_logs_once_and_changes_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    log.configure("WARNING")
    logger.info("unheard")
    logger.warning("heard")
    assert [line["message"] for line in lines(capsys)] == ["heard"]


def test_the_root_logger_and_the_libraries_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(logging.getLogger().handlers)
    log.configure("DEBUG")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com")
    assert lines(capsys) == []
    assert logging.getLogger().handlers == before


def test_bound_fields_nest_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    with log.bound(run_id=1, organization_id=None):
        with log.bound(dry_run=True):
            logger.info("inner")
        logger.info("outer")
    logger.info("after")
    inner, outer, after = lines(capsys)
    assert (inner["run_id"], inner["dry_run"]) == (1, True)
    assert outer["run_id"] == 1
    assert "dry_run" not in outer
    assert "organization_id" not in outer
    assert "run_id" not in after


def test_a_foreign_exception_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    try:
        try:
            raise ValueError(ROW_DATA)
        except ValueError as error:
            raise DatabaseRefused("Our own words.") from error
    except DatabaseRefused:
        logger.exception("Failed.")
    (line,) = lines(capsys)
    assert "CANARY-ROW" not in json.dumps(line).replace("raise ValueError(ROW_DATA)", "")
    assert "builtins.ValueError" in line["stack_trace"]
    assert "DatabaseRefused: Our own words." in line["stack_trace"]
    assert "test_log.py" in line["stack_trace"]
    assert line["stack_trace"].startswith("Traceback (most recent call last)")


def test_causes_that_go_in_a_circle_are_logged_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    try:
        first, second = KeyError(), ValueError()
        first.__cause__, second.__cause__ = second, first
        raise first
    except KeyError:
        logger.exception("Failed.")
    (line,) = lines(capsys)
    assert line["stack_trace"].count("builtins.ValueError") == 1
    assert line["stack_trace"].count("builtins.KeyError") == 1


@pytest.mark.parametrize(("variables", "version"), [({}, None), ({"K_SERVICE": "runner", "K_REVISION": "7"}, "7")])
def test_an_error_is_one_that_error_reporting_takes_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], version: str | None
) -> None:
    for name in ("K_SERVICE", "K_REVISION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    log.configure()
    logger.error("Failed.")
    logger.warning("Not well.")
    error, warning = lines(capsys)
    assert error["@type"].endswith("ReportedErrorEvent")
    assert error["context"]["reportLocation"]["filePath"] == __file__
    assert error["serviceContext"].get("version") == version
    assert error["serviceContext"]["service"] == variables.get("K_SERVICE", "campaign-runner")
    assert {"@type", "context", "serviceContext"} & warning.keys() == set()


def test_each_launch_and_each_failure_is_an_event_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    result = report(outcome(1), outcome(2, recipients=0), errors=(failure("Too many."),))
    log.outcomes(logger, RunResult.model_validate_json(json.dumps(result)))
    launched, nobody, failed = lines(capsys)
    assert (launched["event"], launched["recipients"], launched["severity"]) == ("campaign_launched", 3, "INFO")
    assert (nobody["event"], nobody["recipients"], nobody["severity"]) == ("campaign_launched", 0, "WARNING")
    assert (failed["event"], failed["severity"]) == ("campaign_failed", "WARNING")
    assert "Too many." in failed["message"]
    assert "Campaign 1" not in str(launched)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


class TestOnATerminal:
    @staticmethod
    def attach(monkeypatch: pytest.MonkeyPatch) -> Terminal:
        """Not by a fixture: pytest puts its own stderr in place again before the test itself."""
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        log.configure()
        return terminal

    def test_a_line_is_for_people_and_holds_the_fields(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = self.attach(monkeypatch)
        with log.bound(run_id="5f0c"):
            logger.info("Run finished: %d launched.", 2, extra={"fields": {"duration_ms": 7}})
        time, severity, rest = terminal.getvalue().rstrip().split(maxsplit=2)
        assert datetime.strptime(time, "%H:%M:%S")
        assert (severity, rest) == ("INFO", "Run finished: 2 launched.  run_id=5f0c  duration_ms=7")

    def test_nothing_in_it_steers_the_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = self.attach(monkeypatch)
        logger.warning("a\x1b[2Jb\nc\u009b Zoë", extra={"fields": {"error": "\r"}})
        assert r"a\x1b[2Jb\nc\x9b Zoë  error=\r" in terminal.getvalue()

    def test_an_error_has_its_stack_below_it_and_nothing_that_is_for_machines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = self.attach(monkeypatch)
        try:
            raise ValueError(ROW_DATA)
        except ValueError:
            logger.exception("Failed.")
        head, *stack = terminal.getvalue().splitlines()
        assert head.endswith("ERROR    Failed.")
        assert stack[0] == "    Traceback (most recent call last):"
        assert stack[-1] == "    builtins.ValueError"


@pytest.mark.parametrize("stderr", [Broken(), io.StringIO(), None], ids=["broken", "closed", "missing"])
def test_a_stderr_that_takes_nothing_fails_nobody(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None) -> None:
    if stderr is not None and not isinstance(stderr, Broken):
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    log.configure()
    logger.error("Failed.")

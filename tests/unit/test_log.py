from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

import pytest

from runner import log
from runner.errors import DatabaseRefused
from tests.unit.fakes import ROW_DATA

logger = logging.getLogger("runner.test")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_line_is_one_json_object_in_the_form_of_cloud_logging(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logger.warning("two\nlines %s", "\u2028 \ud800", extra={"fields": {"campaign_id": 7}})
    (line,) = lines(capsys)
    assert line["severity"] == "WARNING"
    assert line["message"] == "two\nlines \u2028 \ud800"
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


@pytest.mark.parametrize(
    "header",
    [TRACE, f"{TRACE}/123;o=1", f"00-{TRACE}-b7ad6b7169203331-01", f"{TRACE.upper()}/1"],
)
def test_a_trace_is_joined_with_the_project(header: str) -> None:
    assert log.trace_field(["", header], "my-project") == {
        "logging.googleapis.com/trace": f"projects/my-project/traces/{TRACE}"
    }


@pytest.mark.parametrize("header", ["", "x", TRACE[:-1], TRACE + "0", f'{TRACE[:-1]}"', "\u00e9" * 32])
def test_what_is_no_trace_is_left_out(header: str) -> None:
    assert log.trace_field([header], "my-project") == {}


def test_without_a_project_there_is_no_trace() -> None:
    assert log.trace_field([TRACE], None) == {}

"""The program that measures, and the page that says what it measured. `make bench` runs the benchmarks themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner

from tests.benchmarks import report
from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.growth import CURVES
from tests.benchmarks.ratio import Curve, Ratio, ratio

MEASURED: dict[str, Any] = json.loads((report.DOCS / "benchmarks.json").read_text())

MeasuredT = TypeVar("MeasuredT", Ratio, Curve)


def read(kind: type[MeasuredT], values: Mapping[str, Any]) -> MeasuredT:
    return kind(**{field.name: values[field.name] for field in fields(kind)})


RATIOS = [read(Ratio, values) for values in MEASURED["ratios"]]
CURVES_MEASURED = [read(Curve, values) for values in MEASURED["curves"]]


@pytest.mark.slow  # draws pictures
def test_the_page_says_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (report.DOCS / "benchmarks.md").read_text()
    (tmp_path / "benchmarks.md").write_text(page)
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: MEASURED["machine"]["cores"])
    report.write(RATIOS, CURVES_MEASURED, {"a statement": "its plan"}, MEASURED["parts"])
    assert (tmp_path / "benchmarks.md").read_text() == page
    assert json.loads((tmp_path / "benchmarks.json").read_text())["ratios"] == MEASURED["ratios"]
    for picture in ("benchmarks.svg", "growth.svg"):
        assert (tmp_path / picture).read_text().startswith("<?xml")


def test_a_ratio_is_reached_by_its_median_and_in_the_direction_of_its_goal() -> None:
    slow, quick = [2.0, 2.0, 9.0], [1.0, 1.0, 1.0]
    assert not ratio("", "", 1.5, 1.0, slow, quick).is_reached
    assert ratio("", "", 2.0, 1.0, slow, quick).is_reached
    assert ratio("", "", 2.0, 4.0, quick, slow, faster=True).is_reached
    assert not ratio("", "", 2.5, 4.0, quick, slow, faster=True).is_reached


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["nonsense"], 2), (["--write", "large"], 2)])
def test_the_program_explains_itself(arguments: list[str], code: int) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    if code == 2 and "--write" not in arguments:
        assert all(name in result.output for name in [*BENCHMARKS, *CURVES])


def test_the_arithmetic_of_scale_follows_from_the_measurements() -> None:
    page = " ".join((report.DOCS / "scale.md").read_text().split())
    parts = MEASURED["parts"]
    speed, log, disk = (
        parts[name] for name in ("recipients_a_second", "wal_bytes_a_recipient", "disk_bytes_a_recipient")
    )
    points = {curve.name: dict(curve.points) for curve in CURVES_MEASURED}
    campaign = points["the number of due campaigns of 100"][1_000]
    others = points["contacts of other organizations"]
    workers = points["workers of one run"]
    [idle] = [each.median for each in RATIOS if each.name == "an idle call, 100,000 campaigns wait for a person"]
    a_day, hours = 100_000_000, 3600
    for told in (
        f"| {round(speed, -1):,.0f} | {a_day / speed / hours:.1f} hours of two busy cores",
        f"1,160 a second, {100 * 1_160 / speed:.0f} % of that",
        f"13,900 a second, {100 * 13_900 / speed:.0f} %",
        f"{log:.0f} bytes a recipient | {log * a_day / 1e9:.0f} GB a day",
        f"{disk:.0f} bytes a recipient | {disk * a_day / 1e9:.0f} GB a day",
        f"{campaign:.1f} ms | a million of such campaigns: {campaign * 1_000 / hours:.1f} hours",
        f"in {a_day / speed / hours:.1f} hours with large audiences",
        f"in {campaign * 1_000 / hours:.1f} hours with a million campaigns of 100",
        f"{others[0]:.1f} s alone, {others[1_000_000]:.1f} s beside a million contacts of others, and "
        f"{others[10_000_000]:.1f} s beside ten million",
        f"1 worker {workers[1]:.0f} s; 2 workers {workers[2]:.0f} s; 4 workers {workers[4]:.0f} s; "
        f"8 workers {workers[8]:.0f} s",
        f"{100 * parts['share_of_foreign_keys']:.0f} % of the raw statement's time",
        f"An idle call took {idle:.2f} times as long",
    ):
        assert told in page

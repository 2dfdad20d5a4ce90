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

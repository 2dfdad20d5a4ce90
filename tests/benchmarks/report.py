"""What the benchmarks found, as JSON, as a table for people, and as pictures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.bed import Bed
from tests.benchmarks.ratio import Curve, Ratio

DOCS = Path(__file__).parent.parent.parent / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GOOD, BAD, GREY = "#2a7f62", "#b5483a", "#8a8f98"


PARTS = {
    "recipients_a_second": "recipients a second, of an audience of 300,000",
    "share_of_foreign_keys": "of the time of the raw statement is spent on the foreign keys",
    "wal_bytes_a_recipient": "bytes of write-ahead log for each recipient, generated and reconciled",
    "disk_bytes_a_recipient": "bytes on disk for each recipient, indexes included",
    "inserts_in_parts": "of the time of the raw unordered statement is the least for its rows: inserted in the order of"
    " the ids, by one session for each core, and nothing else",
    "inserts_and_two_evaluations": "of that time is the least for a launch: with two evaluations of all contacts",
    "client_against_inserts_in_parts": "times faster than the client are these inserts for 100,000, and nothing else",
    "statements_for_each_campaign": "of the time of the raw statement for 1,000 campaigns is the least for one"
    " statement a campaign, from one session for each core, and nothing else",
}


def write(
    ratios: Sequence[Ratio], curves: Sequence[Curve], plans: Mapping[str, str], parts: Mapping[str, float]
) -> None:
    """Write docs/benchmarks.json, the plans, the pictures, and the measured part of docs/benchmarks.md."""
    machine = {"cores": os.cpu_count(), "processor": platform.machine(), "postgres": Bed.postgres}
    found: dict[str, Any] = {"machine": machine}
    found["ratios"] = [ratio.as_json() for ratio in ratios]
    found["curves"] = [curve.as_json() for curve in curves]
    found["parts"] = {name: round(value, 4) for name, value in parts.items()}
    (DOCS / "benchmarks.json").write_text(json.dumps(found, indent=1, default=float) + "\n")
    (DOCS / "plans.txt").write_text("\n\n".join(f"{name}\n\n{plan}" for name, plan in plans.items()) + "\n")
    page = DOCS / "benchmarks.md"
    head, _, rest = page.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n\n{_tables(ratios, curves, parts)}\n\n{END}{tail}")
    _draw_ratios(ratios)
    _draw_curves(curves)


def _tables(ratios: Sequence[Ratio], curves: Sequence[Curve], parts: Mapping[str, float]) -> str:
    rounds, cores = ratios[0].rounds, os.cpu_count()
    lines = [
        f"Medians of {rounds} pairs, on {cores} cores.",
        "",
        "| what | against | ratio (spread) | goal, next goal | reached | ours | theirs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in ratios:
        times = " times faster" if r.faster else ""
        ratio = f"{r.median:.2f}{times} ({r.low:.2f} to {r.high:.2f})"
        ours, theirs = (f"{side:.3g} {r.unit}" for side in (r.ours, r.theirs))
        reached = "yes" if r.is_reached else "**no**"
        lines.append(f"| {r.name} | {r.against} | {ratio} | {r.reach:g}, {r.aim:g} | {reached} | {ours} | {theirs} |")
    lines += ["", *(f"- {r.name}: {r.aside}." for r in ratios if r.aside)]
    for name, title in (
        ("longest_statement", "The longest statement that came through the API"),
        ("longest_wait_of_an_editor", "A person renamed the campaign during the launch, and waited at most"),
    ):
        facts = "; ".join(f"{r.name} {r.facts[name]:.2f} s" for r in ratios if name in r.facts)
        if facts:
            lines.append(f"- {title}: {facts}.")
    lines.append("")
    for curve in curves:
        points = "; ".join(f"{x:,.0f}: {y:.4g}" for x, y in curve.points)
        lines.append(f"- {curve.name[0].upper()}{curve.name[1:]} ({curve.up}): {points}. {curve.aside}".rstrip())
    lines += ["", *(f"- {value:,.4g} {PARTS[name]}." for name, value in parts.items())]
    return "\n".join(lines)


def _draw_ratios(ratios: Sequence[Ratio]) -> None:
    figure, axes = _figure(8.5, 0.42 * len(ratios) + 1)
    for row, ratio in enumerate(reversed(ratios)):
        cost, goal, *costs = map(ratio.as_cost, (ratio.median, ratio.reach, ratio.low, ratio.high))
        axes.barh(row, cost, height=0.6, color=GOOD if ratio.is_reached else BAD)
        axes.hlines(row, min(costs), max(costs), color="black", linewidth=1)
        axes.vlines(goal, row - 0.38, row + 0.38, color="black", linewidth=2)
        axes.text(max(*costs, goal) + 0.03, row, f"{cost:.2f}", va="center", fontsize=8)
    axes.axvline(1, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(ratios)), [ratio.name for ratio in reversed(ratios)], fontsize=8)
    axes.set_xlabel("cost, as a multiple of what it is measured against; the thick mark is the goal", fontsize=8)
    axes.set_xlim(left=0)
    _save(figure, "benchmarks.svg")


def _draw_curves(curves: Sequence[Curve]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6), layout="constrained")
    for place, curve in enumerate(curves, start=1):
        axes = figure.add_subplot(1, len(curves), place)
        xs, ys = zip(*curve.points, strict=True)
        axes.plot(xs, ys, marker="o", markersize=3, color=GOOD)
        if max(xs) > 100:
            axes.set_xscale("symlog" if min(xs) == 0 else "log", **({"linthresh": 100_000} if min(xs) == 0 else {}))
        axes.set_ylim(bottom=0)
        axes.set_title(curve.name, fontsize=7)
        axes.set_xlabel(curve.across, fontsize=7)
        axes.set_ylabel(curve.up, fontsize=7)
        axes.tick_params(labelsize=6)
    _save(figure, "growth.svg")


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, name: str) -> None:
    # The same picture of the same numbers, to the letter.
    figure.savefig(DOCS / name, metadata={"Date": None, "Creator": None})

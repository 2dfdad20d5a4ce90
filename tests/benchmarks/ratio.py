"""What a benchmark says: how long we took against something that does the same work in the same database."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


def timed(work: Callable[..., Any], *arguments: Any) -> float:
    """How many seconds it took."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Ratio:
    """The median of ratios, with the lowest and the highest, and the medians of both sides. See `ratio`."""

    name: str
    against: str
    reach: float  # the goal: ours may be so many times theirs; with `faster`, theirs must be so many times ours
    aim: float  # the goal after that
    faster: bool
    unit: str
    rounds: int
    median: float
    low: float
    high: float
    ours: float
    theirs: float
    aside: str = ""  # measured in the same rounds, and shown beside it
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def is_reached(self) -> bool:
        """Whether the goal is."""
        return self.median >= self.reach if self.faster else self.median <= self.reach

    def as_cost(self, value: float) -> float:
        """A value of the ratio, or its goal, as ours in multiples of theirs."""
        return 1 / value if self.faster else value

    def line(self) -> str:
        """For a terminal."""
        spread = f"{self.low:.2f} to {self.high:.2f}"
        sides = f"{self.ours:.4g} {self.unit} against {self.theirs:.4g}"
        facts = "".join(f"; {name} {value:.2f}" for name, value in self.facts.items())
        goal = f"goal {self.reach:g}, then {self.aim:g}"
        return f"{self.name}: {self.median:.2f} ({spread}; {goal}) {sides} {self.aside}{facts}"

    def as_json(self) -> dict[str, Any]:
        """By the names of the fields."""
        return asdict(self)


def ratio(
    name: str,
    against: str,
    reach: float,
    aim: float,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    faster: bool = False,
    unit: str = "s",
    aside: str = "",
    facts: dict[str, float] | None = None,
) -> Ratio:
    """Of pairs of measurements, one of each round: `ours[i]` and `theirs[i]` were taken one after the other."""
    pairs = zip(ours, theirs, strict=True)
    values = [b / a if faster else a / b for a, b in pairs]
    return Ratio(
        name=name,
        against=against,
        reach=reach,
        aim=aim,
        faster=faster,
        unit=unit,
        rounds=len(values),
        median=round(statistics.median(values), 3),
        low=round(min(values), 3),
        high=round(max(values), 3),
        ours=round(statistics.median(ours), 4),
        theirs=round(statistics.median(theirs), 4),
        aside=aside,
        facts={name: round(value, 3) for name, value in (facts or {}).items()},
    )


@dataclass(frozen=True)
class Curve:
    """How a cost grows: a point for each size."""

    name: str
    across: str
    up: str
    points: Sequence[tuple[float, float]]
    aside: str = ""

    def as_json(self) -> dict[str, Any]:
        """By the names of the fields."""
        return asdict(self)

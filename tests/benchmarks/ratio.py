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
    """Pairs of measurements, one of each round: `ours[i]` and `theirs[i]` were taken one after the other."""

    name: str
    against: str
    reach: float  # the goal: ours may be so many times theirs; with `faster`, theirs must be so many times ours
    aim: float  # the goal after that
    ours: list[float]
    theirs: list[float]
    faster: bool = False
    unit: str = "s"
    aside: str = ""  # measured in the same rounds, and shown beside it
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        """The ratio of each round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [theirs / ours if self.faster else ours / theirs for ours, theirs in pairs]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def cost(self) -> float:
        """Ours as a multiple of theirs, however the goal is put."""
        return 1 / self.median if self.faster else self.median

    @property
    def is_reached(self) -> bool:
        """Whether the goal is."""
        return self.median >= self.reach if self.faster else self.median <= self.reach

    def line(self) -> str:
        """For a terminal."""
        spread = f"{min(self.values):.2f} to {max(self.values):.2f}"
        seconds = f"{statistics.median(self.ours):.4g} {self.unit} against {statistics.median(self.theirs):.4g}"
        return f"{self.name}: {self.median:.2f} ({spread}; goal {self.reach}, then {self.aim}) {seconds} {self.aside}"

    def as_json(self) -> dict[str, Any]:
        """With all measurements."""
        return asdict(self) | {"median": round(self.median, 4), "is_reached": self.is_reached}


@dataclass(frozen=True)
class Curve:
    """How a cost grows: a point for each size."""

    name: str
    across: str
    up: str
    points: Sequence[tuple[float, float]]
    aside: str = ""

    def as_json(self) -> dict[str, Any]:
        """With all points."""
        return asdict(self)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from runner.pace import CEILING_ROWS, FLOOR_ROWS, Pace


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.0, 80_000), (0.5, 80_000), (1.0, 40_000), (1.6, 25_000), (2.0, 20_000), (4.0, 10_000)]
)
def test_full_steps_move_towards_two_seconds_and_grow_fourfold_at_most(seconds: float, rows: int) -> None:
    pace = Pace(20_000)
    pace.learn(20_000, 20_000, seconds)
    assert pace.rows == rows


@pytest.mark.parametrize(("contacts", "rows"), [(0, 20_000), (9_999, 20_000), (10_000, 80_000)])
def test_a_step_that_ran_out_of_contacts_says_nothing(contacts: int, rows: int) -> None:
    pace = Pace(20_000)
    pace.learn(20_000, contacts, 0.1)
    assert pace.rows == rows


def test_the_size_stays_between_floor_and_ceiling() -> None:
    pace = Pace(20_000)
    for _ in range(20):
        pace.learn(pace.rows, pace.rows, 0.01)
    assert pace.rows == CEILING_ROWS
    for _ in range(20):
        pace.halve(pace.rows, 8.0)
    assert pace.rows == FLOOR_ROWS
    pace.learn(FLOOR_ROWS, FLOOR_ROWS, 60.0)
    assert pace.rows == FLOOR_ROWS


def test_a_first_step_below_the_floor_is_the_floor() -> None:
    pace = Pace(10)
    pace.halve(10, 8.0)
    assert pace.rows == 10


def test_a_timeout_halves() -> None:
    pace = Pace(20_000)
    pace.halve(20_000, 8.0)
    assert pace.rows == 10_000


def test_steps_of_one_size_change_it_once() -> None:
    pace = Pace(20_000)
    for _ in range(4):
        pace.halve(20_000, 8.0)
    assert pace.rows == 10_000
    for _ in range(4):
        pace.learn(10_000, 10_000, 0.1)
    assert pace.rows == 40_000


def test_a_late_success_does_not_undo_a_halving() -> None:
    pace = Pace(20_000)
    pace.halve(20_000, 8.0)
    pace.learn(20_000, 20_000, 0.1)
    assert pace.rows == 10_000


def test_what_a_step_takes_is_expected_of_the_next() -> None:
    pace = Pace(20_000)
    assert pace.seconds == 0
    pace.learn(20_000, 5, 3.0)
    assert pace.seconds == 3.0
    pace.halve(20_000, 8.0)
    assert pace.seconds == 4.0


def test_threads_that_learn_at_once_change_one_size_once() -> None:
    for _ in range(50):
        pace, together = Pace(1000), Barrier(8, timeout=60)

        def learn(pace: Pace = pace, together: Barrier = together) -> None:
            together.wait()
            pace.learn(1000, 1000, 0.1)

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(learn) for _ in range(8)]:
                done.result()
        assert pace.rows == 4000

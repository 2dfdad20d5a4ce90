from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from runner.run.step_size import CEILING_ROWS, FLOOR_ROWS, StepSize


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.0, 80_000), (0.5, 80_000), (1.0, 40_000), (1.6, 25_000), (2.0, 20_000), (4.0, 10_000)]
)
def test_full_steps_move_towards_two_seconds_and_grow_fourfold_at_most(seconds: float, rows: int) -> None:
    step_size = StepSize(20_000)
    step_size.learn(20_000, 20_000, seconds)
    assert step_size.rows == rows


@pytest.mark.parametrize(("contacts", "rows"), [(0, 20_000), (9_999, 20_000), (10_000, 80_000)])
def test_a_step_that_ran_out_of_contacts_says_nothing(contacts: int, rows: int) -> None:
    step_size = StepSize(20_000)
    step_size.learn(20_000, contacts, 0.1)
    assert step_size.rows == rows


def test_the_size_stays_between_floor_and_ceiling() -> None:
    step_size = StepSize(20_000)
    for _ in range(20):
        step_size.learn(step_size.rows, step_size.rows, 0.01)
    assert step_size.rows == CEILING_ROWS
    for _ in range(20):
        step_size.halve(step_size.rows, 8.0)
    assert step_size.rows == FLOOR_ROWS
    step_size.learn(FLOOR_ROWS, FLOOR_ROWS, 60.0)
    assert step_size.rows == FLOOR_ROWS


def test_a_first_step_below_the_floor_is_the_floor() -> None:
    step_size = StepSize(10)
    step_size.halve(10, 8.0)
    assert step_size.rows == 10


def test_a_timeout_halves() -> None:
    step_size = StepSize(20_000)
    step_size.halve(20_000, 8.0)
    assert step_size.rows == 10_000


def test_steps_of_one_size_change_it_once() -> None:
    step_size = StepSize(20_000)
    for _ in range(4):
        step_size.halve(20_000, 8.0)
    assert step_size.rows == 10_000
    for _ in range(4):
        step_size.learn(10_000, 10_000, 0.1)
    assert step_size.rows == 40_000


def test_a_late_success_does_not_undo_a_halving() -> None:
    step_size = StepSize(20_000)
    step_size.halve(20_000, 8.0)
    step_size.learn(20_000, 20_000, 0.1)
    assert step_size.rows == 10_000


def test_what_a_step_takes_is_expected_of_the_next() -> None:
    step_size = StepSize(20_000)
    assert step_size.seconds == 0
    step_size.learn(20_000, 5, 3.0)
    assert step_size.seconds == 3.0
    step_size.halve(20_000, 8.0)
    assert step_size.seconds == 4.0


def test_threads_that_learn_at_once_change_one_size_once() -> None:
    for _ in range(50):
        step_size, together = StepSize(1000), Barrier(8, timeout=60)

        def learn(step_size: StepSize = step_size, together: Barrier = together) -> None:
            together.wait()
            step_size.learn(1000, 1000, 0.1)

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(learn) for _ in range(8)]:
                done.result()
        assert step_size.rows == 4000

from __future__ import annotations

from threading import Event

import pytest

from runner.run.retry import FEWEST_ATTEMPTS, PATIENCE_SECONDS, Retry, growing
from tests.support.fake_api import FakeClock


def test_waits_double_up_to_the_longest() -> None:
    assert [growing(n, 0.2, 2.0) for n in range(6)] == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert growing(10**9, 0.2, 2.0) == 2.0


def test_the_jitter_is_full() -> None:
    class HalfClock(FakeClock):
        def jitter(self) -> float:
            return 0.5

    clock = HalfClock()
    retry = Retry(clock, until=clock.now() + 100)
    assert retry.again()
    assert retry.again()
    assert clock.waits == [0.1, 0.2]


def test_patience_ends(clock: FakeClock) -> None:
    retry, began = Retry(clock, until=clock.now() + 1000), clock.now()
    while retry.again():
        pass
    assert PATIENCE_SECONDS < clock.now() - began < PATIENCE_SECONDS + 2.1


def test_a_slow_failure_is_followed_by_more_attempts_even_so(clock: FakeClock) -> None:
    retry = Retry(clock, until=clock.now() + 1000)
    results = []
    for _ in range(FEWEST_ATTEMPTS):
        clock.advance(PATIENCE_SECONDS + 5)
        results.append(retry.again())
    assert results == [True, True, False]


def test_only_time_ends_the_patient(clock: FakeClock) -> None:
    until = clock.now() + 100
    retry = Retry(clock, until=until)
    while retry.again(patient=True):
        pass
    assert until - 2.0 <= clock.now() < until


def test_nothing_is_waited_for_that_ends_too_late(clock: FakeClock) -> None:
    retry = Retry(clock, until=clock.now() + 0.1)
    assert not retry.again()
    assert clock.waits == []


@pytest.mark.parametrize("over", [True, False])
def test_a_wait_ends_when_all_is_over(clock: FakeClock, over: bool) -> None:
    event = Event()
    if over:
        event.set()
    assert Retry(clock, until=clock.now() + 100, over=event).again() is not over

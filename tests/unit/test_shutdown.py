from __future__ import annotations

import os
import signal
import threading

import pytest

from runner.run.shutdown import Shutdown, WorkerShutdown, shutdown_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_signal_requests_the_stop_and_the_second_does_what_it_did_before(number: signal.Signals) -> None:
    seen: list[int] = []
    before = signal.signal(number, lambda received, frame: seen.append(received))
    try:
        with shutdown_on_signals() as shutdown:
            assert not shutdown.requested
            os.kill(os.getpid(), number)
            assert shutdown.requested
            assert seen == []
            os.kill(os.getpid(), number)
            assert seen == [number]
    finally:
        signal.signal(number, before)


def test_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with shutdown_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_in_another_thread_nothing_is_touched() -> None:
    before, stops = signal.getsignal(signal.SIGTERM), []

    def elsewhere() -> None:
        with shutdown_on_signals() as shutdown:
            stops.append((shutdown, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    ((shutdown, handler),) = stops
    assert isinstance(shutdown, Shutdown)
    assert not shutdown.requested
    assert handler == before


class Worker:
    """As much of gunicorn's as matters here."""

    alive = True

    def handle_exit(self, number: int, frame: object) -> None:
        self.alive = False


def test_a_request_stops_when_its_worker_is_told_to_end() -> None:
    before = signal.signal(signal.SIGTERM, Worker().handle_exit)
    try:
        shutdown = WorkerShutdown()
        assert not shutdown.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert shutdown.requested
    finally:
        signal.signal(signal.SIGTERM, before)


def test_under_another_server_nothing_stops_a_request() -> None:
    assert not WorkerShutdown().requested

"""The workers of one run: the steps, side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Event, Lock, get_ident

from runner.errors import RunClosed, RunnerError, StatementTimeout, Unavailable
from runner.run.clock import Clock
from runner.run.deadline import Deadline
from runner.run.results import StepResult
from runner.run.retry import Retry, growing
from runner.run.shutdown import Shutdown
from runner.run.step_size import StepSize

SHORTEST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 0.25  # asking costs some milliseconds, and work may come at any moment
ALONE_SECONDS = 5.0  # how long to poll for campaigns of other runs, once none of our own workers has work

Step = Callable[[int], StepResult]  # takes the number of contacts to ask for; raises RunnerError


class Workers:
    """Calls the step until nothing is left, the time is over, a shutdown is requested, or it fails for good.

    Afterwards, over all workers: `attempts`; `steps`, those that were answered; `contacts`, scanned by them; `last`,
    the last answer; `held`, due campaigns that another run still had when the workers ceased to ask.
    """

    def __init__(
        self, step: Step, *, step_size: StepSize, deadline: Deadline, clock: Clock, shutdown: Shutdown
    ) -> None:
        self._step = step
        self._step_size = step_size
        self._deadline = deadline
        self._clock = clock
        self._shutdown = shutdown
        self._lock = Lock()
        self._over = Event()  # do not wait any longer: nothing is left, or the workers are halted
        self._news = Event()  # do not wait any longer, but ask: there is work for several
        self._halted = False
        self._at_work: set[int] = set()  # threads whose last answer said that work is left
        self._alone_since: float | None = None  # since when no thread has work, and the others poll
        self._under_way = 0  # calls
        self._complete = False
        self._fatal: RunnerError | None = None
        self._lost: Unavailable | None = None
        self.last: StepResult | None = None
        self.held = 0
        self.attempts = 0
        self.steps = 0
        self.contacts = 0

    @property
    def complete(self) -> bool:
        """Whether there is nothing left that this run could do, and no lock keeps a due campaign."""
        return self._complete and self._fatal is None and not (self.last and self.last.locked)

    @property
    def error(self) -> RunnerError | None:
        """What ended the run, or one of its workers before the run was complete."""
        return self._fatal or (None if self._complete else self._lost)

    def work(self, concurrency: int) -> None:
        """Step in this thread, and as soon as that leaves work, go on with `concurrency` threads."""
        answer = self._go_on(self._next(), until_work=concurrency > 1)
        if answer is None or not answer.work_left:
            return
        with ThreadPoolExecutor(concurrency, thread_name_prefix="step") as pool:
            try:
                # A context each, as one cannot be entered twice: it carries the fields of the log.
                workers = [pool.submit(copy_context().run, self._go_on, answer) for _ in range(concurrency)]
                for worker in workers:
                    worker.result()
            except BaseException:
                self._halt()
                raise

    def _go_on(self, answer: StepResult | None, *, until_work: bool = False) -> StepResult | None:
        """Be one worker, from this answer on. Returns the last one; with `until_work`, the first that leaves work."""
        waits = 0
        try:
            if answer is not None and answer.work_left:
                self._join()
            while answer is not None and not answer.nothing_left and not (until_work and answer.work_left):
                waits = 0 if answer.work_left else waits + 1
                if waits and not self._wait(waits):
                    break
                answer = self._next() if self._may_start() else None
            return answer
        except BaseException:
            self._halt()
            raise
        finally:
            self._leave()

    def _may_start(self) -> bool:
        return not self._halted and not self._shutdown.requested and self._deadline.allows(self._step_size.seconds)

    def _wait(self, waits: int) -> bool:
        """Give those who hold the due campaigns a little time. False: ask no more."""
        with self._lock:
            alone = self._alone_since is not None and not self._under_way
            if alone and self._clock.now() - (self._alone_since or 0.0) >= ALONE_SECONDS:
                self.held = self.last.busy if self.last else 0
                self._complete = True  # another run is at them, or the next call will be
                self._over.set()
            if self._over.is_set():
                self._tell()
                return False
            news = self._news
        seconds = growing(waits - 1, SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        self._clock.wait(news, seconds * (1 + self._clock.jitter()) / 2)
        return not self._over.is_set()

    def _next(self) -> StepResult | None:
        """Do one step, again and again until it is answered. None: it is not, and this worker is to end."""
        retry = Retry(self._clock, until=self._deadline.steps_end, over=self._over)
        while True:
            asked = self._step_size.rows
            started = self._clock.now()
            try:
                answer = self._attempt(asked)
            except StatementTimeout as error:
                self._step_size.halve(asked, self._clock.now() - started)
                failure: Unavailable = error
            except Unavailable as error:
                failure = error
            except RunnerError as error:
                self._fatal = self._fatal or error
                self._halt()
                return None
            else:
                self._heard(answer, asked, self._clock.now() - started)
                return answer
            closed = isinstance(failure, RunClosed)
            patient = isinstance(failure, StatementTimeout)  # it works, and it makes headway with smaller steps
            if closed or not self._may_start() or not retry.again(patient=patient):
                self._lost = failure
                return None

    def _attempt(self, rows: int) -> StepResult:
        with self._lock:
            self.attempts += 1
            self._under_way += 1
        try:
            return self._step(rows)
        finally:
            with self._lock:
                self._under_way -= 1

    def _heard(self, answer: StepResult, asked: int, seconds: float) -> None:
        if answer.timed_out:
            self._step_size.halve(asked, seconds)
        else:
            self._step_size.learn(asked, answer.contacts - answer.reconciled, seconds)
        with self._lock:
            self.last = answer
            self.steps += 1
            self.contacts += answer.contacts
            self._complete = answer.nothing_left
            if answer.nothing_left:
                self._over.set()
            elif not self._halted:
                self._over.clear()
            if answer.nothing_left or answer.laid_out:
                self._tell()
        if answer.work_left:
            self._join()
        else:
            self._leave()

    def _join(self) -> None:
        with self._lock:
            self._at_work.add(get_ident())
            self._alone_since = None

    def _leave(self) -> None:
        with self._lock:
            self._at_work.discard(get_ident())
            if not self._at_work and self._alone_since is None:
                self._alone_since = self._clock.now()

    def _tell(self) -> None:
        """Wake those who wait. Holds the lock."""
        self._news.set()
        self._news = Event()

    def _halt(self) -> None:
        with self._lock:
            self._halted = True
            self._over.set()
            self._tell()

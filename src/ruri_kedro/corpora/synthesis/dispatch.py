"""Many requests to one model: several at a time, no faster than allowed, tried again, kept in the journal."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from ruri_kedro.corpora.synthesis.chat import Answer, ChatModel, Refused, Request, TryAgain
from ruri_kedro.corpora.synthesis.journal import Journal
from ruri_kedro.corpora.synthesis.usage import Prices, Usage
from ruri_kedro.errors import RecipeError, SynthesisError
from ruri_kedro.recipe.parse import Count, NotNegative, Positive, Size, parameters
from ruri_kedro.text.hashing import stable_id

logger = logging.getLogger(__name__)


@parameters
class Limits:
    """How hard a model is pressed.

    workers: requests at a time; per_minute: tries started in a minute, None for any number; tries: of one request;
    first_wait, longest_wait: seconds between tries, doubled each time; max_failures: requests that may stay without
    an answer before the run ends.
    """

    workers: Count
    per_minute: Positive | None
    tries: Count
    first_wait: NotNegative
    longest_wait: NotNegative
    max_failures: Size

    def __post_init__(self) -> None:
        if self.first_wait > self.longest_wait:
            raise RecipeError(f"first_wait: {self.first_wait} is above longest_wait, {self.longest_wait} (seconds).")

    def pause(self, attempt: int, key: str) -> float:
        """Seconds after the failed try `attempt` (from 1): doubled each time, then a random half or more of it."""
        longest = min(self.first_wait * 2 ** (attempt - 1), self.longest_wait)
        return longest * random.Random(stable_id(key, str(attempt))).uniform(0.5, 1.0)


class Pace:
    """Turns for requests: at most `per_minute` of them in a minute, none while the server asked for rest."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = clock()
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next turn; seconds until it comes."""
        with self._lock:
            now = self._clock()
            at = max(now, self._next)
            self._next = at + self._interval
            return at - now

    def rest(self, seconds: float) -> None:
        """Give no turn in the next `seconds`."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


@dataclass
class Dispatcher:
    """Sends requests to a model. Its limits, and what is `used` and has `failed`, hold over all that it sends."""

    model: ChatModel
    limits: Limits
    prices: Prices
    pace: Pace = field(init=False)
    used: Usage = field(init=False, default=Usage())
    failed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.pace = Pace(self.limits.per_minute)

    def send(self, requests: Sequence[Callable[[], Request]], journal: Journal, label: str) -> dict[str, str]:
        """Get an answer to each request into the journal; the keys that have none, with what was said of them.

        In the journal the answers stand in the order in which they came.

        Raises SynthesisError once more requests than allowed have failed or no server can be reached, and what the
        model raises. Whatever ends it, the answers that came are in the journal; so they are after an interrupt,
        which waits for the requests under way.
        """
        run = _Run(self, journal, iter(requests), tqdm(total=len(requests), desc=label, unit="request", disable=None))
        workers = min(self.limits.workers, max(len(requests), 1))
        threads = [_Worker(run.work) for _ in range(workers)]
        try:
            for thread in threads:
                thread.start()
            _join(threads)
        except BaseException:
            run.stop.set()
            logger.warning("%s: stopping. The requests under way are waited for; Ctrl-C again leaves them.", label)
            _join(threads)
            raise
        finally:
            run.bar.close()
        if run.fatal:
            raise run.fatal
        return run.failures


class _Run:
    """One call of `Dispatcher.send`: what its threads share."""

    def __init__(
        self, dispatcher: Dispatcher, journal: Journal, requests: Iterator[Callable[[], Request]], bar: tqdm
    ) -> None:
        self.failures: dict[str, str] = {}
        self.fatal: BaseException | None = None
        self.stop = threading.Event()
        self.bar = bar
        self._on = dispatcher
        self._journal = journal
        self._requests = requests
        self._lock = threading.Lock()

    def work(self) -> None:
        """Send one request after the other until there is none, or the run ends."""
        try:
            while not self.stop.is_set() and (make := self._draw()) is not None:
                self._handle(make())
        except BaseException as error:  # a thread's error would otherwise be printed and lost
            self._end(error)

    def _draw(self) -> Callable[[], Request] | None:
        with self._lock:
            return next(self._requests, None)

    def _handle(self, request: Request) -> None:
        try:
            answer = self._ask(request)
        except Refused as error:
            self._fail(request, str(error))
        else:
            if answer is not None:
                self._journal.add(request.key, answer)
                self._count(answer)

    def _ask(self, request: Request) -> Answer | None:
        """The answer after as many tries as it takes; None if there were too many, or the run has ended."""
        limits = self._on.limits
        for attempt in range(1, limits.tries + 1):
            if self.stop.wait(self._on.pace.turn()):
                return None
            try:
                return self._on.model.complete(request)
            except TryAgain as error:
                if attempt == limits.tries:
                    self._give_up(request, error)
                    return None
                self.stop.wait(self._wait(error, attempt, request.key))
        return None

    def _wait(self, error: TryAgain, attempt: int, key: str) -> float:
        if error.wait is None:
            return self._on.limits.pause(attempt, key)
        if error.wait > self._on.limits.longest_wait:
            raise SynthesisError(
                f"The server asks to come back in {error.wait:.0f} seconds, synthesis.requests.longest_wait is "
                f"{self._on.limits.longest_wait:g}. {error}. {self._kept()} Run again then, or raise longest_wait."
            )
        self._on.pace.rest(error.wait)
        return error.wait

    def _give_up(self, request: Request, error: TryAgain) -> None:
        if not error.reached:
            raise SynthesisError(
                f"{error}, in {self._on.limits.tries} tries. {self._kept()} Start the server or look at "
                "synthesis.model.base_url, then run again."
            )
        self._fail(request, f"no answer in {self._on.limits.tries} tries, the last: {error}")

    def _fail(self, request: Request, reason: str) -> None:
        with self._lock:
            self.failures[request.key] = reason
            self.bar.update()
            self._on.failed += 1
            failed = self._on.failed
        if failed > self._on.limits.max_failures:
            raise SynthesisError(
                f"{failed} requests failed, synthesis.requests.max_failures allows {self._on.limits.max_failures}. The "
                f"last: {reason}. {self._kept()} Look at the server's log and at synthesis.model, then run again."
            )

    def _kept(self) -> str:
        return f"{len(self._journal)} answers are kept in {self._journal.path} and not asked for again."

    def _count(self, answer: Answer) -> None:
        with self._lock:
            self._on.used = self._on.used.plus(answer)
            self.bar.set_postfix_str(self._on.used.said(self._on.prices), refresh=False)
            self.bar.update()

    def _end(self, error: BaseException) -> None:
        with self._lock:
            self.fatal = self.fatal or error
        self.stop.set()


class _Worker(threading.Thread):
    """A thread that says itself when it has ended: an interrupted `join` of Python 3.11 takes it for ended at once."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="synthesis", daemon=True)
        self._work = work
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        finally:
            self.ended.set()


def _join(threads: Sequence[_Worker]) -> None:
    for thread in threads:
        if thread.ident is not None:
            thread.ended.wait()

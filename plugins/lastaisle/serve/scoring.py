"""One thread answers all requests that wait, as one batch; the queue before it is bounded."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lastaisle.serve.lists import Outcome
from lastaisle.serve.questions import Answer, Asked
from lastaisle.web.refusal import BusyError, RefusedError

BATCH: Final = 16
"""The most requests of a batch: the model scores no more sessions at once."""
PACE_SECONDS: Final = 0.002
"""While requests share batches, a batch begins this long after the batch before, so that more share it."""
RETRY_AFTER_SECONDS: Final = 1

log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    question: Asked
    done: asyncio.Future[Answer]
    until: float  # on the monotonic clock


class Scorer:
    """Answers requests in batches, in a thread of its own: the model works while the event loop goes on.

    Args:
        answer: answers a batch.
        room: returns how many requests the next batch may have; it bounds the memory of the scores.
        waiting: the most requests that wait; a further request is refused.
        seconds: a request that has waited this long is refused.
        count_batch: is called with the size of each batch.
        pace: the shortest time from the begin of a batch of several requests to the begin of the next batch,
            in seconds. After a batch of one request, the next request does not wait.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked]], Sequence[Outcome]],
        *,
        room: Callable[[], int] = lambda: BATCH,
        waiting: int = 256,
        seconds: float = 1.0,
        count_batch: Callable[[int], None] = lambda _: None,
        pace: float = PACE_SECONDS,
    ) -> None:
        self._answer = answer
        self._room = room
        self._most = waiting
        self._seconds = seconds
        self._count_batch = count_batch
        self._pace = pace
        self._next = 0.0  # when the next batch may begin, on the monotonic clock
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread; the running event loop is the one that asks."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Answer all that wait, and end the thread."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._queue.qsize()

    async def ask(self, question: Asked) -> Answer:
        """Return the answer.

        Raises:
            BusyError: 503, too many requests wait, or this request has waited too long.
            RefusedError: 422, a value of the request.
        """
        if self._queue.qsize() >= self._most:
            raise _busy(f"{self._most} requests wait for the model already")
        assert self._loop, "the scorer is started"
        done: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put(_Waiting(question, done, time.monotonic() + self._seconds))
        timer = self._loop.call_later(self._seconds, self._end_waiting, done)
        try:
            return await done
        finally:
            timer.cancel()

    def _end_waiting(self, done: asyncio.Future[Answer]) -> None:
        if not done.done():
            done.set_exception(_busy(f"the model did not answer within {self._seconds:g} s"))

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._next_batch()
            now = time.monotonic()
            batch = [waiting for waiting in batch if waiting.until > now and not waiting.done.done()]
            if batch:
                self._count_batch(len(batch))
                self._settle(batch)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """Wait for a request, and return it with all others that wait; True if the thread shall end."""
        first = self._queue.get()
        if first is None:
            return [], True
        batch, room = [first], self._room()
        time.sleep(max(0.0, self._next - time.monotonic()))
        began = time.monotonic()
        while len(batch) < room:
            try:
                further = self._queue.get_nowait()
            except queue.Empty:
                break
            if further is None:
                return batch, True
            batch.append(further)
        self._next = began + self._pace if len(batch) > 1 else began
        return batch, False

    def _settle(self, batch: Sequence[_Waiting]) -> None:
        assert self._loop, "the scorer is started"
        outcomes: Sequence[Outcome | Exception]
        try:
            outcomes = self._answer([waiting.question for waiting in batch])
        except Exception as error:  # each request of the batch raises it
            outcomes = [error] * len(batch)
        self._loop.call_soon_threadsafe(_tell, batch, outcomes)


def _tell(batch: Sequence[_Waiting], outcomes: Sequence[Outcome | Exception]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.done.done():
            continue
        if isinstance(outcome, Exception):
            waiting.done.set_exception(outcome)
        else:
            waiting.done.set_result(outcome)


def _busy(message: str) -> RefusedError:
    refusal = BusyError(message)
    refusal.retry_after = RETRY_AFTER_SECONDS
    return refusal

"""The shadow: a version that scores a share of the live questions. No shopper sees its lists.

A thread of its own makes the lists after the answers. The queue before it is bounded: a question that finds
no room is dropped and counted, and no answer waits.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from lastaisle.feedback.health import COMPARED_ITEMS, SHADOW
from lastaisle.serve.health.counts import HealthCounts, Source
from lastaisle.serve.lists import make_lists
from lastaisle.serve.parts import Maker
from lastaisle.serve.questions import Answer, Asked, Recommended
from lastaisle.web.refusal import RefusedError

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Trial
    from lastaisle.serve.following.served import ServedVersion
    from lastaisle.serve.shown.shelf import Shelf

WAITING: Final = 64
"""The most questions that wait for the shadow."""
REST: Final = 1.0
"""After each list the thread rests this many times as long as the list took: answers come first."""
_FAILED: Final = 500

log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    trial: str
    served: ServedVersion
    question: Asked
    shown: list[str]


class Shadow:
    """Hears of answers, and lets the shadow make the lists of a share of them, unseen.

    A question without consent, or for popular items, is left out: no model sees it.

    Args:
        shadow: returns the shadow that runs, and its loaded version; None for no shadow.
        counts: where lists, errors and overlaps are counted.
        shelf: what is for sale; None without a catalogue.
        waiting: the most questions that wait.
    """

    def __init__(
        self,
        shadow: Callable[[], tuple[Trial, ServedVersion] | None],
        counts: HealthCounts,
        shelf: Shelf | None = None,
        waiting: int = WAITING,
    ) -> None:
        self._shadow = shadow
        self._counts = counts
        self._shelf = shelf
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(waiting)  # None wakes the thread to its end
        self._random = random.Random()
        self._failing = ""  # the shadow whose failure was told
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    @property
    def problem(self) -> str:
        """Why the shadow scores nothing, in plain words; empty if it does, or if there is none."""
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            return "the thread of the shadow has ended: restart the service; its log says why"
        return ""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the questions that wait are dropped and counted."""
        self._stopped.set()
        with suppress(queue.Full):  # then the thread is awake
            self._queue.put_nowait(None)
        if self._thread.ident:
            self._thread.join()
        while not self._queue.empty():
            if (waiting := self._queue.get()) is not None:
                self._counts.dropped(_source_of(waiting))

    def answered(self, question: Asked, answer: Answer, seconds: float) -> None:
        """Draw whether the shadow scores a question, and queue the question."""
        shadow = self._shadow()
        if shadow is None or not question.consent or question.policy != "model":
            return
        trial, served = shadow
        if not trial.takes("", question.placement, question.context, datetime.now(UTC)):
            return
        if self._random.random() >= trial.share:
            return
        shown = [item.id for item in answer.items[:COMPARED_ITEMS]]
        waiting = _Waiting(trial.name, served, question, shown)
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            self._counts.dropped(_source_of(waiting))

    def failed(self, status: int, seconds: float, maker: Maker) -> None:
        """Pass over a request that the service could not answer."""

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            if self._stopped.is_set():
                self._counts.dropped(_source_of(waiting))
                return
            began = time.perf_counter()
            self._score(waiting)
            self._stopped.wait(REST * (time.perf_counter() - began))

    def _score(self, waiting: _Waiting) -> None:
        """Make a list and compare it with the shown list. A question that the version refuses is an error."""
        source, question = _source_of(waiting), waiting.question
        question = msgspec.structs.replace(question, explain=False, assigned=None)
        began = time.perf_counter()
        try:
            [outcome] = make_lists(waiting.served, self._shelf, [question])
            if not isinstance(outcome, Answer):
                raise outcome
        except Exception as error:  # it is a finding about the version, and counts as one
            self._counts.failed(source, _FAILED)
            self._tell(waiting, error)
            return
        self._counts.answered(source, time.perf_counter() - began, is_empty=not outcome.items)
        self._counts.compared(source, overlap_of(outcome.items, waiting.shown))

    def _tell(self, waiting: _Waiting, error: Exception) -> None:
        """Log the first failure of each shadow; the table `service_metrics` counts all.

        The message of the error stays out of the log, since it may hold values of the request.
        """
        if self._failing != waiting.trial:
            self._failing = waiting.trial
            log.warning(
                "the shadow, version %s of %s, fails on a question that was answered: %s",
                waiting.served.version,
                waiting.served.name,
                error.code if isinstance(error, RefusedError) else type(error).__name__,
            )


def overlap_of(items: Sequence[Recommended], shown: Sequence[str]) -> float:
    """Return the share of common items among the first COMPARED_ITEMS of two lists.

    The longer list is the whole. Two empty lists are equal: 1.
    """
    made = {item.id for item in items[:COMPARED_ITEMS]}
    longer = max(len(made), len(shown))
    return len(made & set(shown)) / longer if longer else 1.0


def _source_of(waiting: _Waiting) -> Source:
    return Source(waiting.served.name, waiting.served.version, SHADOW, waiting.trial)

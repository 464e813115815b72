"""Hand a share of the live questions to the process of the shadow. No answer waits for it.

A thread of its own hands the questions over, behind a bounded queue. A question that finds no room is dropped
and counted. The process runs while there is a shadow. If it ends, another one starts after a pause.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

from lastaisle.feedback.health import COMPARED_ITEMS, SHADOW
from lastaisle.serve.health.counts import HealthCounts, Source
from lastaisle.serve.shadow.message import Unseen, to_line, unseen

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Trial
    from lastaisle.serve.parts import Maker
    from lastaisle.serve.questions import Answer, Asked
    from lastaisle.settings import Settings

WAITING: Final = 64
"""The most questions that wait for the process."""
LOOK_SECONDS: Final = 1.0
"""How often the thread looks whether the shadow has ended, while no question comes."""
GATHER_SECONDS: Final = 0.01
"""How long the thread lets questions gather. It writes them at once, when their answers are sent."""
STOP_SECONDS: Final = 5.0
"""How long the process may take to end. Its last counts reach the lake in this time."""
LONGEST_PAUSE_SECONDS: Final = 60.0
_GONE: Final = "the process of the shadow ended with {code}; another one starts. The log above says why"

log = logging.getLogger(__name__)


class Shadow:
    """Hears of answers, and hands a share of the questions to the process of the shadow.

    A question without consent, or for popular items, is left out: no model sees it.

    Args:
        trial: returns the shadow that runs; None for no shadow.
        start: starts the process, with pipes for its input and its output.
        model: the name of the registered model.
        counts: where questions that were dropped are counted.
        waiting: the most questions that wait.
    """

    def __init__(
        self,
        trial: Callable[[], Trial | None],
        start: Callable[[], subprocess.Popen[bytes]],
        model: str,
        counts: HealthCounts,
        waiting: int = WAITING,
    ) -> None:
        self._trial = trial
        self._start = start
        self._model = model
        self._counts = counts
        self._queue: queue.Queue[Unseen | None] = queue.Queue(waiting)  # None wakes the thread
        self._random = random.Random()
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""
        self._pause = 0.0
        self._not_before = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    @property
    def problem(self) -> str:
        """Why the shadow scores nothing, in plain words; empty if it does, or if there is none."""
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            return "the thread of the shadow has ended: restart the service; its log says why"
        return self._problem

    def start(self) -> None:
        """Start the thread. The process starts with the first question for the shadow."""
        self._thread.start()

    def stop(self) -> None:
        """End the process and the thread; questions that wait are dropped and counted."""
        self._stopped.set()
        with suppress(queue.Full):  # then the thread is awake
            self._queue.put_nowait(None)
        if self._thread.ident:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive() and self._process is not None:
                self._process.kill()  # it takes no question, and the thread waits for it
                self._thread.join()
        self._end_process()

    def answered(self, question: Asked, answer: Answer, seconds: float) -> None:
        """Draw whether the shadow scores a question, and queue the question."""
        trial = self._trial()
        if trial is None or not question.consent or question.policy != "model":
            return
        if not trial.takes("", question.placement, question.context, datetime.now(UTC)):
            return
        if self._random.random() >= trial.share:
            return
        shown = [item.id for item in answer.items[:COMPARED_ITEMS]]
        message = unseen(trial.name, trial.arms[0].version or "", question, shown)
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._drop([message])

    def failed(self, status: int, seconds: float, maker: Maker) -> None:
        """Pass over a request that the service could not answer."""

    def _run(self) -> None:
        while True:
            messages = self._gather()
            if messages:
                self._hand_over(messages)
            elif self._trial() is None:
                self._end_process()
                self._problem = ""
            if self._stopped.is_set() and self._queue.empty():
                return

    def _gather(self) -> list[Unseen]:
        """Return the questions that wait; some milliseconds after the first, when its answer is sent."""
        messages: list[Unseen] = []
        try:
            given = self._queue.get(timeout=LOOK_SECONDS)
            self._stopped.wait(GATHER_SECONDS)
            while True:
                if given is not None:
                    messages.append(given)
                given = self._queue.get_nowait()
        except queue.Empty:
            return messages

    def _hand_over(self, messages: Sequence[Unseen]) -> None:
        """Write questions to the process, which is started if none runs."""
        if self._stopped.is_set() or (self._process is None and not self._begin_process()):
            self._drop(messages)
            return
        assert self._process, "it was started"
        try:
            _pipe(self._process.stdin).write(b"".join(map(to_line, messages)))
            _pipe(self._process.stdin).flush()
        except OSError:  # the process has ended
            self._drop(messages)
            self._end_process()
            if not self._stopped.is_set():
                self._fail()

    def _begin_process(self) -> bool:
        """Start the process, unless one ended so shortly before; tell whether one runs."""
        if time.monotonic() < self._not_before:
            return False
        try:
            process = self._process = self._start()
        except OSError as error:
            self._fail(f"the process of the shadow cannot start: {error}")
            return False
        threading.Thread(target=self._listen, args=(process,), name="shadow's problems", daemon=True).start()
        return True

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Keep what the process says: each line is its present problem, or empty."""
        with closing(_pipe(process.stdout)) as said:
            for line in said:
                self._problem = line.decode("utf-8", "replace").strip()
                if not self._problem:
                    self._pause = 0.0

    def _end_process(self) -> None:
        """Let the process write its counts and end."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            _pipe(process.stdin).close()
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code:
            self._problem = _GONE.format(code=code)

    def _fail(self, problem: str = "") -> None:
        """Name a problem, and let a longer pause pass before the next start."""
        self._problem = problem or self._problem or _GONE.format(code=0)
        log.warning("%s", self._problem)
        self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._not_before = time.monotonic() + self._pause

    def _drop(self, messages: Iterable[Unseen]) -> None:
        for message in messages:
            self._counts.dropped(Source(self._model, message.version, SHADOW, message.trial))


def _pipe(stream: IO[bytes] | None) -> Any:
    assert stream, "the process is started with pipes"
    return stream


def start_process(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the process of the shadow. It ends when its input ends, and so outlives no service.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "lastaisle.serve.shadow.process"],
        env={**os.environ, **settings.to_env()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches the service alone, which ends its processes
    )

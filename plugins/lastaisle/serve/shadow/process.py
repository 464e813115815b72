"""The process of the shadow: `python -m lastaisle.serve.shadow.process`.

Each line of its standard input is a question that was answered. It makes the list of the shadow, compares it
with the shown list, and counts. It ends with its input. Each line of its standard output is its present
problem. It has a process of its own: a model that scores holds Python's lock, and would hold up answers.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from lastaisle.feedback.health import COMPARED_ITEMS, SHADOW
from lastaisle.serve.following.errors import VersionUnavailableError
from lastaisle.serve.following.loading import Failure, Loader
from lastaisle.serve.following.served import ServedVersion, served_of
from lastaisle.serve.health.counts import HealthCounts, Source
from lastaisle.serve.health.writer import HealthWriter
from lastaisle.serve.lists import make_lists
from lastaisle.serve.questions import Answer, Recommended
from lastaisle.serve.shadow.message import Unseen, from_line
from lastaisle.serve.shown.shelf import Shelf
from lastaisle.settings import Settings
from lastaisle.settings.private import create_private_files
from lastaisle.web.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

NICE: Final = 10
"""The process leaves the processors to answers."""
_FAILED: Final = 500

log = logging.getLogger(__name__)


class LoadVersion(Protocol):
    """Loads a version by its number."""

    def __call__(self, number: str) -> ServedVersion:
        """Return the version.

        Raises:
            VersionUnavailableError: it cannot be had.
        """


class ShadowScorer:
    """Makes the shadow's lists, compares them with the shown lists, and counts.

    The latency of a list is the processor time that it took: the process waits for answers, and this wait
    tells nothing of the version.

    Args:
        load: loads a version.
        model: the name of the registered model.
        counts: where lists, errors, overlaps and dropped questions are counted.
        shelf: what is for sale; None without a catalogue.
        pause: the first pause after a version that cannot be loaded, in seconds.
        tell: is told the present problem, or an empty text.
    """

    def __init__(
        self,
        load: LoadVersion,
        model: str,
        counts: HealthCounts,
        *,
        shelf: Shelf | None = None,
        pause: float = 2.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._load = load
        self._model = model
        self._counts = counts
        self._shelf = shelf
        self._pause = pause
        self._tell = tell
        self._served: ServedVersion | None = None
        self._failure = Failure()
        self._failing = ""  # the shadow whose error was logged

    def score(self, message: Unseen) -> None:
        """Make a list. A question that the version refuses or fails on is an error of the version."""
        served = self._version(message.version)
        source = Source(self._model, message.version, SHADOW, message.trial)
        if served is None or (self._shelf is not None and not self._shelf.ready):
            self._counts.dropped(source)
            return
        began = time.thread_time()
        try:
            [outcome] = make_lists(served, self._shelf, [message.asked()])
            if not isinstance(outcome, Answer):
                raise outcome
        except Exception as error:  # it is a finding about the version, and counts as one
            self._counts.failed(source, _FAILED)
            self._log(message, error)
            return
        self._counts.answered(source, time.thread_time() - began, is_empty=not outcome.items)
        self._counts.compared(source, overlap_of(outcome.items, message.shown))

    def _version(self, number: str) -> ServedVersion | None:
        """Return the version, which is loaded if it is another one than before; None if it cannot be had."""
        if self._served is not None and self._served.version == number:
            return self._served
        if self._failure.is_early(number):
            return None
        try:
            self._served = self._load(number)
        except VersionUnavailableError as error:
            self._served, self._failure = None, self._failure.again(number, error, self._pause)
            self._tell(f"the shadow scores nothing: {error}")
            return None
        self._failure = Failure()
        self._tell("")
        return self._served

    def _log(self, message: Unseen, error: Exception) -> None:
        """Log the first error of each shadow; the table `service_metrics` counts all.

        The message of the error stays out of the log, since it may hold values of the request.
        """
        if self._failing != message.trial:
            self._failing = message.trial
            log.warning(
                "the shadow, version %s of %s, fails on a question that was answered: %s",
                message.version,
                self._model,
                error.code if isinstance(error, RefusedError) else type(error).__name__,
            )


def overlap_of(items: Sequence[Recommended], shown: Sequence[str]) -> float:
    """Return the share of common items among the first COMPARED_ITEMS of two lists.

    The longer list is the whole. Two empty lists are equal: 1.
    """
    made = {item.id for item in items[:COMPARED_ITEMS]}
    longer = max(len(made), len(shown))
    return len(made & set(shown)) / longer if longer else 1.0


def run(settings: Settings, lines: Iterable[bytes], tell: Callable[[str], None]) -> None:
    """Score the questions of some lines until they end.

    Args:
        settings: as the service has them.
        lines: the questions.
        tell: is told the present problem, or an empty text.
    """
    shelf, loader, counts = Shelf(settings), Loader(settings, log.warning), HealthCounts()

    def load(number: str) -> ServedVersion:
        served = served_of(loader.take(loader.versions.get(number)), "")
        try:
            shelf.of(served.model)
        except Exception as error:
            raise VersionUnavailableError(
                f"version {number} does not fit the catalogue or the rules: {type(error).__name__}: {error}"
            ) from error
        return served

    scorer = ShadowScorer(
        load, settings.registry.model_name, counts, shelf=shelf, pause=settings.serve.poll_seconds, tell=tell
    )
    writer = HealthWriter(settings, counts)
    for part in (shelf, writer):
        part.start()
    for line in lines:
        scorer.score(from_line(line))
    for part in (shelf, writer):
        part.stop()


def main() -> None:
    """Score the questions of the standard input."""
    create_private_files()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    os.nice(NICE)
    run(Settings.from_env(), sys.stdin.buffer, _say)


def _say(problem: str) -> None:
    sys.stdout.write(f"{' '.join(problem.split())}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Where the pages read: the lake, the registry, and figures that are computed once for all visitors."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from lastaisle.dashboard.kept import KeptFiles
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.opening import open_lake

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

T = TypeVar("T")
LOOK_SECONDS: Final = 2.0
"""How long the versions of the tables are taken as known."""
MOST_VALUES: Final = 5000
"""So many values are kept; the value that was read the longest ago goes first."""
_WORKERS: Final = 2

DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Until when a visitor waits for values (`time.monotonic`); None waits for as long as it takes."""

log = logging.getLogger(__name__)


class BeingReadError(LastaisleError):
    """A value that is computed for the first time, and that is not there yet."""

    exit_code = ExitCode.OVERTAKEN


_Found = tuple[dict[str, int | None], Any]  # the versions of the tables, and the value


class _Work:
    """One computation. It runs once, in the first thread that comes to it; others wait for its end.

    Args:
        compute: returns the versions of the tables, and the value.
    """

    def __init__(self, compute: Callable[[], _Found]) -> None:
        self._compute = compute
        self._begins = threading.Lock()
        self.found: Future[_Found] = Future()

    def run(self) -> None:
        """Compute, or wait for the thread that computes. Whoever asks for the result gets an error."""
        if not self._begins.acquire(blocking=False):
            wait([self.found])
            return
        try:
            self.found.set_result(self._compute())
        except Exception as error:
            self.found.set_exception(error)
            raise


@dataclass
class _Kept:
    """A value, the versions of the tables that it was computed from, and the work on the next value."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    versions: dict[str, int | None] | None = None
    value: Any = None
    work: _Work | None = None

    def settle(self, work: _Work) -> None:
        """Take the value of work that has ended, or raise its error. After an error work begins anew."""
        is_newest = self.work is work
        if is_newest:
            self.work = None
        found = work.found.result()
        if is_newest:
            self.versions, self.value = found


class Source:
    """What the pages read. A value is computed once for each state of its tables, not for each visitor.

    Args:
        settings: the installation.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = KeptFiles(settings.home / "dashboard")
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._looked: dict[str, tuple[float, int | None]] = {}
        self._is_closed = False
        self._guard = threading.Lock()
        self._thread = threading.local()
        self._workers = ThreadPoolExecutor(_WORKERS, "dashboard", initializer=self._begin_worker)
        self._slow = ThreadPoolExecutor(1, "dashboard-slow", initializer=self._begin_worker)

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return open_lake(self.settings)

    @cached_property
    def registry(self) -> Registry:
        """The registry; MLflow is imported with the first use, since it takes seconds."""
        from lastaisle.registry.registry import Registry

        return Registry(self.settings)

    def once(
        self, name: Hashable, tables: Sequence[str], compute: Callable[[], T], *, is_slow: bool = False
    ) -> T:
        """Return a value that is computed once for each state of some tables.

        The first call waits, until `DEADLINE` at most. When a table has a newer version, the old value is
        returned once more, while the new one is computed beside it; so no visitor waits for a large table
        twice. A computation may ask for other values.

        Args:
            name: what the value is, with all parameters that it depends on.
            tables: the names of the tables that it is computed from.
            compute: computes it.
            is_slow: whether it may take many seconds. Slow values are computed one after another, so that
                others need not wait for them.

        Raises:
            BeingReadError: the value is not there at the deadline; it is computed all the same.
        """
        return self.follow(name, tables, lambda _: compute(), is_slow=is_slow)

    def follow(
        self,
        name: Hashable,
        tables: Sequence[str],
        compute: Callable[[T | None], T],
        *,
        is_slow: bool = False,
    ) -> T:
        """Return a value as `once` does. It is computed from its former value, which is None at first.

        A computation must not change the former value, since visitors still see it.
        """
        kept = self._kept_for(name)
        with kept.lock:
            if kept.work is not None and kept.work.found.done():
                kept.settle(kept.work)
            if kept.work is None and self._versions(tables) != kept.versions:
                if self._is_closed:
                    raise BeingReadError("The dashboard ends")
                kept.work = _Work(lambda: (self._versions(tables, anew=True), compute(kept.value)))
                (self._slow if is_slow else self._workers).submit(self._run, kept.work)
            work = kept.work
            # A computation gets the newest value, so that its own value is not older than it seems.
            if work is None or (kept.versions is not None and not self._in_worker):
                return cast(T, kept.value)
        self._wait_for(work)
        with kept.lock:
            kept.settle(work)
            return cast(T, kept.value)

    def begin(self, *parts: Callable[[], object]) -> None:
        """Read some parts in the background, one after another. A visitor who asks gets a part's error."""

        def read() -> None:
            for part in parts:
                with suppress(LastaisleError):
                    part()

        threading.Thread(target=read, name="dashboard-begin", daemon=True).start()

    def close(self) -> None:
        """Compute no more values."""
        self._is_closed = True
        for workers in (self._workers, self._slow):
            workers.shutdown(wait=False, cancel_futures=True)

    def _wait_for(self, work: _Work) -> None:
        """Wait for a value. A worker computes it itself, since all workers might wait for each other."""
        if self._in_worker:
            self._run(work)
            return
        deadline = DEADLINE.get()
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not wait([work.found], seconds).done:
            raise BeingReadError("This part is read for the first time, which may take some seconds")

    def _kept_for(self, name: Hashable) -> _Kept:
        with self._guard:
            kept = self._kept.setdefault(name, _Kept())
            self._kept.move_to_end(name)
            while len(self._kept) > MOST_VALUES:
                self._kept.popitem(last=False)
            return kept

    def _versions(self, tables: Sequence[str], *, anew: bool = False) -> dict[str, int | None]:
        """Return the versions of some tables; they are looked up again after LOOK_SECONDS, or `anew`."""
        now = time.monotonic()
        for name in tables:
            looked, _ = self._looked.get(name, (None, None))
            if anew or looked is None or now - looked >= LOOK_SECONDS:
                self._looked[name] = (now, self.lake.version(name))
        return {name: self._looked[name][1] for name in tables}

    @property
    def _in_worker(self) -> bool:
        return bool(getattr(self._thread, "is_worker", False))

    def _begin_worker(self) -> None:
        self._thread.is_worker = True

    @staticmethod
    def _run(work: _Work) -> None:
        try:
            work.run()
        except LastaisleError as error:  # a visitor gets it
            log.info("a figure cannot be computed: %s", error)

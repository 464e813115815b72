"""Where the pages read: the lake, the registry, and figures that are computed once for all visitors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from lastaisle.lake.opening import open_lake

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

T = TypeVar("T")
LOOK_SECONDS: Final = 2.0
"""How long the versions of the tables are taken as known."""

log = logging.getLogger(__name__)


@dataclass
class _Kept:
    """A value, and the versions of the tables that it was computed from."""

    versions: dict[str, int | None]
    value: Any
    looked: float
    renewing: Future[Any] | None = None


class Source:
    """What the pages read. A value is computed once for each state of its tables, not for each visitor.

    Args:
        settings: the installation.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._kept: dict[Any, _Kept] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._guard = threading.Lock()
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="dashboard")

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return open_lake(self.settings)

    @cached_property
    def registry(self) -> Registry:
        """The registry; MLflow is imported with the first use, since it takes seconds."""
        from lastaisle.registry.registry import Registry

        return Registry(self.settings)

    def once(self, name: Any, tables: Sequence[str], compute: Callable[[], T]) -> T:
        """Return a value that is computed once for each state of some tables.

        The first call waits. When a table has a newer version, the old value is returned once more, while the
        new one is computed beside it; so no visitor waits for a large table twice.

        Args:
            name: what the value is, with all parameters that it depends on.
            tables: the names of the tables that it is computed from.
            compute: computes it.
        """
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            kept = self._kept.get(name)
            if kept is None:
                versions = self._versions(tables)  # before the value: a commit meanwhile makes it old
                kept = self._kept[name] = _Kept(versions, compute(), time.monotonic())
            elif kept.renewing is not None:
                self._finish(kept)
            elif time.monotonic() - kept.looked >= LOOK_SECONDS:
                kept.looked = time.monotonic()
                versions = self._versions(tables)
                if versions != kept.versions:
                    kept.renewing = self._workers.submit(lambda: (versions, compute()))
            return cast(T, kept.value)

    def _finish(self, kept: _Kept) -> None:
        """Take over a value that was computed beside the old one; an error is raised to the visitor."""
        renewing = kept.renewing
        if renewing is None or not renewing.done():
            return
        kept.renewing = None
        kept.versions, kept.value = renewing.result()

    def _versions(self, tables: Sequence[str]) -> dict[str, int | None]:
        return {name: self.lake.version(name) for name in tables}

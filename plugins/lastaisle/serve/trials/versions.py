"""The versions that the arms of trials need, loaded beside the champion."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from lastaisle.serve.following.errors import MlflowAwayError, VersionUnavailableError
from lastaisle.serve.following.loading import Failure, Loaded, Loader
from lastaisle.serve.following.served import ServedVersion, served_of
from lastaisle.telemetry.shown import without_password

if TYPE_CHECKING:
    from lastaisle.settings import Settings

_LONGEST_WAIT: Final = 60.0

log = logging.getLogger(__name__)


class ArmVersions:
    """Loads versions in a thread of its own, so that a slow download delays nothing else.

    Args:
        settings: where MLflow and the cache are, the name of the model, and how many versions may be loaded.
        prepare: sees each version before it answers; if it raises, the version does not answer.
        tell: is told in words what happened.

    Attributes:
        why: why not all versions can be loaded that are wanted.
    """

    why = "other trials need as many versions as LASTAISLE_SERVE_TRIAL_VERSIONS allows"

    def __init__(
        self,
        settings: Settings,
        prepare: Callable[[ServedVersion], None],
        tell: Callable[[str], None] = log.info,
    ) -> None:
        self._most = settings.serve.trial_versions
        self._pause = settings.serve.poll_seconds
        address = without_password(settings.registry.mlflow_uri)
        self._noted = f"{address} {settings.registry.model_name} version "
        self._loader = Loader(settings, tell)
        self._prepare = prepare
        self._listeners: list[Callable[[], None]] = []
        self._tell = tell
        self._lock = threading.Lock()
        self._wanted: tuple[str, ...] = ()
        self._loaded: dict[str, ServedVersion] = {}
        self._failures: dict[str, Failure] = {}
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arm versions", daemon=True)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the versions that are wanted, in words."""
        with self._lock:
            found = [failure.why for number, failure in self._failures.items() if number in self._wanted]
        if self._thread.ident and not self._thread.is_alive() and not self._stopped.is_set():
            found.append("the thread that loads the versions of arms has ended: restart the service")
        return found

    def add_listener(self, call: Callable[[], None]) -> None:
        """Call a function when a version is loaded."""
        self._listeners.append(call)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. A download that goes on does not hold up the end of the process."""
        self._stopped.set()
        self._woken.set()
        if self._thread.ident:
            self._thread.join(timeout=5)

    def want(self, numbers: Sequence[str], champion: ServedVersion | None) -> list[str]:
        """Say which versions are needed from now on; the others are let go.

        Args:
            numbers: the numbers of the versions, the most important first.
            champion: the version that answers now. It counts as loaded, and stays loaded for an arm when
                another version becomes the champion.

        Returns:
            the versions that would be too many to load.
        """
        known = list(dict.fromkeys(numbers))
        with self._lock:
            if champion is not None and champion.version in known:
                self._loaded[champion.version] = champion
            further = [number for number in known if champion is None or number != champion.version]
            too_many = further[self._most :]
            wanted = tuple(number for number in known if number not in too_many)
            if wanted != self._wanted:
                self._loaded = {number: self._loaded[number] for number in wanted if number in self._loaded}
                self._failures = {n: failure for n, failure in self._failures.items() if n in wanted}
                self._wanted = wanted
                self._woken.set()
        return too_many

    def get(self, number: str) -> ServedVersion | None:
        """Return a loaded version; None as long as it is not loaded."""
        with self._lock:
            return self._loaded.get(number)

    def _run(self) -> None:
        pause: float | None = None  # nothing is wanted before somebody has said so
        while not self._stopped.is_set():
            self._woken.wait(pause)
            self._woken.clear()
            pause = self._load_missing()

    def _load_missing(self) -> float:
        """Load the versions that are missing; return after how many seconds to look again."""
        with self._lock:
            wanted = self._wanted
            missing = [number for number in wanted if number not in self._loaded]
        self._loader.cache.forget(self._noted, [f"{self._noted}{number}" for number in wanted])
        for number in missing:
            failure = self._failures.get(number, Failure())
            if self._stopped.is_set() or failure.is_early(number):
                continue
            try:
                served, source = self._load(number)
            except (VersionUnavailableError, OSError) as error:
                if str(error) != failure.why:
                    self._tell(f"version {number} of an arm is not ready: {error}")
                with self._lock:
                    self._failures[number] = failure.again(number, error, self._pause)
                continue
            with self._lock:
                self._failures.pop(number, None)
                if number in self._wanted:
                    self._loaded.setdefault(number, served)
            self._tell(f"version {number} is ready for the arms that need it, from {source}")
            for call in self._listeners:
                call()
        with self._lock:
            waits = [failure.until - time.monotonic() for failure in self._failures.values()]
        return max(0.05, min([_LONGEST_WAIT, *waits]))

    def _load(self, number: str) -> tuple[ServedVersion, str]:
        """Load a version; return it and where it came from. While MLflow is away, it is the cache's.

        Raises:
            VersionUnavailableError: it cannot be had, or does not fit the rest of the service.
            OSError: the cache cannot be written.
        """
        noted_as = f"{self._noted}{number}"
        loaded: Loaded | None
        try:
            loaded = self._loader.take(self._loader.versions.get(number))
        except MlflowAwayError:
            loaded = self._loader.from_cache(noted_as)
            if loaded is None:
                raise
        served = served_of(loaded, "")
        try:
            self._prepare(served)
        except Exception as error:
            raise VersionUnavailableError(
                f"{loaded.info.named} does not fit the rest of the service: {type(error).__name__}: {error}"
            ) from error
        self._loader.cache.note(noted_as, loaded.info.key)
        if loaded.is_fetched:
            self._loader.cache.prune()
        return served, loaded.source


class NoVersions:
    """Stands for the versions where a service serves the model of a folder, and follows no registry."""

    problems: tuple[str, ...] = ()
    why = "the service serves the model of a folder"

    def add_listener(self, call: Callable[[], None]) -> None:
        """Do nothing: no version is ever loaded."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def want(self, numbers: Sequence[str], champion: ServedVersion | None) -> list[str]:
        """Return the versions that cannot be had: all but the one that answers."""
        return [number for number in numbers if champion is None or number != champion.version]

    def get(self, number: str) -> ServedVersion | None:
        """Return nothing."""
        return None

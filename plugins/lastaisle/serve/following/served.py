"""The version that a service serves: it follows an alias in MLflow, and never becomes worse.

A thread asks MLflow which version the alias has. A new version serves only after it has answered sessions.
While MLflow is away, or the new version is broken, the last good version goes on. A service starts with the
version that the cache has, before it imports MLflow.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastaisle.serve.following.cache import CachedVersion, VersionCache, VersionInfo
from lastaisle.serve.following.errors import MlflowAwayError, VersionUnavailableError
from lastaisle.telemetry.shown import without_password
from models.checkout_model import CheckoutModel, best_of

if TYPE_CHECKING:
    from lastaisle.serve.following.follow import MlflowVersions
    from lastaisle.settings import Settings

LONGEST_RETRY: Final = 60.0
"""A version that failed is tried again after a pause that doubles up to these seconds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ServedVersion:
    """A version that answers. Use its model only in the process that loaded it.

    Attributes:
        model: the loaded model.
        name: the name of the registered model.
        version: its number.
        run_id: the run that trained it; empty if no run did.
        alias: the alias that the service follows.
        digest: the SHA-256 over all files of the packed model, as the ledger has it.
        since: when it began to serve here (UTC).
    """

    model: CheckoutModel
    name: str
    version: str
    run_id: str
    alias: str
    digest: str
    since: datetime


class Follower:
    """Keeps the version that an alias has ready to serve. Each process needs its own; threads may share it.

    Args:
        settings: where MLflow and the cache are, the name of the model, the alias and the pause of polls.
        alias: the alias to follow; the setting's if None.
        on_event: is told in words what happened, once: a swap, a new problem, the end of a problem.
    """

    def __init__(
        self, settings: Settings, *, alias: str | None = None, on_event: Callable[[str], None] = log.info
    ) -> None:
        self._settings = settings
        self._alias = alias or settings.serve.follow
        self._tell = on_event
        address = without_password(settings.registry.mlflow_uri)
        self._noted_as = f"{address} {settings.registry.model_name}@{self._alias}"
        self._cache = VersionCache(Path(settings.serve.cache).expanduser())
        self._versions: MlflowVersions | None = None
        self._listeners: list[Callable[[ServedVersion], None]] = []
        self._current: ServedVersion | None = None
        self._key = ""  # of the current version
        self._problem = self._kind = ""
        self._failed = _Failure()
        self._answered: float | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    @property
    def current(self) -> ServedVersion | None:
        """The version that serves now; None before the first.

        Raises:
            RuntimeError: another process made this follower.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "a forked process cannot use its parent's model: make a Follower after the fork"
            )
        return self._current

    @property
    def problem(self) -> str:
        """Why the version that the alias has does not serve, or why nobody knows it; "" if all is well."""
        return self._problem

    @property
    def age_seconds(self) -> float | None:
        """How long ago MLflow last said which version the alias has; None if it never did."""
        return None if self._answered is None else time.monotonic() - self._answered

    def add_listener(self, call: Callable[[ServedVersion], None]) -> None:
        """Let `call` see each version before it serves; if `call` raises, the version does not serve."""
        self._listeners.append(call)

    def start(self) -> None:
        """Start to follow, in a thread of its own; add all listeners before."""
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop to follow. The current version stays."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _follow(self) -> None:
        try:
            self._attempt(self._start_from_cache)
            while not self._stopped.is_set():
                if self._attempt(self._poll):
                    self._report("", "")
                self._stopped.wait(self._settings.serve.poll_seconds)
        except BaseException:
            self._problem = "the thread that follows MLflow ended by an error, which the log shows: restart"
            raise

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Take a step and report why it fails; tell whether it succeeds."""
        try:
            step()
        except MlflowAwayError as error:
            self._report(str(error), "MLflow is away")  # one outage, though its reasons may differ
            return False
        except (VersionUnavailableError, OSError) as error:
            self._report(str(error), str(error))
            return False
        return True

    def _start_from_cache(self) -> None:
        """Serve the version that the cache has noted, if it has it.

        Raises:
            VersionUnavailableError: the note or the version cannot be read.
        """
        try:
            key = self._cache.noted(self._noted_as)
        except ValueError as error:
            raise VersionUnavailableError(str(error)) from error
        cached = self._cache.open(key) if key else None
        if cached is not None:
            self._serve(cached, self._load(cached), "from the cache")

    def _poll(self) -> None:
        """Ask MLflow once, and serve the version that the alias has.

        Raises:
            VersionUnavailableError: MLflow cannot be asked, or the version cannot be served.
        """
        if self._versions is None:
            from lastaisle.serve.following.follow import MlflowVersions  # here: see the module

            self._versions = MlflowVersions(self._settings)
        info = self._versions.find(self._alias)
        self._answered = time.monotonic()
        if info.key == self._key:
            self._failed = _Failure()
            return
        self._failed.raise_if_early(info.key)
        try:
            self._take(info, self._versions)
        except VersionUnavailableError as error:
            self._failed = self._failed.again(info.key, error, self._settings.serve.poll_seconds)
            raise
        self._failed = _Failure()

    def _take(self, info: VersionInfo, versions: MlflowVersions) -> None:
        """Serve a version from the cache, or fetch it. A damaged version of the cache is fetched anew.

        Raises:
            VersionUnavailableError: the version cannot be fetched or served.
        """
        cached = self._cache.open(info.key)
        if cached is not None:
            try:
                model = self._load(cached)
            except VersionUnavailableError as error:
                self._tell(f"{error}. It is fetched anew")
            else:
                return self._serve(cached, model, "from the cache")
        try:
            cached = self._cache.add(info, lambda folder: versions.fetch(info, folder))
        except OSError as error:
            raise VersionUnavailableError(f"{info.named} cannot be kept in the cache: {error}") from error
        self._serve(cached, self._load(cached), "from MLflow")
        return self._cache.prune()

    def _load(self, cached: CachedVersion) -> CheckoutModel:
        """Load a version and let it answer sessions. The model holds the lock of its files.

        Raises:
            VersionUnavailableError: it cannot be loaded, or fails on sessions; it leaves the cache then.
        """
        try:
            model = CheckoutModel(cached.folder)
            _warm_up(model)
        except Exception as error:  # of LiteRT, of NumPy, or of a file that cannot be read
            os.close(cached.lock)
            self._cache.remove(cached.info.key)
            raise VersionUnavailableError(
                f"{cached.info.named} cannot be served: {type(error).__name__}: {error}"
            ) from error
        weakref.finalize(model, os.close, cached.lock)
        return model

    def _serve(self, cached: CachedVersion, model: CheckoutModel, source: str) -> None:
        """Tell the listeners of a loaded version, let it serve, and note that in the cache.

        Raises:
            VersionUnavailableError: a listener fails on it.
        """
        info = cached.info
        now = datetime.now(UTC)
        served = ServedVersion(model, info.name, info.version, info.run_id, self._alias, cached.digest, now)
        try:
            for call in self._listeners:
                call(served)
        except Exception as error:
            raise VersionUnavailableError(
                f"{info.named} does not fit the rest of the service: {type(error).__name__}: {error}"
            ) from error
        before, self._current, self._key = self._current, served, info.key
        was = f" after version {before.version}" if before else ""
        self._tell(f"{info.named} (@{self._alias}) serves{was}, {source}")
        try:
            self._cache.note(self._noted_as, info.key)
        except OSError as error:
            self._tell(f"the cache cannot note that {info.named} serves: {error}")

    def _report(self, problem: str, kind: str) -> None:
        """Keep a problem, and tell of it if its kind is new, or of its end."""
        if kind and kind != self._kind:
            self._tell(problem)
        elif self._problem and not kind:
            self._tell(f"solved: {self._problem}")
        self._problem, self._kind = problem, kind


@dataclass(frozen=True)
class _Failure:
    """The version that failed last, why, and when it is tried again."""

    key: str = ""
    why: str = ""
    pause: float = 0.0
    until: float = 0.0

    def raise_if_early(self, key: str) -> None:
        if key == self.key and time.monotonic() < self.until:
            raise VersionUnavailableError(self.why)

    def again(self, key: str, error: Exception, pause: float) -> _Failure:
        longer = self.pause * 2 if key == self.key else pause
        longer = min(max(longer, pause), max(LONGEST_RETRY, pause))
        return _Failure(key, str(error), longer, time.monotonic() + longer)


def _warm_up(model: CheckoutModel) -> None:
    """Let a model answer an empty session, one of one item, and the longest.

    Raises:
        ValueError: an answer has no finite score.
    """
    known = [str(item) for item in model.items[1 : 1 + model.max_length]]
    longest = (known * model.max_length)[: model.max_length]
    sessions = [[], known[:1], longest]
    scores, _ = model.score([(session, None) for session in sessions])
    for session, row in zip(sessions, scores, strict=True):
        if known and not len(best_of(row, 1)):
            raise ValueError(f"the scores of a session of {len(session)} items are no numbers")

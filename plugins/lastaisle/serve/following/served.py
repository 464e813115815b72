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
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.serve.following.errors import MlflowAwayError, VersionUnavailableError
from lastaisle.serve.following.loading import Failure, Loaded, Loader
from lastaisle.telemetry.shown import without_password

if TYPE_CHECKING:
    from lastaisle.settings import Settings
    from models.checkout_model import CheckoutModel

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


def served_of(loaded: Loaded, alias: str) -> ServedVersion:
    """Return a loaded version as it begins to serve.

    Args:
        loaded: the version.
        alias: the alias that led to it; empty if none did.
    """
    info, now = loaded.info, datetime.now(UTC)
    return ServedVersion(loaded.model, info.name, info.version, info.run_id, alias, loaded.digest, now)


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
        self._loader = Loader(settings, on_event)
        self._listeners: list[Callable[[ServedVersion], None]] = []
        self._current: ServedVersion | None = None
        self._key = ""  # of the current version
        self._problem = self._kind = ""
        self._failed = Failure()
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
        loaded = self._loader.from_cache(self._noted_as)
        if loaded is not None:
            self._serve(loaded)

    def _poll(self) -> None:
        """Ask MLflow once, and serve the version that the alias has.

        Raises:
            VersionUnavailableError: MLflow cannot be asked, or the version cannot be served.
        """
        info = self._loader.versions.find(self._alias)
        self._answered = time.monotonic()
        if info.key == self._key:
            self._failed = Failure()
            return
        if self._failed.is_early(info.key):
            raise VersionUnavailableError(self._failed.why)
        try:
            loaded = self._loader.take(info)
            self._serve(loaded)
        except VersionUnavailableError as error:
            self._failed = self._failed.again(info.key, error, self._settings.serve.poll_seconds)
            raise
        if loaded.is_fetched:
            self._loader.cache.prune()
        self._failed = Failure()

    def _serve(self, loaded: Loaded) -> None:
        """Tell the listeners of a loaded version, let it serve, and note that in the cache.

        Raises:
            VersionUnavailableError: a listener fails on it.
        """
        info, served = loaded.info, served_of(loaded, self._alias)
        try:
            for call in self._listeners:
                call(served)
        except Exception as error:
            raise VersionUnavailableError(
                f"{info.named} does not fit the rest of the service: {type(error).__name__}: {error}"
            ) from error
        before, self._current, self._key = self._current, served, info.key
        was = f" after version {before.version}" if before else ""
        self._tell(f"{info.named} (@{self._alias}) serves{was}, from {loaded.source}")
        try:
            self._loader.cache.note(self._noted_as, info.key)
        except OSError as error:
            self._tell(f"the cache cannot note that {info.named} serves: {error}")

    def _report(self, problem: str, kind: str) -> None:
        """Keep a problem, and tell of it if its kind is new, or of its end."""
        if kind and kind != self._kind:
            self._tell(problem)
        elif self._problem and not kind:
            self._tell(f"solved: {self._problem}")
        self._problem, self._kind = problem, kind

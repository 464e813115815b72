"""Load versions from the cache, or fetch them from MLflow: nothing that cannot answer gets out of here."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from lastaisle.serve.following.cache import CachedVersion, VersionCache, VersionInfo
from lastaisle.serve.following.errors import VersionUnavailableError
from models.checkout_model import CheckoutModel, best_of

if TYPE_CHECKING:
    from lastaisle.serve.following.follow import MlflowVersions
    from lastaisle.settings import Settings

LONGEST_RETRY: Final = 60.0
"""A version that failed is tried again after a pause that doubles up to these seconds."""


class Loaded(NamedTuple):
    """A version that has answered sessions.

    Attributes:
        info: which version it is.
        digest: the digest of the packed model that was fetched.
        model: the loaded model.
        is_fetched: whether its files came from MLflow, and not from the cache.
    """

    info: VersionInfo
    digest: str
    model: CheckoutModel
    is_fetched: bool

    @property
    def source(self) -> str:
        """Where its files came from, in words."""
        return "MLflow" if self.is_fetched else "the cache"


class Loader:
    """Loads versions in the thread that asks.

    Args:
        settings: where MLflow and the cache are, and the name of the model.
        tell: is told in words of a damaged version in the cache.

    Attributes:
        cache: the versions on this machine's disk.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self.cache = VersionCache(Path(settings.serve.cache).expanduser())
        self._settings = settings
        self._tell = tell
        self._versions: MlflowVersions | None = None

    @property
    def versions(self) -> MlflowVersions:
        """The versions in MLflow, which takes more than a second to import."""
        if self._versions is None:
            from lastaisle.serve.following.follow import MlflowVersions  # here: see the module

            self._versions = MlflowVersions(self._settings)
        return self._versions

    def from_cache(self, noted_as: str) -> Loaded | None:
        """Load the version that the cache has noted under a name; None if the cache does not have it.

        Raises:
            VersionUnavailableError: the note or the version cannot be read.
        """
        try:
            key = self.cache.noted(noted_as)
        except ValueError as error:
            raise VersionUnavailableError(str(error)) from error
        cached = self.cache.open(key) if key else None
        return None if cached is None else self._load(cached, is_fetched=False)

    def take(self, info: VersionInfo) -> Loaded:
        """Load a version from the cache, or fetch it. A damaged version of the cache is fetched anew.

        Raises:
            VersionUnavailableError: the version cannot be fetched or loaded.
        """
        cached = self.cache.open(info.key)
        if cached is not None:
            try:
                return self._load(cached, is_fetched=False)
            except VersionUnavailableError as error:
                self._tell(f"{error}. It is fetched anew")
        try:
            cached = self.cache.add(info, lambda folder: self.versions.fetch(info, folder))
        except OSError as error:
            raise VersionUnavailableError(f"{info.named} cannot be kept in the cache: {error}") from error
        return self._load(cached, is_fetched=True)

    def _load(self, cached: CachedVersion, *, is_fetched: bool) -> Loaded:
        """Load a version and let it answer sessions. The model holds the lock of its files.

        Raises:
            VersionUnavailableError: it cannot be loaded, or fails on sessions; it leaves the cache then.
        """
        try:
            model = CheckoutModel(cached.folder)
            _warm_up(model)
        except Exception as error:  # of LiteRT, of NumPy, or of a file that cannot be read
            os.close(cached.lock)
            self.cache.remove(cached.info.key)
            raise VersionUnavailableError(
                f"{cached.info.named} cannot be served: {type(error).__name__}: {error}"
            ) from error
        weakref.finalize(model, os.close, cached.lock)
        return Loaded(cached.info, cached.digest, model, is_fetched)


@dataclass(frozen=True)
class Failure:
    """The version that failed last, why, and when it is tried again."""

    key: str = ""
    why: str = ""
    pause: float = 0.0
    until: float = 0.0

    def is_early(self, key: str) -> bool:
        """Tell whether a version failed so shortly before that it is not tried again yet."""
        return key == self.key and time.monotonic() < self.until

    def again(self, key: str, error: Exception, pause: float) -> Failure:
        """Return the failure after a version failed, perhaps once more.

        Args:
            key: the version.
            error: why it failed.
            pause: the first pause, in seconds.
        """
        longer = self.pause * 2 if key == self.key else pause
        longer = min(max(longer, pause), max(LONGEST_RETRY, pause))
        return Failure(key, str(error), longer, time.monotonic() + longer)


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

"""The versions of a model on this machine's disk, so that a service starts and rolls back without MLflow.

    versions/<version>-<hash>/light/…        the files that CheckoutModel opens
    versions/<version>-<hash>/version.json   which version they are; a folder without it is not finished
    following/<hash>.json                    which version an alias had when it was last asked
    fetching/…                               downloads that are not finished

A folder appears whole, by one rename. A process holds a shared lock (flock) on each folder that it uses. The
kernel takes the lock away when the process ends, however it ends. The cache belongs on a local disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Final

KEPT: Final = 5
"""How many versions stay, the last used first, beside those that are noted and those in use."""
ABANDONED_SECONDS: Final = 60.0
"""A download that nobody holds a lock on is abandoned when it is this old."""
LIGHT, DESCRIPTION = "light", "version.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionInfo:
    """A version of a registered model.

    Attributes:
        name: the name of the registered model.
        version: its number.
        run_id: the run that trained it; empty if no run did.
        created: when it was registered, in milliseconds since the epoch.
        digest: the digest of its packed model that MLflow has (see models.stored.digest_of); empty if it has
            none, as of a model that people registered themselves.
    """

    name: str
    version: str
    run_id: str
    created: int
    digest: str = ""

    @property
    def key(self) -> str:
        """The name of its folder. Another MLflow may have other versions of the same name and number."""
        return f"{self.version}-{_hash(*map(str, astuple(self)))}"

    @property
    def named(self) -> str:
        """The version in words."""
        return f"version {self.version} of {self.name}"


@dataclass(frozen=True)
class CachedVersion:
    """A version in the cache.

    Attributes:
        info: which version it is.
        digest: the digest of the packed model that was fetched.
        folder: the files that CheckoutModel opens.
        lock: the open lock that keeps the folder; close it (os.close) when the files are not used any more.
    """

    info: VersionInfo
    digest: str
    folder: Path
    lock: int


class VersionCache:
    """The versions in a folder. Several processes may use one folder.

    Args:
        folder: the folder; it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._versions, self._following = folder / "versions", folder / "following"
        self._fetching = folder / "fetching"

    def open(self, key: str) -> CachedVersion | None:
        """Hold a version and return it; None if the cache does not have it."""
        folder = self._versions / key
        lock = _hold(folder, fcntl.LOCK_SH)
        if lock is None:
            return None
        with suppress(OSError):  # a cache that cannot be written can still be read
            os.utime(folder)
        try:
            content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            return CachedVersion(
                VersionInfo(**content["version"]), str(content["digest"]), folder / LIGHT, lock
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            os.close(lock)
            log.warning("%s cannot be read: %s", folder / DESCRIPTION, error)
            self.remove(key)
            return None

    def add(self, info: VersionInfo, fill: Callable[[Path], str]) -> CachedVersion:
        """Fetch a version and return it.

        Args:
            info: which version it is.
            fill: writes the files that CheckoutModel opens into the folder that it is given, and returns the
                digest of the packed model.

        Raises:
            OSError: the cache cannot be written.
        """
        with self._unfinished() as folder:
            digest = fill(folder / LIGHT)
            content = json.dumps({"version": asdict(info), "digest": digest})
            (folder / DESCRIPTION).write_text(content, encoding="utf-8")
            self._versions.mkdir(mode=0o700, parents=True, exist_ok=True)
            for _ in range(3):  # another process may fetch it, or remove a damaged folder, at the same time
                with suppress(OSError):
                    folder.rename(self._versions / info.key)
                if found := self.open(info.key):
                    return found
        raise OSError(f"{self._versions / info.key} cannot be written")

    def remove(self, key: str) -> None:
        """Remove a version. A process that has opened its files goes on with them."""
        try:
            with self._unfinished() as folder, suppress(FileNotFoundError):
                (self._versions / key).rename(folder / key)
            log.info("%s is removed from the cache", self._versions / key)
        except OSError as error:
            log.warning("%s cannot be removed: %s", self._versions / key, error)

    def prune(self) -> None:
        """Remove all but the versions that were used last, are noted, or are in use by a process."""
        with suppress(OSError):
            noted = {_noted_in(file) for file in self._following.iterdir()}
            found = sorted(self._versions.iterdir(), key=_last_use, reverse=True)
            for folder in (folder for folder in found[KEPT:] if folder.name not in noted):
                lock = _hold(folder, fcntl.LOCK_EX)
                if lock is not None:
                    self.remove(folder.name)
                    os.close(lock)

    def note(self, follower: str, key: str) -> None:
        """Keep which version a follower serves.

        Args:
            follower: MLflow's address, the name of the model and the alias, in one text.
            key: the key of the version.

        Raises:
            OSError: the cache cannot be written.
        """
        self._following.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{_hash(follower)}.json"
        with self._unfinished() as folder:
            content = json.dumps({"follower": follower, "version": key})
            (folder / name).write_text(content, encoding="utf-8")
            (folder / name).replace(self._following / name)

    def noted(self, follower: str) -> str | None:
        """Return the key of the version that a follower served; None if the cache does not know it.

        Raises:
            ValueError: the note cannot be read.
        """
        file = self._following / f"{_hash(follower)}.json"
        if not file.exists():
            return None
        key = _noted_in(file)
        if key is None:
            raise ValueError(f"{file} should name a version of {self._versions}, and does not")
        return key

    def forget(self, prefix: str, kept: Collection[str]) -> None:
        """Remove the notes of followers that have ended. A cache that cannot be written keeps its notes.

        Args:
            prefix: with which the texts of these followers begin.
            kept: the texts of the followers that go on.
        """
        with suppress(OSError):
            for file in self._following.iterdir():
                follower = _follower_in(file)
                if follower is not None and follower.startswith(prefix) and follower not in kept:
                    file.unlink(missing_ok=True)

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """Make a folder for a block; remove it after the block, and remove those of killed processes."""
        self._fetching.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in self._fetching.iterdir():
            if time.time() - _last_use(folder) > ABANDONED_SECONDS:
                lock = _hold(folder, fcntl.LOCK_EX)
                if lock is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(lock)
        folder = Path(tempfile.mkdtemp(dir=self._fetching))
        lock = _hold(folder, fcntl.LOCK_SH)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)


def _hold(folder: Path, kind: int) -> int | None:
    """Lock a folder without waiting; return the open lock, or None if the folder is gone or locked."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino == folder.stat().st_ino:  # another process may have removed it meanwhile
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _noted_in(file: Path) -> str | None:
    """Return the key of a version that a note holds; None if the note cannot be read."""
    key = _read(file, "version")
    return key if key is not None and Path(key).name == key else None


def _follower_in(file: Path) -> str | None:
    """Return the follower of a note; None if the note cannot be read."""
    return _read(file, "follower")


def _read(file: Path, name: str) -> str | None:
    try:
        text = json.loads(file.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return text if isinstance(text, str) else None


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

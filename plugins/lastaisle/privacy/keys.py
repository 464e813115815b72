"""The pseudonym keys: made on first use, kept outside the lake, rotated by version."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.privacy import domain_key
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.settings.private import lies_in_lake, write_new

ENVIRONMENT = "LASTAISLE_PSEUDONYM_KEY"
KEY_BYTES = 32
FINGERPRINT_BYTES = 6


class KeyFileError(LastaisleError):
    """A key or a key file cannot be used. The message never contains the key."""

    exit_code = ExitCode.KEY_UNUSABLE


@dataclass(frozen=True)
class PseudonymKeys:
    """All versions of the key; new pseudonyms use the current one.

    Attributes:
        current: version of the key in use.
        versions: every key by its version.
        path: the file of the keys; None if they came from the environment.
    """

    current: int
    versions: Mapping[int, bytes] = field(repr=False)
    path: Path | None = None

    @property
    def key(self) -> bytes:
        """The current key."""
        return self.versions[self.current]

    def fingerprint(self, version: int | None = None) -> str:
        """Return 12 hex characters that tell a key (the current by default) from others and say no more."""
        secret = self.versions[version or self.current]
        return domain_key(secret, "/fingerprint")[:FINGERPRINT_BYTES].hex()  # no domain has a slash

    @classmethod
    def load_or_create(
        cls, key_file: str | Path, *, lake_url: str | None = None, environ: Mapping[str, str] | None = None
    ) -> PseudonymKeys:
        """Read the keys as `load` does; make the file (mode 0600) if there is none.

        Raises:
            KeyFileError: the key or the file cannot be used, or the file lies inside the lake.
        """
        keys = cls.load(key_file, lake_url=lake_url, environ=environ)
        if keys is None:
            path = Path(key_file).expanduser().resolve()
            _create(path, _document(1, {1: secrets.token_bytes(KEY_BYTES)}))
            keys = cls._from_file(path)
        return keys

    @classmethod
    def load(
        cls, key_file: str | Path, *, lake_url: str | None = None, environ: Mapping[str, str] | None = None
    ) -> PseudonymKeys | None:
        """Read the keys from the environment, else from the file; None if there is neither.

        LASTAISLE_PSEUDONYM_KEY holds a key as 64 hex characters or more. A key that is not the first has its
        version before it: `2:9f86d0…`.

        Args:
            key_file: the path of the file.
            lake_url: the lake; the file may not lie in it.
            environ: the environment variables; those of the process by default.

        Raises:
            KeyFileError: the key or the file cannot be used, or the file lies inside the lake.
        """
        given = (os.environ if environ is None else environ).get(ENVIRONMENT, "").strip()
        if given:
            return cls._from_text(given)
        path = Path(key_file).expanduser().resolve()
        if lies_in_lake(path, lake_url or ""):
            raise KeyFileError(f"the key file {path} lies inside the lake {lake_url}: keep it elsewhere")
        return cls._from_file(path) if path.exists() else None

    def rotate(self, above: int = 0) -> PseudonymKeys:
        """Add a new current key to the file and return the keys; then run `rotate_pseudonyms`.

        Args:
            above: the new version is higher than this number, and than all versions of the file.

        Raises:
            KeyFileError: the key comes from the environment, so only the user can change it; or another
                process changed the file meanwhile.
        """
        newest = self.next_version(above)
        assert self.path is not None, "next_version refuses keys without a file"
        with _locked(self.path):
            if dict(self._from_file(self.path).versions) != dict(self.versions):
                raise KeyFileError(f"another process changed the key file {self.path} meanwhile: run again")
            versions = {**self.versions, newest: secrets.token_bytes(KEY_BYTES)}
            fresh = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
            _create(fresh, _document(newest, versions))
            fresh.replace(self.path)
        return PseudonymKeys(newest, versions, self.path)

    def next_version(self, above: int = 0) -> int:
        """Return the version that `rotate` would give to a new key, and raise what it would raise."""
        newest = max(above, *self.versions) + 1
        if self.path is None:
            raise KeyFileError(
                f"the key comes from {ENVIRONMENT}, so only you can change it: set it to "
                f"{newest}:<a new key>, which `openssl rand -hex 32` makes; then rotate again"
            )
        return newest

    @classmethod
    def _from_text(cls, text: str) -> PseudonymKeys:
        version, _, key = text.rpartition(":")
        try:
            number, secret = int(version or 1), bytes.fromhex(key)
        except ValueError as error:
            raise KeyFileError(
                f"{ENVIRONMENT} should be hex characters, or <version>:<hex characters>"
            ) from error
        if len(secret) < KEY_BYTES or number < 1:
            raise KeyFileError(
                f"{ENVIRONMENT} should hold {KEY_BYTES} bytes or more as hex and a version from 1; "
                f"received {len(secret)} bytes, version {number}"
            )
        return cls(number, {number: secret})

    @classmethod
    def _from_file(cls, path: Path) -> PseudonymKeys:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise KeyFileError(f"others may read the key file {path} (mode {mode:o}): chmod 600 it")
        try:
            document = json.loads(path.read_text(encoding="ascii"))
            versions = {int(version): bytes.fromhex(key) for version, key in document["keys"].items()}
            current = int(document["current"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyFileError(f"the key file {path} is damaged: restore it from its backup") from error
        if current not in versions or any(len(key) < KEY_BYTES for key in versions.values()):
            raise KeyFileError(f"the key file {path} lacks its current key: restore it from its backup")
        return cls(current, versions, path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes of this machine from changing a key file; the end of a process ends its lock."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _document(current: int, versions: Mapping[int, bytes]) -> str:
    keys = {str(version): key.hex() for version, key in versions.items()}
    return json.dumps({"current": current, "keys": keys}, indent=1)


def _create(path: Path, text: str) -> None:
    """Write a new file that only its owner may read; a file that another process made first stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        write_new(path, text.encode("ascii"))

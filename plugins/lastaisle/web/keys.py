"""The keys that may call a service; a file of keys is read again when it changes."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from pydantic import SecretStr

from lastaisle.settings import SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0


class Keys:
    """The known keys.

    The file has one key in each line. Lines that begin with # are comments. The file is looked at once a
    second: a key that is gone from it is refused from then on. While the file cannot be read, its last keys
    stay valid, and `find_problem` says so.

    Args:
        listed: keys that are always valid.
        file: the file of more keys; None if there is none.

    Raises:
        SettingsError: the file cannot be read.
    """

    name = "API keys"
    """The keys in messages."""

    def __init__(self, listed: Sequence[str] = (), file: Path | None = None) -> None:
        self._problem = ""
        self._listed = dict.fromkeys(listed, self._number([]))
        self._file = file
        self._known: Mapping[str, int] = self._listed
        self._looked = time.monotonic()
        self._seen: object = None
        if file:
            self._seen = self._state(file)
            try:
                self._known = self._read(file)
            except (OSError, ValueError) as error:
                raise SettingsError(f"cannot read the file of {self.name} {file}: {error}") from error

    @classmethod
    def of(cls, listed: SecretStr, file: str) -> Self:
        """Return the keys that two settings name: keys with commas between, and the path of a file.

        Raises:
            SettingsError: the file cannot be read.
        """
        keys = [key.strip() for key in listed.get_secret_value().split(",") if key.strip()]
        return cls(keys, Path(file).expanduser() if file else None)

    def has_any(self) -> bool:
        """Return whether there are or may be keys."""
        return bool(self._file or self._listed)

    def knows(self, key: str) -> bool:
        """Return whether a key is valid now; the comparison takes the same time for right and wrong keys."""
        self._look()
        given = key.encode("utf-8", "surrogatepass")
        return sum(hmac.compare_digest(given, known.encode()) for known in self._known) > 0

    def find_problem(self) -> str:
        """Return what is wrong with the file; empty if nothing is."""
        self._look()
        return self._problem

    def _number(self, words: Sequence[str]) -> int:
        """Return the number that a key has, from the words behind the key in its line.

        Raises:
            ValueError: the words are none of a key; the message says what a line should be.
        """
        if words:
            raise ValueError("a key without blanks")
        return 0

    def _look(self) -> None:
        """Read the file again if it changed."""
        now = time.monotonic()
        if self._file is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        state, before = self._state(self._file), self._seen
        if state == before and not self._problem:
            return
        self._seen = state
        try:
            self._known = self._read(self._file)
        except (OSError, ValueError) as error:
            self._problem = f"the file of {self.name} cannot be read; its last keys stay valid"
            if state != before:  # told once, tried again until the file can be read
                log.error(
                    "cannot read the file of %s %s: %s; its last keys stay valid",
                    self.name,
                    self._file,
                    error,
                )
            return
        self._problem = ""
        log.warning("read %s again: %d %s are valid", self._file, len(self._known), self.name)

    def _read(self, file: Path) -> dict[str, int]:
        numbers = {}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                numbers[words[0]] = self._number(words[1:])
            except ValueError as error:
                raise ValueError(f"line {number} should be {error}") from None
        return {**self._listed, **numbers}

    @staticmethod
    def _state(file: Path) -> object:
        try:
            found = file.stat()
        except OSError as error:
            return error.errno
        return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def given_key(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the key that a request gives; empty if it gives none."""
    alone = ""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return key.strip().decode("utf-8", "replace")
        elif name == b"x-api-key":
            alone = value.decode("utf-8", "replace")
    return alone

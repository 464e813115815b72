"""Files that keep what the dashboard computed, so that its next start computes only what is new."""

from __future__ import annotations

import hashlib
import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from lastaisle.lake.whole_file import whole_file

T = TypeVar("T")
MOST_BYTES: Final = 256 * 2**20
"""A larger file is neither written nor read."""
_SIGN: Final = b"lastaisle-dashboard"

log = logging.getLogger(__name__)


def form_of(*parts: str) -> str:
    """Return a digest of everything that says how a content is computed and written."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class KeptFiles:
    """Files of the dashboard, one for each content. Several processes may share them.

    The first line of a file has the form of its content and a digest of it. A file that cannot be used is
    told in the log; the dashboard works without it.

    Args:
        folder: the folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._has_told = False

    def load(self, path: Path, form: str, decode: Callable[[bytes], T]) -> T | None:
        """Return the content of a file; None without a usable one.

        Args:
            path: the file.
            form: see `form_of`; a file of another form is of another release.
            decode: reads the content, or raises a ValueError, KeyError or TypeError.
        """
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
                raise ValueError(f"it is no file of {MOST_BYTES:,} bytes at most")
            head, _, content = path.read_bytes().partition(b"\n")
            sign, own_form, digest = (*head.split(b" "), b"", b"")[:3]
            if sign != _SIGN or digest != _digest(content):
                raise ValueError("its content does not fit its digest")
            if own_form != form.encode():
                log.info("another release wrote the file %s: its figures are computed anew", path)
                return None
            return decode(content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning(
                "the dashboard's file %s cannot be used: %s. Its figures are computed anew", path, error
            )
            return None

    def save(self, path: Path, form: str, content: bytes) -> None:
        """Write a file whole, for its owner alone. The log tells once if that fails."""
        try:
            if len(content) > MOST_BYTES:
                raise OSError(f"{len(content):,} bytes are more than the {MOST_BYTES:,} that are kept")
            with whole_file(path) as unfinished:
                unfinished.write_bytes(b" ".join((_SIGN, form.encode(), _digest(content))) + b"\n" + content)
        except OSError as error:
            if not self._has_told:
                self._has_told = True
                log.warning(
                    "the dashboard cannot keep its figures in %s: %s. It works without; each start reads "
                    "all of them again",
                    path,
                    error,
                )


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()

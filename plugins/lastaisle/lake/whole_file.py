"""Write a file whole: readers see the old content or the new content."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_ABANDONED_SECONDS: Final = 600.0


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an unfinished file to write; it takes the place of the file when the block ends well.

    The folder is made if it is missing. Unfinished files of writers that were killed are removed.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in path.parent.glob(f".{path.stem}-*.inprogress"):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                file.unlink()
    handle, unfinished = tempfile.mkstemp(".inprogress", f".{path.stem}-", path.parent)
    os.close(handle)
    try:
        yield Path(unfinished)
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)

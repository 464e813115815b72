"""The error stream of this process without the notes of C++ libraries.

Airflow tags each line of the error stream of a task as an error.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

_STDERR: Final = 2
#: Notes (I) and warnings (W) of C++ code, and the line before the first of them. Errors stay.
_NOTES: Final = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR\n"
    rb"|[IW]\d{4} [\d:.]+ +\d+ \S+:\d+\] [^\n]*\n"
    rb"|INFO: Created TensorFlow Lite XNNPACK delegate for CPU\.\n"
)


@contextmanager
def without_notes() -> Iterator[None]:
    """Hold back the error stream of this process during a block; then pass on all of it but the notes."""
    with ExitStack() as opened:
        try:
            original = opened.enter_context(os.fdopen(os.dup(_STDERR), "wb"))
            held = opened.enter_context(tempfile.TemporaryFile())
        except OSError:  # no error stream, or no folder for temporary files: the notes do no harm
            yield
            return
        _flush()
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            _flush()
            os.dup2(original.fileno(), _STDERR)
            held.seek(0)
            original.write(_NOTES.sub(b"", held.read()))


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()

"""Recognize, by its name, a file or a folder that is no log or is not complete yet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "its name begins with a dot or an underscore"
UNFINISHED: Final = "its name is that of an unfinished upload"
SYSTEM: Final = "it belongs to the operating system"
EMPTY: Final = "it is empty (0 bytes)"

_UNFINISHED = re.compile(
    r"(\.(tmp|temp|part|partial|filepart|crdownload|download|opdownload|inprogress|incomplete|uploading|writing"
    r"|copying|aria2|sw[a-z]|lock)|\._copying_|~)$|^#.*#$",
    re.IGNORECASE,
)
_SYSTEM = frozenset(
    [
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin"),
        *("system volume information", "lost+found", "@eadir"),
    ]
)


def why_passed_over(name: str) -> str | None:
    """Return why a file or a folder of this name is passed over; None if it is read.

    Args:
        name: one part of a path.
    """
    if name.startswith((".", "_")):
        return HIDDEN
    if name.lower() in _SYSTEM:
        return SYSTEM
    return UNFINISHED if _UNFINISHED.search(name) else None


def first_passed_over(parts: Iterable[str]) -> tuple[int, str] | None:
    """Return the position and the reason of the first part of a path that is passed over; else None."""
    for position, part in enumerate(parts):
        if reason := why_passed_over(part):
            return position, reason
    return None

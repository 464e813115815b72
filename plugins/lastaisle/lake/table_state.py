"""Which state of a table a service has read, and where the machine of the service keeps what was read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lastaisle.lake.errors import clear_errors

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader


@dataclass(frozen=True)
class TableState:
    """Which state of a table was read; another state has other rows.

    Attributes:
        table_id: the id that Delta Lake gave to the table when it was made.
        version: the version of the table.
    """

    table_id: str
    version: int


def find_state(lake: LakeReader, name: str) -> TableState | None:
    """Return the newest state of a table; None if it was never written.

    Raises:
        LakeUnusableError: the table is there, but it cannot be read.
    """
    table = lake.table(name)
    if table is None:
        return None
    with clear_errors(f"read table {name}", lake.url):
        return TableState(str(table.metadata().id), int(table.version()))


def file_of(folder: Path, kind: str, lake_url: str, suffix: str) -> Path:
    """Return the file that keeps what was read of a lake; each lake has a file of its own."""
    name = hashlib.sha256(lake_url.encode()).hexdigest()[:16]
    return folder / kind / f"{name}{suffix}"

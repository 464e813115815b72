"""The rows of the catalogue that a service has read, in memory and on the disk of its machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lastaisle.catalogue.history import listed_at
from lastaisle.lake import Lake
from lastaisle.lake.errors import clear_errors
from lastaisle.lake.table_state import TableState, file_of
from lastaisle.lake.tables import ITEMS
from lastaisle.lake.whole_file import whole_file
from lastaisle.serve.shown.view import HIDDEN, Snapshot

_NOTE: Final = b"lastaisle.catalogue"


@dataclass(frozen=True)
class KeptRows:
    """Rows of the table `items`: those that are true now, and those that become true later.

    Attributes:
        rows: the rows, with the columns of the table.
        state: the state of the table that they were read from.
        at: when they were read.
    """

    rows: pa.Table
    state: TableState
    at: datetime

    def snapshot(self, now: datetime) -> Snapshot:
        """Return the catalogue as of a moment; a clock that went back counts as standing still."""
        now = max(now, self.at)
        items = listed_at(self.rows, now)
        items = items.select([name for name in items.column_names if name not in HIDDEN]).combine_chunks()
        later = pc.min(self.rows["valid_from"].filter(pc.greater(self.rows["valid_from"], now))).as_py()
        return Snapshot(items, now, later)


def read_rows(lake: Lake, state: TableState, now: datetime) -> KeptRows | None:
    """Read the rows that are true now, and those that become true later.

    Returns:
        None if the table holds no row at all: then it says nothing about any item.

    Raises:
        LakeUnusableError: the table cannot be read.
    """
    dataset = lake.require(ITEMS, state.version)
    with clear_errors(f"read table {ITEMS}", lake.url):
        if not dataset.count_rows():
            return None
        current = listed_at(dataset, now)
        later = dataset.to_table(filter=pc.field("valid_from") > now)
    return KeptRows(pa.concat_tables([current, later]), state, now)


class RowsFile:
    """A file that keeps the rows, so that a service starts while the lake is away.

    Args:
        folder: the folder of the file. Several services may share it.
        lake_url: the lake. Each lake has a file of its own.
    """

    def __init__(self, folder: Path, lake_url: str) -> None:
        self.path = file_of(folder, "catalogue", lake_url, ".parquet")

    def save(self, kept: KeptRows) -> None:
        """Write the rows; readers see the old file or the new file.

        Raises:
            OSError: the file cannot be written.
        """
        note = {"table_id": kept.state.table_id, "version": kept.state.version, "at": kept.at.isoformat()}
        rows = kept.rows.replace_schema_metadata({_NOTE: json.dumps(note).encode()})
        with whole_file(self.path) as unfinished:
            pq.write_table(rows, unfinished, compression="zstd", write_page_checksum=True)

    def load(self) -> KeptRows | None:
        """Return the rows; None without a file.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is damaged, or another program wrote it.
        """
        if not self.path.exists():
            return None
        rows = pq.read_table(self.path, page_checksum_verification=True)
        note = json.loads((rows.schema.metadata or {}).get(_NOTE, b"null"))
        if not isinstance(note, dict):
            raise ValueError("it holds no rows of a catalogue")
        at = datetime.fromisoformat(note["at"]).astimezone(UTC)
        return KeptRows(rows.replace_schema_metadata(None), TableState(note["table_id"], note["version"]), at)

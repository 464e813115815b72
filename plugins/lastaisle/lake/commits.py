"""The other parts of a commit to a Delta table: keys and stamps, removed files, added columns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

_WRITER = "writer"  # the application id that every append of this project writes: an optimistic lock


def files_of(table: DeltaTable, days: Sequence[date]) -> dict[str, RemoveAction]:
    """Return the actions that remove the files of some days of a table, by the paths of the files."""
    now = int(time.time() * 1000)
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return {
        file["path"]: RemoveAction(
            file["path"],
            data_change=True,
            deletion_timestamp=now,
            size=file["size_bytes"],
            partition_values={"event_date": file["partition.event_date"].isoformat()},
        )
        for file in files
        if file["partition.event_date"] in days
    }


def commit_properties_of(
    stamps: Mapping[str, int], at: int, metadata: Mapping[str, str] | None, *, alone: bool = False
) -> CommitProperties:
    """Return a commit's keys and stamps, and the lock that refuses a second writer at this version.

    A commit that removes files has to be `alone`: no other commit may come between reading and committing.
    Otherwise a compaction could move the same rows into another file meanwhile. Delta-rs would not notice,
    and the table would hold the rows twice.
    """
    every = {**stamps, _WRITER: at + 1}
    return CommitProperties(
        custom_metadata=dict(metadata) if metadata else None,
        app_transactions=[Transaction(name, version) for name, version in every.items()],
        max_commit_retries=0 if alone else None,
    )


def widen(table: DeltaTable, schema: pa.Schema) -> None:
    """Add the columns that a table lacks; if another writer commits meanwhile, this commit fails."""
    known = {field.name for field in table.schema().fields}
    missing = [field for field in Schema.from_arrow(schema).fields if field.name not in known]
    if missing:
        at = table.version()
        table.alter.add_columns(missing)
        table.update_incremental()
        if table.version() != at + 1:
            raise CommitFailedError(f"another writer committed while columns were added to {table.table_uri}")

"""Rows that leave single files of a table: the files are written again without them, in one commit."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from lastaisle.lake.commits import commit_properties_of
from lastaisle.lake.errors import LakeConflictError, clear_errors
from lastaisle.lake.folder import TableFolder
from lastaisle.lake.lake import Lake
from lastaisle.lake.pruning import LAST_CHARACTER
from lastaisle.lake.tables import PARTITIONS

#: The rows of a file that stay, by the number of the row, in order: true for a row that stays.
Kept = Callable[[pa.Table], pa.ChunkedArray | pa.Array]

_BATCH_ROWS: Final = 1 << 17
_LONGEST_BOUND: Final = 64


@dataclass(frozen=True)
class LiveFile:
    """A file of the newest version of a table.

    Attributes:
        path: its name inside the table's folder.
        size: bytes.
        partition: the values of the partition columns, as the log has them.
    """

    path: str
    size: int
    partition: Mapping[str, str | None]


@dataclass(frozen=True)
class Rewritten:
    """What a rewrite changed.

    Attributes:
        rows: the rows that left.
        removed: the files that are no part of the table any more, by their names; they still lie there.
        written: the files that took their place.
    """

    rows: int = 0
    removed: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


def live_files(table: DeltaTable) -> dict[str, LiveFile]:
    """Return the files of a version of a table, by their names."""
    keys = table.metadata().partition_columns
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return {
        file["path"]: LiveFile(
            file["path"], file["size_bytes"], {key: _text(file[f"partition.{key}"]) for key in keys}
        )
        for file in files
    }


def rewrite_files(lake: Lake, name: str, kept: Mapping[str, Kept]) -> Rewritten:
    """Write some files of a table again without rows, in one commit; the other files are not touched.

    Rows that others append meanwhile stay. The replaced files still lie in the folder afterwards.

    Args:
        lake: holds the table.
        name: the table.
        kept: for each file of the newest version, the function that tells which rows stay.

    Raises:
        LakeConflictError: a file is no longer part of the table, or another writer committed meanwhile: read
            the table again.
    """
    table, folder = lake.table(name), lake.folder(name)
    live = {} if table is None else live_files(table)
    if table is None or not kept.keys() <= live.keys():
        raise LakeConflictError(f"files of table {name} of {lake.url} were replaced meanwhile: read it again")
    added: list[AddAction] = []
    removed: list[LiveFile] = []
    rows = 0
    try:
        with clear_errors(f"rewrite table {name}", lake.url):
            for path, which in kept.items():
                action, left = _write_without(folder, live[path], which)
                if left:
                    rows += left
                    removed.append(live[path])
                    added += [] if action is None else [action]
            if removed:
                _commit(table, name, added, removed)
    except BaseException as error:
        # A commit that failed for another reason may have happened; then these files are part of the table.
        if isinstance(error, CommitFailedError) or not removed:
            folder.discard(action.path for action in added)
        if isinstance(error, CommitFailedError):
            raise LakeConflictError(
                f"another writer changed table {name} of {lake.url}: read it again"
            ) from (error)
        raise
    return Rewritten(rows, tuple(file.path for file in removed), tuple(action.path for action in added))


def _commit(table: DeltaTable, name: str, added: Iterable[AddAction], removed: Iterable[LiveFile]) -> None:
    now = time.time_ns() // 1_000_000
    gone = [
        RemoveAction(
            file.path,
            data_change=True,
            deletion_timestamp=now,
            size=file.size,
            partition_values={key: value for key, value in file.partition.items() if value is not None},
        )
        for file in removed
    ]
    table.create_write_transaction(
        [*added, *gone],
        "append",
        table.schema(),
        PARTITIONS.get(name),
        commit_properties=commit_properties_of({}, int(table.version()), None, alone=True),
    )


def _write_without(folder: TableFolder, file: LiveFile, kept: Kept) -> tuple[AddAction | None, int]:
    """Write the rows of a file that stay into a new file; return its action, and how many rows leave."""
    with folder.filesystem().open_input_file(file.path) as stream:
        rows = without_views(pq.read_table(stream))
    stay = rows.filter(kept(rows))
    left = rows.num_rows - stay.num_rows
    if not left or not stay.num_rows:
        return None, left
    parent = file.path.rpartition("/")[0]
    name = f"{f'{parent}/' if parent else ''}part-{uuid.uuid4()}.zstd.parquet"
    size = _write(folder, name, stay)
    action = AddAction(
        path=name,
        size=size,
        partition_values=dict(file.partition),
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=json.dumps(_statistics(stay)),
    )
    return action, left


def _write(folder: TableFolder, name: str, rows: pa.Table) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(folder.url) / name if folder.is_local else Path(scratch) / "part.parquet"
        pq.write_table(
            rows, path, compression="zstd", compression_level=1, row_group_size=_BATCH_ROWS, version="2.6"
        )
        if not folder.is_local:
            folder.upload(path, name)
        return path.stat().st_size


def without_views(rows: pa.Table) -> pa.Table:
    """Return rows whose text is plain text: Arrow cannot filter the views that delta-rs sometimes writes."""
    fields = [
        field.with_type(pa.string()) if field.type in (pa.string_view(), pa.large_string()) else field
        for field in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def _statistics(rows: pa.Table) -> dict[str, Any]:
    """Return the statistics by which readers skip a file.

    A reader takes a column without bounds for one without values, and skips the file where it filters by that
    column. So every column with a value has bounds.
    """
    found: dict[str, Any] = {"numRecords": rows.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_nested(field.type):
            continue
        found["nullCount"][field.name] = column.null_count
        bounds = pc.min_max(column).as_py()
        if bounds["min"] is not None:
            found["minValues"][field.name] = _stated(bounds["min"], "")
            found["maxValues"][field.name] = _stated(bounds["max"], LAST_CHARACTER)
    return found


def _stated(value: Any, behind: str) -> Any:
    """Return a bound as the log states it; a long text is cut, with a character behind it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and len(value) > _LONGEST_BOUND:
        return value[:_LONGEST_BOUND] + behind
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

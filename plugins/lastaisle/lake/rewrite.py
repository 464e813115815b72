"""Files of a table written anew with some rows changed or left out, to be committed by Delta afterwards.

delta-rs's own merge, update and delete leave files whose text has the type string_view. Arrow cannot compare
that with text where it looks at such a file's statistics, so every filter on text failed afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from lastaisle.lake.query import Query
from lastaisle.lake.workspace import open_workspace


@dataclass(frozen=True)
class Change:
    """New values for rows that are there.

    Attributes:
        rows: the values, with the column `on` that says of which row.
        on: a column whose values are unique in the table.
    """

    rows: pa.Table
    on: str

    def sql(self) -> str:
        """Return a SELECT of the relation `kept` with the values of the relation `given`."""
        values = ", ".join(
            f'CASE WHEN given."{self.on}" IS NULL THEN kept."{name}" ELSE given."{name}" END AS "{name}"'
            for name in self.rows.column_names
            if name != self.on
        )
        matched = f'kept."{self.on}" = given."{self.on}"'
        return f"SELECT kept.* REPLACE ({values}) FROM kept LEFT JOIN given ON {matched}"


def rewrite(
    table: DeltaTable, dataset: ds.Dataset, folder: str, touched: pc.Expression, change: Change | None = None
) -> list[AddAction | RemoveAction]:
    """Write each file anew that holds a touched row; return what to commit. One file is worked on at a time.

    Args:
        table: the table, partitioned by event_date.
        dataset: the same version of it.
        folder: its path, or its URL.
        touched: which rows change.
        change: what becomes of them; None leaves them out.
    """
    known = {row["path"]: row for row in pa.table(table.get_add_actions(flatten=True)).to_pylist()}
    actions: list[AddAction | RemoveAction] = []
    stays = None if change else ~touched | touched.is_null()
    with open_workspace() as connection:
        if change:
            connection.register("given", change.rows)
        for fragment in dataset.get_fragments(filter=touched):
            file = ds.FileSystemDataset([fragment], dataset.schema, fragment.format, fragment.filesystem)
            if not file.count_rows(filter=touched):
                continue
            connection.register("file", file.scanner(filter=stays).to_reader())
            connection.execute("CREATE OR REPLACE TABLE kept AS FROM file")
            connection.unregister("file")
            old = known[fragment.path]
            day = old["partition.event_date"]
            query = Query(connection, change.sql() if change else "FROM kept", dataset.schema, [day])
            actions.append(_removal(old["path"], old["size_bytes"], day.isoformat()))
            actions += query.write(table, folder)
    return actions


def _removal(path: str, size: int, day: str) -> RemoveAction:
    return RemoveAction(
        path=path,
        data_change=True,
        deletion_timestamp=time.time_ns() // 1_000_000,
        size=size,
        partition_values={"event_date": day},
    )

"""A folder, or a bucket, of Delta tables in which every append happens exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from lastaisle.lake.commits import commit_properties_of, files_of, widen
from lastaisle.lake.errors import LakeConflictError, clear_errors
from lastaisle.lake.query import Query
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.lake.tables import PARTITIONS
from lastaisle.lake.workspace import open_workspace

Rows: TypeAlias = pa.Table | pa.RecordBatchReader | Query


class Lake(LakeReader):
    """The Delta tables under one URL, for reading and writing; see `LakeReader`."""

    def append(
        self,
        name: str,
        data: Rows | Callable[[], Rows],
        *,
        key: str | Sequence[str],
        stamp: int = 1,
        also: Mapping[str, int] | None = None,
        metadata: Mapping[str, str] | None = None,
        if_version: int | None = None,
        is_numbered: bool = False,
    ) -> bool:
        """Append rows exactly once by key.

        The key travels in the same Delta commit as the rows. So a second call with the same key writes
        nothing, at whatever moment the first call was killed. An append without rows still commits and marks
        the key as done.

        Args:
            name: the table; created with the rows' schema, and widened when they bring new columns.
            data: the rows, or a function that makes the rows anew for each attempt, since a failed attempt
                uses a reader up. The reader must not read the lake: delta-rs cannot be entered twice.
            key: the name of this append, such as a batch id; or several names, one for each part of it.
            stamp: a number kept with the key, which `stamp` returns later.
            also: further keys with their stamps, which the same commit writes; for example the offset up to
                which a topic's partition was read.
            metadata: kept in the commit's history.
            if_version: the version from which the rows were derived (-1: no table yet). If the table has
                another version by now, nothing is written.
            is_numbered: whether one writer appends again and again under its key, and numbers its appends by
                `stamp`, upwards. An append counts as committed if the key has this stamp or a later one.

        Returns:
            True if the rows were written, False if all keys had been committed before.

        Raises:
            LakeConflictError: the table is no longer at `if_version`, some of the keys but not all had been
                committed before, or other writers won every attempt.
        """
        return self._commit(
            name,
            data,
            "append",
            key=key,
            stamp=stamp,
            also=also,
            metadata=metadata,
            if_version=if_version,
            is_numbered=is_numbered,
        )

    def overwrite(
        self,
        name: str,
        data: Rows | Callable[[], Rows],
        *,
        key: str,
        also: Mapping[str, int] | None = None,
        if_version: int | None = None,
    ) -> bool:
        """Replace all rows of a table, exactly once by key; the keys of earlier appends stay known."""
        return self._commit(name, data, "overwrite", key=key, also=also, if_version=if_version)

    def amend(self, name: str, rows: pa.Table, *, on: str, days: Sequence[date], if_version: int) -> int:
        """Change columns of rows that a table already holds, in one commit; return its version.

        Args:
            name: the table, partitioned by event_date.
            rows: the new values, with the column `on` that names the row.
            on: a column whose values are unique in the table.
            days: every event_date of these rows; files of other days are not read.
            if_version: the version from which the rows were derived.

        Raises:
            LakeConflictError: the table is no longer at `if_version`.
        """
        dataset = self.dataset(name, if_version)
        if dataset is None:
            raise LakeConflictError(f"table {name} of {self.url} is no longer at version {if_version}")
        columns = ", ".join(
            f'CASE WHEN given."{on}" IS NULL THEN kept."{column}" ELSE given."{column}" END AS "{column}"'
            if column in rows.column_names and column != on
            else f'kept."{column}"'
            for column in dataset.schema.names
        )
        with open_workspace(writes_to=self.url) as connection:
            connection.register("kept", dataset)
            connection.register("given", rows)
            sql = f'SELECT {columns} FROM kept LEFT JOIN given ON kept."{on}" = given."{on}"'
            query = Query(connection, sql, dataset.schema, days)
            return self.replace_days(name, query, if_version=if_version, exclusive=True)

    def replace_days(
        self,
        name: str,
        query: Query,
        *,
        if_version: int,
        exclusive: bool = False,
        also: Mapping[str, int] | None = None,
    ) -> int:
        """Replace all rows of some days by the rows of a query, in one commit; return its version.

        The merge, update and delete of delta-rs write text as Arrow's string_view, which pyarrow cannot
        filter. After them neither a scan nor DuckDB could filter the table by a column of text.

        Args:
            name: the table, partitioned by event_date.
            query: the rows, derived from those days as they are at `if_version`. Columns that the table
                lacks are added. Without days the commit holds only the stamps.
            if_version: the version from which the rows were derived.
            exclusive: whether another append since that version is refused; otherwise its rows stay beside
                the new rows.
            also: keys with their stamps, which the same commit writes; `stamp` returns them later.

        Raises:
            LakeConflictError: the table is no longer at `if_version`, or another writer was faster.
        """
        table = self.table(name, if_version)
        if table is None:
            raise LakeConflictError(f"table {name} of {self.url} was never written")
        old = files_of(table, query.days)
        written = query.write(self.folder(name))
        for _ in range(ATTEMPTS):
            table = DeltaTable(self.table_url(name), storage_options=self.storage_options)
            at = int(table.version())
            if (exclusive and at != if_version) or not old.keys() <= files_of(table, query.days).keys():
                break
            with suppress(CommitFailedError):  # another writer committed after this read the version
                widen(table, query.schema)
                at = int(table.version())
                table.create_write_transaction(
                    [*written, *old.values()],
                    "append",
                    query.schema,
                    PARTITIONS[name],
                    commit_properties=commit_properties_of(also or {}, at, None, alone=True),
                )
                return at + 1
        self.folder(name).discard(action.path for action in written)
        raise LakeConflictError(
            f"table {name} of {self.url} is no longer as it was at version {if_version}: derive again"
        )

    def _commit(
        self,
        name: str,
        data: Rows | Callable[[], Rows],
        mode: Literal["append", "overwrite"],
        *,
        key: str | Sequence[str],
        stamp: int = 1,
        also: Mapping[str, int] | None = None,
        metadata: Mapping[str, str] | None = None,
        if_version: int | None,
        is_numbered: bool = False,
    ) -> bool:
        keys = [key] if isinstance(key, str) else list(key)
        attempts = ATTEMPTS if callable(data) or isinstance(data, pa.Table | Query) else 1
        stamps = {**(also or {}), **dict.fromkeys(keys, stamp)}

        def attempt() -> bool:
            table = self._open_or_create(name, data)
            held = {key: last for key in keys if (last := table.transaction_version(key)) is not None}
            known = [key for key, last in held.items() if last >= stamp or not is_numbered]
            if len(known) == len(keys):
                return False
            at = table.version()
            if known:
                raise LakeConflictError(
                    f"table {name} of {self.url} got {', '.join(known)} meanwhile: derive again"
                )
            if if_version is not None and at != max(if_version, 0):
                raise LakeConflictError(
                    f"table {name} of {self.url} is at version {at}, rows were derived from {if_version}: "
                    "derive them again"
                )
            properties = commit_properties_of(stamps, at, metadata, alone=mode == "overwrite")
            with clear_errors(f"write table {name}", self.url):
                self._write(name, table, data, mode, properties)
            return True

        # A commit fails if another writer committed, or made the table, after `attempt` opened it.
        lost = (
            f"table {name} of {self.url}: other writers won {attempts} attempts to append {keys}; run again"
        )
        return retry_overtaken(lost, CommitFailedError, attempts=attempts)(attempt)

    def _open_or_create(self, name: str, data: Rows | Callable[[], Rows]) -> DeltaTable:
        table = self.table(name)
        if table is None:
            with clear_errors(f"make table {name}", self.url):
                self._create(name, data)
                table = DeltaTable(self.table_url(name), storage_options=self.storage_options)
        return table

    def _create(self, name: str, data: Rows | Callable[[], Rows]) -> None:
        """Create a table without rows: creating and appending in one commit would succeed for two writers."""
        if self.folder(name).is_local:
            Path(self.table_url(name)).mkdir(parents=True, exist_ok=True)
        with _made(data) as rows:
            schema = rows.schema
        with suppress(CommitFailedError):  # another writer made the table meanwhile, which serves as well
            DeltaTable.create(
                self.table_url(name),
                schema,
                mode="ignore",
                partition_by=PARTITIONS.get(name),
                storage_options=self.storage_options,
            )

    def _write(
        self,
        name: str,
        table: DeltaTable,
        data: Rows | Callable[[], Rows],
        mode: Literal["append", "overwrite"],
        properties: CommitProperties,
    ) -> None:
        with _made(data) as rows:
            if isinstance(rows, Query):
                self._write_query(name, table, rows, mode, properties)
                return
            write_deltalake(
                table,
                rows,
                mode=mode,
                schema_mode="merge",
                commit_properties=properties,
                writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
            )

    def _write_query(
        self,
        name: str,
        table: DeltaTable,
        query: Query,
        mode: Literal["append", "overwrite"],
        properties: CommitProperties,
    ) -> None:
        widen(table, query.schema)
        actions: list[AddAction | RemoveAction] = [*query.write(self.folder(name))]
        try:
            table.create_write_transaction(
                actions, mode, query.schema, PARTITIONS[name], commit_properties=properties
            )
        except CommitFailedError:
            self.folder(name).discard(action.path for action in actions)
            raise

    def vacuum(self, name: str, *, keep_hours: int = 168, dry_run: bool = False) -> list[str]:
        """Delete the files that no version younger than `keep_hours` needs; return their names.

        With `keep_hours=0` only the newest version stays, so that erased rows and old pseudonyms are gone.
        """
        table = self.table(name)
        if table is None:
            return []
        return table.vacuum(
            retention_hours=keep_hours, dry_run=dry_run, enforce_retention_duration=keep_hours >= 168
        )


@contextmanager
def _made(data: Rows | Callable[[], Rows]) -> Iterator[Rows]:
    """Make the rows, and close their reader at the end: an open reader holds threads."""
    if not callable(data):
        yield data
        return
    rows = data()
    try:
        yield rows
    finally:
        if isinstance(rows, pa.RecordBatchReader):
            rows.close()

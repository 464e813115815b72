"""A folder, or a bucket, of Delta tables in which every append happens exactly once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lastaisle.errors import LastaisleError, NotEnoughDataError
from lastaisle.lake.commits import commit_properties_of, files_of, widen
from lastaisle.lake.query import Query, discard
from lastaisle.lake.tables import PARTITIONS
from lastaisle.lake.workspace import open_workspace

Rows: TypeAlias = pa.Table | pa.RecordBatchReader | Query
ATTEMPTS = 12


class LakeConflictError(LastaisleError):
    """Another writer changed the table since it was read; read it again and retry."""

    exit_code = 7


class VersionGoneError(LastaisleError):
    """A version of a table that its log no longer reaches."""

    exit_code = 6


class Lake:
    """The Delta tables under one URL.

    Nothing is cached: every call reads the newest committed version, so several processes may share a lake.

    Args:
        url: a local folder, or s3:// or gs://; created with its first table.
        storage_options: what delta-rs needs to reach an object store; its environment variables work too.
    """

    def __init__(self, url: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        text = str(url)
        self.url = text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve())
        self.storage_options = dict(storage_options or {})

    def __repr__(self) -> str:
        return f"Lake({self.url!r})"

    def table_url(self, name: str) -> str:
        """Return where the table lies."""
        return f"{self.url}/{name}"

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """Open a table, at a version if one is given; None if it was never written.

        Raises:
            VersionGoneError: there is a table, but its log no longer goes back to that version.
        """
        url = self.table_url(name)
        try:
            return DeltaTable(url, version=version, storage_options=self.storage_options)
        except (TableNotFoundError, DeltaError) as error:
            if version is None and not isinstance(error, TableNotFoundError):
                raise
            if version is None or not DeltaTable.is_deltatable(url, self.storage_options):
                return None
            raise VersionGoneError(
                f"table {name} of {self.url} does not have version {version} (any more): maintenance keeps "
                f"those of LASTAISLE_KEEP_VERSIONS_DAYS. {error}"
            ) from error

    def version(self, name: str) -> int | None:
        """Return the newest version of a table; None if it was never written."""
        table = self.table(name)
        return None if table is None else int(table.version())

    def versions(self, names: Iterable[str]) -> dict[str, int]:
        """Return the newest versions of those tables that exist: they make a training window repeatable."""
        found = {name: self.version(name) for name in names}
        return {name: version for name, version in found.items() if version is not None}

    def dataset(self, name: str, version: int | None = None) -> ds.Dataset | None:
        """Open a table as an Arrow dataset, into which DuckDB pushes its filters; None without a table."""
        table = self.table(name, version)
        if table is None:
            return None
        if "://" in self.url:
            return table.to_pyarrow_dataset()
        # Arrow reads local files itself: delta-rs's threads, called from Arrow's, sometimes abort at exit.
        files = pa_fs.SubTreeFileSystem(self.table_url(name), pa_fs.LocalFileSystem())
        return table.to_pyarrow_dataset(filesystem=files)

    def require(self, name: str, version: int | None = None) -> ds.Dataset:
        """Open a table as an Arrow dataset, as `dataset` does, and refuse a lake without it.

        Raises:
            NotEnoughDataError: the table was never written.
        """
        dataset = self.dataset(name, version)
        if dataset is None:
            raise NotEnoughDataError(f"the lake {self.url} has no table {name!r}: ingest some logs first")
        return dataset

    def scan(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Read rows of a table into memory.

        Args:
            name: the table.
            columns: the columns wanted; all by default.
            where: an Arrow expression; one on `event_date` reads only those days' files.
            version: the version wanted; the newest by default.

        Returns:
            The rows; a table of no columns and no rows if the table was never written.
        """
        dataset = self.dataset(name, version)
        if dataset is None:
            return pa.table({})
        return dataset.to_table(columns=None if columns is None else list(columns), filter=where)

    def reader(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        version: int | None = None,
    ) -> pa.RecordBatchReader | None:
        """Read like `scan`, but batch by batch in bounded memory; None if the table was never written."""
        dataset = self.dataset(name, version)
        if dataset is None:
            return None
        return dataset.scanner(columns=None if columns is None else list(columns), filter=where).to_reader()

    def stamp(self, name: str, key: str) -> int | None:
        """Return the stamp that the append with this key left; None if there was no such append."""
        table = self.table(name)
        return None if table is None else table.transaction_version(key)

    def has(self, name: str, key: str) -> bool:
        """Tell whether the append with this key was committed."""
        return self.stamp(name, key) is not None

    def lacking(self, name: str, keys: Iterable[str]) -> list[str]:
        """Return those keys whose append was not committed, in their order."""
        table = self.table(name)
        return [key for key in keys if table is None or table.transaction_version(key) is None]

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
    ) -> bool:
        """Append rows exactly once by key.

        The key travels in the same Delta commit as the rows, so whatever dies when, a second call with the
        same key writes nothing. No rows at all still commit, and mark the key as done.

        Args:
            name: the table; created with the rows' schema, and widened when they bring new columns.
            data: the rows, or a function that makes them anew for each attempt, since a failed one spends a
                reader. The reader must not itself read the lake: delta-rs cannot be entered twice.
            key: names this append, such as a batch id, or all that it appends at once.
            stamp: a number kept with the key, which `stamp` returns later.
            also: further keys with their stamps, such as the offset a topic's partition was read up to: they
                are kept or moved on in the same commit.
            metadata: kept in the commit's history.
            if_version: the version that the rows were derived from (-1: no table yet). If the table has moved
                on, nothing is written.

        Returns:
            True if the rows were written, False if all keys had been committed before.

        Raises:
            LakeConflictError: the table is no longer at `if_version`, some of the keys but not all had been
                committed before, or other writers won every attempt.
        """
        return self._commit(
            name, data, "append", key=key, stamp=stamp, also=also, metadata=metadata, if_version=if_version
        )

    def overwrite(
        self, name: str, data: Rows | Callable[[], Rows], *, key: str, if_version: int | None = None
    ) -> bool:
        """Replace all rows of a table, exactly once by key; the keys of former appends stay known."""
        return self._commit(name, data, "overwrite", key=key, if_version=if_version)

    def amend(self, name: str, rows: pa.Table, *, on: str, days: Sequence[date], if_version: int) -> int:
        """Change columns of rows that are in a table already, in one commit; return its version.

        Args:
            name: the table, partitioned by event_date.
            rows: the new values, with the column `on` that says of which row.
            on: a column whose values are unique in the table.
            days: every event_date of these rows; no other file is looked at.
            if_version: the version that the rows were derived from.

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
        with open_workspace() as connection:
            connection.register("kept", dataset)
            connection.register("given", rows)
            sql = f'SELECT {columns} FROM kept LEFT JOIN given ON kept."{on}" = given."{on}"'
            query = Query(connection, sql, dataset.schema, days)
            return self.replace_days(name, query, if_version=if_version, exclusive=True)

    def replace_days(self, name: str, query: Query, *, if_version: int, exclusive: bool = False) -> int:
        """Put a query's rows in the place of all rows of its days, in one commit; return its version.

        Delta-rs's own merge, update and delete leave files whose text is of Arrow's type string_view, which
        pyarrow cannot filter: neither a scan nor DuckDB could read the table by a column of text again.

        Args:
            name: the table, partitioned by event_date.
            query: the rows, derived from those days as they are at `if_version`.
            if_version: the version that the rows were derived from.
            exclusive: whether nobody may have appended anything since then; else it stays beside the rows.

        Raises:
            LakeConflictError: the table is no longer at `if_version`, or another writer was faster.
        """
        table = self.table(name, if_version)
        if table is None:
            raise LakeConflictError(f"table {name} of {self.url} was never written")
        old = files_of(table, query.days)
        written = query.write(table, self.table_url(name))
        for _ in range(ATTEMPTS):
            table = DeltaTable(self.table_url(name), storage_options=self.storage_options)
            at = int(table.version())
            if (exclusive and at != if_version) or not old.keys() <= files_of(table, query.days).keys():
                break
            with suppress(CommitFailedError):  # another commit came between our look and this
                table.create_write_transaction(
                    [*written, *old.values()],
                    "append",
                    query.schema,
                    PARTITIONS[name],
                    commit_properties=commit_properties_of({}, at, None, alone=True),
                )
                return at + 1
        discard(table, self.table_url(name), [action.path for action in written])
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
    ) -> bool:
        keys = [key] if isinstance(key, str) else list(key)
        attempts = ATTEMPTS if callable(data) or isinstance(data, pa.Table | Query) else 1
        for attempt in range(attempts):
            table = self.table(name)
            if table is None:
                self._create(name, data)
                table = DeltaTable(self.table_url(name), storage_options=self.storage_options)
            known = [key for key in keys if table.transaction_version(key) is not None]
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
            stamps = {**(also or {}), **dict.fromkeys(keys, stamp)}
            properties = commit_properties_of(stamps, at, metadata, alone=mode == "overwrite")
            try:
                self._write(name, table, data, mode, properties)
                return True
            except CommitFailedError:  # another writer committed, or made the table, since we looked
                time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))
        raise LakeConflictError(
            f"table {name} of {self.url}: other writers won {attempts} attempts to append {keys}; run again"
        )

    def _create(self, name: str, data: Rows | Callable[[], Rows]) -> None:
        """Create a table without rows: if two writers created and appended in one commit, both would win."""
        if "://" not in self.url:
            Path(self.table_url(name)).mkdir(parents=True, exist_ok=True)
        with _made(data) as rows:
            schema = rows.schema
        with suppress(CommitFailedError):  # another writer made it meanwhile: theirs is as good
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
        actions: list[AddAction | RemoveAction] = [*query.write(table, self.table_url(name))]
        try:
            table.create_write_transaction(
                actions, mode, query.schema, PARTITIONS[name], commit_properties=properties
            )
        except CommitFailedError:
            discard(table, self.table_url(name), [action.path for action in actions])
            raise

    def vacuum(self, name: str, *, keep_hours: int = 168, dry_run: bool = False) -> list[str]:
        """Delete the files that no version younger than `keep_hours` needs; return their names.

        With `keep_hours=0` only the newest version stays: it makes an erasure or a rotation of keys real.
        """
        table = self.table(name)
        if table is None:
            return []
        return table.vacuum(
            retention_hours=keep_hours, dry_run=dry_run, enforce_retention_duration=keep_hours >= 168
        )


@contextmanager
def _made(data: Rows | Callable[[], Rows]) -> Iterator[Rows]:
    """Make rows where a function makes them, and close what was made: an open reader holds threads."""
    if not callable(data):
        yield data
        return
    rows = data()
    try:
        yield rows
    finally:
        if isinstance(rows, pa.RecordBatchReader):
            rows.close()

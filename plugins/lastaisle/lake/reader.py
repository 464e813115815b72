"""Read the Delta tables of a lake, at the newest version or at an older one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.errors import LakeUnusableError, VersionGoneError, clear_errors
from lastaisle.lake.folder import TableFolder
from lastaisle.lake.pruning import without_unknown_bounds

_OBJECT_STORE = re.compile(r"(s3|s3a|gs|az|abfs|abfss)://[A-Za-z0-9][A-Za-z0-9._@-]*(/|$)")
#: Signs of a path that delta-rs takes for another path, or at which it panics; a bare % is harmless.
_UNUSABLE = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]^|\\\x00-\x1f\x7f]")
_SLOWEST_CLOCK = timedelta(days=1)


class LakeReader:
    """The Delta tables under one URL, for reading.

    Nothing is cached: every call reads the newest committed version, so several processes may share a lake.

    Args:
        url: a local folder, or s3:// or gs://; created with its first table.
        storage_options: the options by which delta-rs reaches an object store; its environment variables work
            too.

    Raises:
        LakeUnusableError: the URL is of another kind, or delta-rs cannot use the folder's path.
    """

    def __init__(self, url: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        text = str(url)
        if "://" in text and not _OBJECT_STORE.match(text):
            raise LakeUnusableError(
                f"a lake is a folder, or a bucket such as s3://shop/lake (or gs, az, abfs); received {text!r}"
            )
        self.url = text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve())
        if "://" not in text and (signs := _UNUSABLE.search(self.url)):
            raise LakeUnusableError(
                f"the path of the lake {self.url!r} has {signs.group()!r}, with which delta-rs finds no "
                "table: choose a LASTAISLE_LAKE or LASTAISLE_HOME without [ ] ^ | \\ % and control characters"
            )
        self.storage_options = dict(storage_options or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def table_url(self, name: str) -> str:
        """Return the path or the URL of a table."""
        return f"{self.url}/{name}"

    def folder(self, name: str) -> TableFolder:
        """Return the folder of a table."""
        return TableFolder(self.table_url(name), self.storage_options)

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """Open a table, at a version if one is given; None if it was never written.

        Raises:
            VersionGoneError: there is a table, but its log no longer goes back to that version.
            LakeUnusableError: there is a table, or a file in its place, which cannot be read.
        """
        url = self.table_url(name)
        try:
            if version is None:
                with clear_errors(f"open table {name}", self.url):
                    return DeltaTable(url, storage_options=self.storage_options)
            return DeltaTable(url, version=version, storage_options=self.storage_options)
        except TableNotFoundError:
            self._refuse_damaged(name)
            return None
        except DeltaError as error:
            with clear_errors(f"open table {name}", self.url):
                if not DeltaTable.is_deltatable(url, self.storage_options):
                    return None
            raise VersionGoneError(
                f"table {name} of {self.url} does not have version {version} (any more): maintenance keeps "
                f"versions for LASTAISLE_KEEP_VERSIONS_DAYS days. {error}"
            ) from error

    def _refuse_damaged(self, name: str) -> None:
        """Refuse a local table that is there and cannot be read, so that it never counts as absent."""
        if "://" in self.url or not Path(self.url).exists():
            return
        folder = Path(self.table_url(name))
        with clear_errors(f"open table {name}", self.url):
            found = [entry.name for entry in folder.iterdir()] if folder in Path(self.url).iterdir() else []
            if found and "_delta_log" not in found:
                raise DeltaError(f"its folder holds {min(found)} and no _delta_log")

    def version(self, name: str) -> int | None:
        """Return the newest version of a table; None if it was never written."""
        table = self.table(name)
        return None if table is None else int(table.version())

    def versions(self, names: Iterable[str]) -> dict[str, int]:
        """Return the newest version of each table that exists; with it a training window is repeatable."""
        versions = {name: self.version(name) for name in names}
        return {name: version for name, version in versions.items() if version is not None}

    def dataset(self, name: str, version: int | None = None) -> ds.Dataset | None:
        """Open a table as an Arrow dataset, into which DuckDB pushes its filters; None without a table."""
        table = self.table(name, version)
        if table is None:
            return None
        if "://" in self.url:
            return without_unknown_bounds(table.to_pyarrow_dataset())
        # Arrow reads local files itself: delta-rs's threads, called from Arrow's, sometimes abort at exit.
        files = pa_fs.SubTreeFileSystem(self.table_url(name), pa_fs.LocalFileSystem())
        return without_unknown_bounds(table.to_pyarrow_dataset(filesystem=files))

    def require(self, name: str, version: int | None = None) -> ds.Dataset:
        """Open a table as an Arrow dataset, as `dataset` does, and refuse a lake without it.

        Raises:
            NotEnoughDataError: the table was never written.
        """
        dataset = self.dataset(name, version)
        if dataset is None:
            raise NotEnoughDataError(f"the lake {self.url} has no table {name!r}: ingest some logs first")
        return dataset

    def days_written_since(self, name: str, moment: datetime) -> list[date]:
        """Return the days (`event_date`) of a table with files that were written since a moment, in order.

        Files that maintenance rewrote count too, and files without a time, which older versions of Lastaisle
        wrote. A writer's clock may run behind by a day.
        """
        table = self.table(name)
        if table is None:
            return []
        files = pa.table(table.get_add_actions(flatten=True))
        since = (moment - _SLOWEST_CLOCK).timestamp() * 1000
        times = files["modification_time"]
        written = files.filter(pc.or_(pc.equal(times, 0), pc.greater_equal(times, since)))
        days = {date.fromisoformat(str(day)) for day in written["partition.event_date"].to_pylist()}
        return sorted(days)

    def rows_by_day(self, name: str) -> dict[date, int]:
        """Return the number of rows of each day (`event_date`) of a table, in order; no file is read.

        The table's log counts the rows of each file. Files without a count, which other programs may write,
        are read.
        """
        table = self.table(name)
        if table is None:
            return {}
        files = pa.table(table.get_add_actions(flatten=True))
        days = [date.fromisoformat(str(day)) for day in files["partition.event_date"].to_pylist()]
        counts = files["num_records"].to_pylist()
        uncounted = {day for day, count in zip(days, counts, strict=True) if count is None}
        rows: dict[date, int] = {}
        for day, count in zip(days, counts, strict=True):
            rows[day] = rows.get(day, 0) + (count or 0)
        for day in uncounted:
            rows[day] = self.scan(name, ["event_date"], pc.field("event_date") == day).num_rows
        return {day: rows[day] for day in sorted(rows) if rows[day]}

    def days_changed(self, name: str, since: int | None, until: int | None = None) -> list[date]:
        """Return the days (`event_date`) of a table whose files differ between two versions, in order.

        Days that lost all rows count too, and days whose files maintenance rewrote.

        Args:
            name: the table.
            since: the older version; without it, or if the table no longer keeps it, all days are returned.
            until: the newer version; the newest by default.
        """
        table = self.table(name, until)
        if table is None:
            return []
        old = None
        if since is not None and since <= table.version():
            with suppress(VersionGoneError):
                old = self.table(name, since)
        changed = _files_by_day(table) ^ (set() if old is None else _files_by_day(old))
        return sorted({day for day, _ in changed})

    def day_states(self, name: str, version: int | None = None) -> dict[date, str]:
        """Return a digest of the files of each day (`event_date`) of a table, in order of the days.

        It changes with the rows of the day, and when maintenance rewrites the files of the day.

        Args:
            name: the table.
            version: the version; the newest by default.
        """
        table = self.table(name, version)
        by_day: dict[date, list[str]] = {}
        for day, path in sorted(() if table is None else _files_by_day(table)):
            by_day.setdefault(day, []).append(path)
        return {day: hashlib.sha256("\n".join(paths).encode()).hexdigest() for day, paths in by_day.items()}

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
            columns: the columns to read; all by default.
            where: an Arrow expression; one on `event_date` reads only those days' files.
            version: the version to read; the newest by default.

        Returns:
            The rows; a table of no columns and no rows if the table was never written.
        """
        dataset = self.dataset(name, version)
        if dataset is None:
            return pa.table({})
        with clear_errors(f"read table {name}", self.url):
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
        """Return the stamp that the append with this key wrote; None if there was no such append."""
        table = self.table(name)
        return None if table is None else table.transaction_version(key)

    def has(self, name: str, key: str) -> bool:
        """Tell whether the append with this key was committed."""
        return self.stamp(name, key) is not None

    def lacking(self, name: str, keys: Iterable[str]) -> list[str]:
        """Return the keys whose append was not committed, in their order."""
        table = self.table(name)
        return [key for key in keys if table is None or table.transaction_version(key) is None]


def _files_by_day(table: DeltaTable) -> set[tuple[date, str]]:
    """Return the day and the path of each file of a table that is partitioned by event_date."""
    files = pa.table(table.get_add_actions(flatten=True))
    days = (date.fromisoformat(str(day)) for day in files["partition.event_date"].to_pylist())
    return set(zip(days, files["path"].to_pylist(), strict=True))

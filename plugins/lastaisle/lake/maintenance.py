"""Keep a table quick to read, and delete its expired rows, while other processes write to it.

Appends may come at any moment. Compaction moves rows, changes none, and does not touch the optimistic lock of
`Lake.append`; so neither waits for the other. If two changes conflict, the later change is tried again. Each
step is one commit, or deletes files that nothing refers to. A run that was killed is run again.

The tables are not z-ordered: training reads whole days, which are partitions, and no query searches for
values of a column within a day.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError

from data_contracts.retention import retention_of
from lastaisle.errors import LastaisleError
from lastaisle.lake.errors import LakeConflictError, VersionGoneError
from lastaisle.lake.expiry import Expiry, days_allowed
from lastaisle.lake.lake import Lake
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.lake.tables import ALL_TABLES, QUARANTINE, RAW_EVENTS, TRAINING_RUNS
from lastaisle.settings import Settings, SettingsError

T = TypeVar("T")
#: Tables whose days LASTAISLE_KEEP_RAW_DAYS states, since they hold rows of the shop with raw identifiers.
RAW: Final = (RAW_EVENTS, QUARANTINE)
_KEYS_EXPIRE = "delta.setTransactionRetentionDuration"
_LOG_RETENTION = "delta.logRetentionDuration"
_DEFAULT_LOG_DAYS = 30  # of the Delta protocol, where a table says nothing else


class MaintenanceError(LastaisleError):
    """A table that cannot be maintained as it is."""


@dataclass(frozen=True)
class MaintenancePolicy:
    """The limits that maintenance keeps to.

    Attributes:
        target_bytes: the approximate size of a compacted file. A file of less than half of it is small.
        small_files: the small files that a partition may keep. A partition with more is compacted.
        keep_raw_days: the age at which rows of raw_events and quarantine are deleted; 0 keeps all rows. The
            age counts from ingestion, so that old logs ingested today are not deleted tonight. An event that
            is sent again after its row was deleted counts as a new event.
        keep_days: the days of further tables, where they are not those of the contract; 0 keeps all rows.
        keep_versions_days: the days for which the versions of a table stay listed, and versions that a
            training read stay readable.
        keep_files_hours: the hours for which an unused file stays, and with it every version that young. A
            week at least, since a slower reader or writer would lose its files.
    """

    target_bytes: int = 128 << 20
    small_files: int = 4
    keep_raw_days: int = 400
    keep_versions_days: int = _DEFAULT_LOG_DAYS
    keep_files_hours: int = 168
    keep_days: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.target_bytes < 1 or self.small_files < 1 or self.keep_raw_days < 0:
            raise SettingsError(
                f"target_bytes and small_files start at 1, keep_raw_days at 0: received {self}"
            )
        if self.keep_files_hours < 168:
            raise SettingsError(f"keep_files_hours should be 168 or more, received {self.keep_files_hours}")
        if self.keep_versions_days * 24 < self.keep_files_hours:
            raise SettingsError(
                f"keep_versions_days: {self.keep_versions_days} days are less than keep_files_hours, "
                f"{self.keep_files_hours} hours, so versions would be forgotten whose files are kept"
            )
        if unknown := sorted(set(self.keep_days) - set(ALL_TABLES) | set(self.keep_days) & set(RAW)):
            raise SettingsError(
                f"LASTAISLE_KEEP_DAYS names {', '.join(unknown)}: name tables of the lake, such as events; "
                "LASTAISLE_KEEP_RAW_DAYS states the days of raw_events and quarantine"
            )

    @classmethod
    def from_settings(cls, settings: Settings) -> MaintenancePolicy:
        """Return the policy of an installation."""
        return cls(
            keep_raw_days=settings.lake.keep_raw_days,
            keep_versions_days=settings.lake.keep_versions_days,
            keep_days=settings.lake.days_by_table,
        )

    def days_of(self, table: str) -> int | None:
        """Return the days for which the rows of a table stay; None for ever.

        Raises:
            ContractError: no contract states the retention of the table.
        """
        return days_allowed(retention_of(table), {**self.keep_days, **dict.fromkeys(RAW, self.keep_raw_days)})


@dataclass(frozen=True)
class MaintenanceReport:
    """The changes of one table; after a dry run, the changes that a real run would make.

    Attributes:
        table: its name.
        dry_run: whether nothing was changed; then the values after equal the values before.
        version_before: the newest version at the start.
        version_after: the newest version at the end; other writers may have committed, too.
        files_before: the files of the newest version at the start.
        files_after: the files of the newest version at the end.
        bytes_before: their size at the start.
        bytes_after: their size at the end.
        partitions_compacted: partitions with too many small files.
        rows_deleted: expired rows.
        files_deleted: deleted files that no kept version needs.
        seconds: how long it took.
    """

    table: str
    dry_run: bool
    version_before: int
    version_after: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    partitions_compacted: int
    rows_deleted: int
    files_deleted: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


def tables_of(lake: Lake) -> list[str]:
    """Return the tables that were ever written."""
    return [name for name in ALL_TABLES if lake.version(name) is not None]


def maintain(
    lake: Lake,
    name: str,
    policy: MaintenancePolicy | None = None,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
) -> MaintenanceReport:
    """Delete expired rows, compact small files, write a checkpoint, delete old log entries and unused files.

    Args:
        lake: where the table is.
        name: the table.
        policy: the limits; the default limits by default.
        dry_run: change nothing, only count.
        now: the moment from which ages count, with a time zone; the current time by default.

    Raises:
        MaintenanceError: there is no such table, or the table forgets the keys of its appends.
        LakeConflictError: other writers won every attempt; run maintenance again.
    """
    policy, now = policy or MaintenancePolicy(), (now or datetime.now(UTC)).astimezone(UTC)
    started, before = time.perf_counter(), _open(lake, name)
    _refuse_expiring_keys(before, name)
    sizes_before = _sizes(before)
    if not dry_run:
        _keep_log(lake, name, policy.keep_versions_days)
    rows_deleted = _expire_rows(lake, name, policy, now, dry_run)
    compacted = _compact(lake, name, policy, dry_run)
    if not dry_run:
        _checkpoint(lake, name)
    files_deleted = _vacuum(lake, name, policy, now, dry_run)
    after = _open(lake, name)
    sizes_after = _sizes(after)
    return MaintenanceReport(
        table=name,
        dry_run=dry_run,
        version_before=before.version(),
        version_after=after.version(),
        files_before=len(sizes_before),
        files_after=len(sizes_after),
        bytes_before=sum(sizes_before),
        bytes_after=sum(sizes_after),
        partitions_compacted=compacted,
        rows_deleted=rows_deleted,
        files_deleted=files_deleted,
        seconds=time.perf_counter() - started,
    )


def crowded(table: DeltaTable, policy: MaintenancePolicy) -> list[str]:
    """Return the partitions that hold more small files than the policy allows.

    Returns:
        The values of the partition column; one empty text if the table has no partitions.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    keys = table.metadata().partition_columns
    partitions = actions[f"partition.{keys[0]}"].to_pylist() if keys else [""] * actions.num_rows
    sizes = actions["size_bytes"].to_pylist()
    small = Counter(
        str(partition)
        for partition, size in zip(partitions, sizes, strict=True)
        if size < policy.target_bytes / 2
    )
    return sorted(partition for partition, count in small.items() if count > policy.small_files)


def _open(lake: Lake, name: str) -> DeltaTable:
    table = lake.table(name)
    if table is None:
        known = ", ".join(tables_of(lake)) or "none"
        raise MaintenanceError(f"lake {lake.url} has no table {name!r}; it has {known}")
    return table


def _refuse_expiring_keys(table: DeltaTable, name: str) -> None:
    duration = table.metadata().configuration.get(_KEYS_EXPIRE)
    if duration:
        raise MaintenanceError(
            f"table {name} at {table.table_uri} forgets the keys of its appends after {duration}, so batches "
            f"could be ingested twice: remove its property {_KEYS_EXPIRE}"
        )


def _sizes(table: DeltaTable) -> list[int]:
    sizes: list[int] = pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist()
    return sizes


def _keep_log(lake: Lake, name: str, days: int) -> None:
    """Set how long the table keeps its log entries, since its writers delete old entries, too."""

    def set_retention(table: DeltaTable) -> None:
        configured = table.metadata().configuration.get(_LOG_RETENTION, f"interval {_DEFAULT_LOG_DAYS} days")
        if configured != f"interval {days} days":
            table.alter.set_table_properties({_LOG_RETENTION: f"interval {days} days"})

    _again_if_overtaken(lake, name, set_retention)


def _expire_rows(lake: Lake, name: str, policy: MaintenancePolicy, now: datetime, dry_run: bool) -> int:
    """Delete the rows that are older than allowed, by whole UTC days; return how many."""
    days_kept = policy.days_of(name)
    if days_kept is None:
        return 0

    def expire(table: DeltaTable) -> int:
        expiry = Expiry.of(retention_of(name), days_kept, now, int(table.version()))
        rows, days = expiry.count(lake)
        if rows and not dry_run:
            expiry.delete(lake, days)
        return rows

    return _again_if_overtaken(lake, name, expire)


def _compact(lake: Lake, name: str, policy: MaintenancePolicy, dry_run: bool) -> int:
    """Compact the partitions with too many small files; return how many there were.

    Compaction commits once a minute. So a killed run keeps the days that it finished, and a writer that
    derives its rows from the newest version is not overtaken with every day.
    """

    def compact(table: DeltaTable) -> int:
        partitions, keys = crowded(table, policy), table.metadata().partition_columns
        if partitions and not dry_run:
            table.optimize.compact(
                partition_filters=[(keys[0], "in", partitions)] if keys else None,
                target_size=policy.target_bytes,
                min_commit_interval=timedelta(minutes=1),
                writer_properties=_writer_properties(),
            )
        return len(partitions)

    return _again_if_overtaken(lake, name, compact)


def _checkpoint(lake: Lake, name: str) -> None:
    """Write the table's state, keys included, into one file, and delete the log entries that are too old."""
    table = _open(lake, name)
    table.create_checkpoint()
    table.cleanup_metadata()


def _vacuum(lake: Lake, name: str, policy: MaintenancePolicy, now: datetime, dry_run: bool) -> int:
    """Delete old files that no kept version needs, including files left by killed writers."""
    since = now - timedelta(days=policy.keep_versions_days)
    deleted = _open(lake, name).vacuum(
        retention_hours=policy.keep_files_hours,
        dry_run=dry_run,
        full=True,
        keep_versions=_pinned(lake, name, since) or None,
    )
    return len(deleted)


def _pinned(lake: Lake, name: str, since: datetime) -> list[int]:
    """Return the versions that trainings read since then, as far as the table's log still knows them."""
    recent = pc.field("finished_at") >= pa.scalar(since)
    runs = lake.scan(TRAINING_RUNS, ["lake_versions"], recent) if lake.version(TRAINING_RUNS) else None
    read = [] if runs is None else [json.loads(text).get(name) for text in runs["lake_versions"].to_pylist()]
    return _readable(lake, name, {version for version in read if version is not None})


def _readable(lake: Lake, name: str, versions: Iterable[int]) -> list[int]:
    readable = []
    for version in sorted(versions):
        with suppress(VersionGoneError):
            lake.table(name, version)
            readable.append(version)
    return readable


def require_readable(lake: LakeReader, name: str, version: int) -> None:
    """Refuse a version of a table that is not whole any more.

    Raises:
        VersionGoneError: the log no longer knows the version, or maintenance deleted files of it.
    """
    table = lake.table(name, version)
    files = [] if table is None else pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()
    gone = lake.folder(name).lacking(files)
    if table is None or gone:
        raise VersionGoneError(
            f"version {version} of the table {name} of {lake.url} is not whole any more: {len(gone)} of its "
            f"{len(files)} files are deleted. LASTAISLE_KEEP_VERSIONS_DAYS says how long maintenance keeps "
            "versions that a training read"
        )


def _writer_properties() -> WriterProperties:
    return WriterProperties(compression="ZSTD", compression_level=3)  # written once, read every day


def _again_if_overtaken(lake: Lake, name: str, change: Callable[[DeltaTable], T]) -> T:
    lost = f"table {name} of {lake.url}: other writers won {ATTEMPTS} attempts; run it again"
    retrying = retry_overtaken(lost, CommitFailedError, LakeConflictError)
    return retrying(lambda: change(_open(lake, name)))

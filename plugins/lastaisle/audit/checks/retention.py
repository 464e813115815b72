"""Whether rows are deleted in time: from the tables, and from the files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from data_contracts.retention import retention_of
from lastaisle.audit.finding import Finding, State
from lastaisle.audit.scope import Scope, judged
from lastaisle.lake.expiry import Expiry
from lastaisle.lake.maintenance import MaintenancePolicy
from lastaisle.lake.tables import ALL_TABLES

GRACE_DAYS: Final = 2
"""Maintenance runs every night; a night may fail."""


def ages(scope: Scope) -> Iterator[Finding]:
    """Tell for each table whose rows expire how old its oldest row is."""
    for name, days in _limits(scope):
        version = scope.lake.version(name)
        if version is None:
            continue
        retention = retention_of(name)
        found = Expiry.of(retention, days + GRACE_DAYS, scope.now, version).ages(scope.lake)
        age = None if found.oldest is None else (scope.now - found.oldest).days
        told = f"{name} keeps rows for {days} days; its oldest row has {age} days."
        state = judged(not found.expired)
        if found.rows == 0:
            told = f"{name} keeps rows for {days} days, and has none."
        elif found.expired:
            late = "1 row" if found.expired == 1 else f"{found.expired} rows"
            told += f" {late} should be deleted: lastaisle maintain."
        elif found.unknown:
            state = State.NOT_KNOWN
            told += f" The age of {found.unknown} of {found.rows} rows is not known."
        evidence = f"SELECT min({retention.column}), count(*) FROM {name}"
        if retention.age_of is not None:
            source, since = retention.age_of
            evidence = (
                f"SELECT min({since}), count(*) FROM {name} LEFT JOIN {source} USING ({retention.column})"
            )
        yield Finding("retention", name, state, told, evidence, age)


def files(scope: Scope) -> Iterator[Finding]:
    """Tell whether files that no table needs any more still hold rows that should be gone."""
    policy = MaintenancePolicy.from_settings(scope.settings)
    kept_days = policy.keep_versions_days + GRACE_DAYS
    for name, days in _limits(scope):
        column = retention_of(name).column
        if scope.lake.version(name) is None or retention_of(name).age_of or retention_of(name).replaced_by:
            continue
        limit = scope.now - timedelta(days=days + kept_days)
        unused, expired = _old_rows(scope, name, column, pa.scalar(limit, pa.timestamp("us", "UTC")))
        told = f"Rows of {name} that should be gone, in {unused} files of earlier versions: {expired}."
        evidence = f"lastaisle maintain --dry-run ({name})"
        yield Finding("retention", f"files of {name}", judged(not expired), told, evidence, expired)


def _limits(scope: Scope) -> Iterator[tuple[str, int]]:
    policy = MaintenancePolicy.from_settings(scope.settings)
    for name in ALL_TABLES:
        if (days := policy.days_of(name)) is not None:
            yield name, days


def _old_rows(scope: Scope, name: str, column: str, limit: pa.Scalar) -> tuple[int, int]:
    """Return the number of unused files, and how many of their rows are older than a limit."""
    table = scope.lake.table(name)
    unused = (
        []
        if table is None
        else table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
    )
    folder = scope.lake.folder(name)
    gone = set(folder.lacking(unused))  # the log goes on naming files that were deleted
    paths = [path for path in unused if path.endswith(".parquet") and path not in gone]
    store, rows = folder.filesystem(), 0
    for path in paths:
        content = ds.dataset(path, filesystem=store, format="parquet")
        if column in content.schema.names:
            rows += content.count_rows(filter=pc.field(column) < limit)
    return len(paths), rows

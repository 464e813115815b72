"""The tables of a lake: their sizes and their newest rows, by the statistics of Delta where these suffice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import LastaisleError
from lastaisle.lake import tables
from lastaisle.lake.errors import clear_errors

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader

#: The column of each table whose latest moment says how new the table is.
NEWEST: Final[Mapping[str, str]] = {
    tables.RAW_EVENTS: "occurred_at",
    tables.QUARANTINE: "ingested_at",
    tables.BATCHES: "finished_at",
    tables.EVENTS: "occurred_at",
    tables.EXPOSURES: "occurred_at",
    tables.TRAINING_RUNS: "finished_at",
    tables.RELEASES: "moved_at",
    tables.GAPS: "noticed_at",
    tables.FILES: "taken_in_at",
    tables.REFUSED_FILES: "refused_at",
    tables.DRIFT: "day",
    tables.ABANDONMENTS: "noticed_at",
    tables.ITEMS: "valid_from",
    tables.CATALOGUE_BATCHES: "finished_at",
    tables.EXPOSURE_BATCHES: "finished_at",
    tables.OUTCOMES: "shown_at",
    tables.UNATTRIBUTED: "occurred_at",
    tables.SHOP_METRICS: "hour",
    tables.TRAFFIC: "moved_at",
    tables.EXPERIMENT_RESULTS: "hour",
    tables.BANDIT_ARMS: "learned_until",
    tables.SERVICE_METRICS: "interval_start",
    tables.ANNOUNCEMENTS: "at",
    tables.ALERTS: "at",
    tables.CONSENTS: "at",
    tables.SUBJECT_REQUESTS: "at",
    tables.ERASED: "before",
    tables.PRIVACY_SPENT: "finished_at",
    tables.ACCESSES: "at",
    tables.AUDITS: "at",
}


@dataclass(frozen=True)
class TableSize:
    """The size of a table at its newest version.

    Attributes:
        table: its name.
        rows: the number of its rows; None if the log does not count the rows of every file.
        files: the number of its files.
        bytes: their size.
        version: the version.
        newest: the latest moment in the column NEWEST (UTC); None if the table is empty or does not say.
    """

    table: str
    rows: int | None
    files: int
    bytes: int
    version: int
    newest: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Inventory:
    """The tables of a lake.

    Attributes:
        tables: the tables that were ever written, in the order of the data's way.
        problems: why a table cannot be read, by its name.
    """

    tables: tuple[TableSize, ...]
    problems: Mapping[str, str]


def take_inventory(lake: LakeReader) -> Inventory:
    """Measure every table; a table that cannot be read is named, and hides no other."""
    found, problems = [], {}
    for name in tables.ALL_TABLES:
        try:
            measured = measure(lake, name)
        except LastaisleError as error:
            problems[name] = str(error)
        else:
            found += [] if measured is None else [measured]
    return Inventory(tuple(found), problems)


def measure(lake: LakeReader, name: str) -> TableSize | None:
    """Return the size of a table; None if it was never written.

    Raises:
        LakeUnusableError: the table is there and cannot be read.
    """
    table = lake.table(name)
    if table is None:
        return None
    with clear_errors(f"read table {name}", lake.url):
        files = pa.table(table.get_add_actions(flatten=True))
    counts = files["num_records"]
    return TableSize(
        table=name,
        rows=None if counts.null_count else pc.sum(counts, min_count=0).as_py() or 0,
        files=files.num_rows,
        bytes=pc.sum(files["size_bytes"], min_count=0).as_py() or 0,
        version=int(table.version()),
        newest=_newest(lake, name, files),
    )


def _newest(lake: LakeReader, name: str, files: pa.Table) -> datetime | None:
    """Return the latest moment of a table: of the files' statistics, or of its column if a file has none."""
    column, statistic = NEWEST[name], f"max.{NEWEST[name]}"
    if not files.num_rows:
        return None
    if statistic in files.column_names and not files[statistic].null_count:
        return _moment(pc.max(files[statistic]).as_py())
    dataset = lake.dataset(name)
    if dataset is None or column not in dataset.schema.names:
        return None
    return _moment(pc.max(lake.scan(name, [column])[column]).as_py())


def _moment(value: datetime | date | None) -> datetime | None:
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

"""Read the table `quarantine`: how many rows broke which rule, of which source, with which shape.

A payload is the row as the shop sent it, with personal data. So only its shape is for everybody (see
lastaisle.ingest.shapes). The payload itself is for the accounts that LASTAISLE_RAW_READERS names and that can
read the pseudonym key, and each request is a row of the table `accesses` before the answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lastaisle.ingest.shapes import Shape, shapes_of
from lastaisle.lake.tables import (
    BATCHES,
    CATALOGUE_BATCHES,
    EXPOSURE_BATCHES,
    QUARANTINE,
    QUARANTINE_SCHEMA,
)
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.accesses import require_reader

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from duckdb import DuckDBPyConnection

    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

DAYS: Final = 30
SAMPLED: Final = 200  # newest payloads of a group whose shapes are counted
SHAPES: Final = 3

_KNOWN = pa.schema([("batch_id", pa.string()), ("source", pa.string())])
# A batch of an exposure or of the catalogue has its source in a table of its own.
_ROWS = """
WITH origins AS (
    SELECT batch_id, any_value(source) AS source
    FROM (FROM nothing UNION ALL BY NAME FROM batches
        UNION ALL BY NAME FROM exposure_batches UNION ALL BY NAME FROM catalogue_batches)
    GROUP BY batch_id
),
broken AS (
    SELECT quarantine.*, coalesce(nullif(source, ''), source_file) AS source
    FROM quarantine LEFT JOIN origins USING (batch_id)
    WHERE event_date >= $since
),
chosen AS (
    FROM broken WHERE ($rule = '' OR list_contains(rules, $rule)) AND ($source = '' OR source = $source)
)
"""
_GROUPS = (
    _ROWS
    + f"""
, by_rule AS (SELECT unnest(rules) AS rule, * FROM chosen)
SELECT rule, source, count(*) AS rows, count(DISTINCT source_file) AS files, min(event_date) AS first_day,
    max(event_date) AS last_day, max_by(coalesce(payload, ''), ingested_at, {SAMPLED}) AS payloads
FROM by_rule WHERE $rule = '' OR rule = $rule
GROUP BY rule, source ORDER BY rows DESC, rule, source
"""
)
_SAMPLE_COLUMNS: Final = ("source", "source_file", "source_row", "rules", "ingested_at", "payload")
_SAMPLES = (
    _ROWS
    + f"""
SELECT {", ".join(_SAMPLE_COLUMNS)} FROM chosen
ORDER BY ingested_at DESC, source_file, source_row LIMIT $most
"""
)
_TOTAL = _ROWS + "SELECT count(*) FROM chosen"


@dataclass(frozen=True)
class Group:
    """The quarantined rows of one source that broke one rule. A row that broke several counts for each.

    Attributes:
        rule: the rule.
        source: the source as ingestion was given it; the file if the batch is not known any more.
        rows: the number of rows.
        files: the number of their files.
        first_day: the first UTC day of ingestion that has such rows.
        last_day: the last such day.
        shapes: the most frequent shapes of the newest payloads.
    """

    rule: str
    source: str
    rows: int
    files: int
    first_day: date
    last_day: date
    shapes: tuple[Shape, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """Which quarantined rows are asked for.

    Attributes:
        since: the first UTC day of ingestion.
        rule: only rows that broke this rule; empty = any.
        source: only rows of this source; empty = any.
    """

    since: date
    rule: str = ""
    source: str = ""


def since_days_ago(days: int, now: datetime | None = None) -> date:
    """Return the first of the last days, today included; the oldest day there is if the days reach so far."""
    today = (now or datetime.now(UTC)).date()
    return today - timedelta(days=min(days - 1, (today - date.min).days))


def count_rows(lake: Lake, choice: Choice) -> int:
    """Return the number of quarantined rows; a row that broke several rules counts once."""
    with _open(lake) as connection:
        row = connection.execute(_TOTAL, asdict(choice)).fetchone()
    assert row is not None  # an aggregate always gives one row
    return int(row[0])


def group_rows(lake: Lake, choice: Choice) -> list[Group]:
    """Return the quarantined rows by rule and source, the largest group first."""
    with _open(lake) as connection:
        found = connection.execute(_GROUPS, asdict(choice)).fetchall()
    return [
        Group(rule, source, rows, files, first, last, tuple(shapes_of(payloads)[:SHAPES]))
        for rule, source, rows, files, first, last, payloads in found
    ]


def show_payloads(
    lake: Lake, settings: Settings, choice: Choice, *, most: int, reason: str
) -> list[dict[str, Any]]:
    """Return the newest quarantined rows as the shop sent them, for those who may see them.

    Raises:
        NotARawReaderError: this account may not see them, cannot read the pseudonym key, or gives no reason.
        LakeUnusableError: the request cannot be written into `accesses`; then nothing is shown.
    """
    filters = f" of rule {choice.rule}" * bool(choice.rule) + f" of source {choice.source}" * bool(
        choice.source
    )
    require_reader(
        lake,
        settings,
        data="the rows as the shop sent them",
        what=f"at most {most} quarantined rows since {choice.since}{filters}",
        reason=reason,
        hint="Without --raw the shapes of the rows are shown",
    )
    with _open(lake) as connection:
        rows = connection.execute(_SAMPLES, {**asdict(choice), "most": most}).fetchall()
    return [dict(zip(_SAMPLE_COLUMNS, row, strict=True)) for row in rows]


def _open(lake: Lake) -> AbstractContextManager[DuckDBPyConnection]:
    """Open the tables; one that was never written has no rows."""
    tables: dict[str, Any] = {"nothing": _KNOWN.empty_table()}
    for name in (BATCHES, EXPOSURE_BATCHES, CATALOGUE_BATCHES):
        found = lake.dataset(name)
        names = [] if found is None else [name for name in _KNOWN.names if name in found.schema.names]
        tables[name] = _KNOWN.empty_table() if found is None else found.to_table(columns=names)
    tables[QUARANTINE] = lake.dataset(QUARANTINE) or QUARANTINE_SCHEMA.empty_table()
    return open_tables(**tables)

"""How services answered: the table `service_metrics`, its counts by latency, and the rates that follow.

Each worker of a service counts its answers by minute, and adds the counts to the table. The times are those
of the services' clocks. They differ from the times of exposures where a shop's logs lie in the past.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.tables import SERVICE_METRICS, TIMESTAMP
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

Role = Literal["champion", "arm", "canary", "shadow"]
CHAMPION: Final = "champion"
ARM: Final = "arm"
CANARY: Final = "canary"
"""The role of both arms of a canary's trial: the control, and the canary."""
SHADOW: Final = "shadow"

LATENCY_BOUNDS: Final = tuple(0.00025 * 2 ** (step / 2) for step in range(31))
"""The upper bounds of the counts of latency, in seconds: 0.25 ms to 8.2 s, each 1.41 times the one before.
One more count holds all longer times. Rows of older releases count by these bounds: they never change."""
COMPARED_ITEMS: Final = 10
"""A list of a shadow is compared with the shown list in its first items, this many at most."""
BY: Final = ("model_name", "model_version", "role", "experiment", "arm", "service")
EVERY: Final = ("minute", "hour", "day")

#: Counts of one worker in one interval: a minute, or an hour or a day where the lake was away. Rows add up.
SERVICE_METRICS_SCHEMA: Final = pa.schema(
    [
        pa.field("interval_start", TIMESTAMP),
        pa.field("interval_end", TIMESTAMP),
        pa.field("service", pa.string()),  # a random name of the worker
        pa.field("sequence", pa.int64()),  # counts the writes of this worker
        pa.field("model_name", pa.string()),
        pa.field("model_version", pa.string()),  # empty: no version was loaded
        pa.field("role", pa.string()),
        pa.field("experiment", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("requests", pa.int64()),  # lists, and errors
        pa.field("errors", pa.int64()),  # answers of status 500 and above
        pa.field("refused", pa.int64()),  # the errors of status 503
        pa.field("empty_lists", pa.int64()),  # lists without an item
        pa.field("latency_counts", pa.list_(pa.int64())),  # lists, by LATENCY_BOUNDS
        pa.field("latency_seconds", pa.float64()),  # of all lists together
        pa.field("dropped", pa.int64()),  # questions of a shadow that it did not score, for lack of time
        pa.field("compared", pa.int64()),  # lists of a shadow that were compared with the shown list
        pa.field("compared_items", pa.int32()),  # how many first items were compared
        pa.field("overlap_sum", pa.float64()),  # of the shares of common items
        pa.field("event_date", pa.date32()),
    ]
)
_SUMS: Final = {
    name: pa.int64() for name in ("requests", "errors", "refused", "empty_lists", "dropped", "compared")
}


class HealthError(LastaisleError):
    """The health of services cannot be split as asked."""

    exit_code = ExitCode.WRONG_REQUEST


class Latency(NamedTuple):
    """A quantile of latency, in seconds; it lies from `low` to `high`.

    Attributes:
        value: the estimate, as if the times of one count were spread evenly.
        low: the lower bound of its count.
        high: the upper bound of its count; infinite for the longest times.
    """

    value: float
    low: float
    high: float


def latency_quantile(counts: Sequence[int], share: float) -> Latency | None:
    """Return the latency that this share of the lists did not exceed; None without a list.

    Args:
        counts: the counts by LATENCY_BOUNDS.
        share: between 0 and 1.
    """
    upto = list(accumulate(counts))
    if not upto or not upto[-1]:
        return None
    rank = max(1, math.ceil(share * upto[-1]))
    place = bisect_left(upto, rank)
    low = LATENCY_BOUNDS[place - 1] if place else 0.0
    high = LATENCY_BOUNDS[place] if place < len(LATENCY_BOUNDS) else math.inf
    value = low if high == math.inf else low + (high - low) * (1 - (upto[place] - rank) / counts[place])
    return Latency(value, low, high)


def read_health(
    lake: Lake,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    by: Sequence[str] = ("model_version", "role", "experiment", "arm"),
    every: str | None = None,
) -> pa.Table:
    """Read how services answered: counts, shares, and latency.

    A share without a denominator is NULL, and so is a quantile without a list. The quantiles of latency have
    the bounds of their count, `_low` and `_high`.

    Args:
        lake: the lake with the table `service_metrics`.
        since: the first moment of the services' clocks; an interval belongs to the moment of its start.
        until: the moment after the last.
        by: the columns to group by; names of `BY`.
        every: minute, hour or day (UTC); None = one period.

    Returns:
        A row a period and group, in order, with the columns of `health_schema`; none if no service has
        written yet.

    Raises:
        HealthError: `by` or `every` is unknown.
        LakeUnusableError: the table cannot be read.
    """
    schema = health_schema(by, every)
    where = pc.scalar(True)
    if since is not None:
        first = since.astimezone(UTC)
        where &= (pc.field("event_date") >= first.date()) & (
            pc.field("interval_start") >= pa.scalar(first, TIMESTAMP)
        )
    if until is not None:
        last = until.astimezone(UTC)
        where &= (pc.field("event_date") <= last.date()) & (
            pc.field("interval_start") < pa.scalar(last, TIMESTAMP)
        )
    if not (rows := lake.scan(SERVICE_METRICS, where=where)).num_rows:
        return schema.empty_table()
    keys = ([f"date_trunc('{every}', interval_start) AS period"] if every else []) + list(by)
    sums = [f"sum({name})::BIGINT AS {name}" for name in _SUMS]
    sums += ["sum(latency_seconds) AS seconds", "sum(overlap_sum) AS overlap_sum"]
    counts = (f"sum(latency_counts[{place}])::BIGINT" for place in range(1, len(LATENCY_BOUNDS) + 2))
    sums.append(f"[{', '.join(counts)}] AS latency_counts")
    with open_tables(health=rows) as connection:
        sql = f"SELECT {', '.join([*keys, *sums])} FROM health GROUP BY ALL"
        sql += f" ORDER BY {', '.join(key.split()[-1] for key in keys)}" if keys else ""
        found = connection.sql(sql).to_arrow_table().to_pylist()
    return pa.Table.from_pylist([_with_rates(row) for row in found], schema)


def health_schema(by: Sequence[str], every: str | None) -> pa.Schema:
    """Return the columns of `read_health`.

    Raises:
        HealthError: `by` or `every` is unknown.
    """
    unknown = [name for name in by if name not in BY]
    if unknown:
        raise HealthError(f"health is read by {', '.join(BY)}; received {unknown[0]!r}")
    if every is not None and every not in EVERY:
        raise HealthError(f"health is read by {', '.join(EVERY)}; received {every!r}")
    rates = ["error_share", "empty_share", "mean_seconds", "overlap"]
    rates += [f"p{rank}_seconds{end}" for rank in (50, 99) for end in ("", "_low", "_high")]
    return pa.schema(
        [
            *([("period", TIMESTAMP)] if every else []),
            *((name, pa.string()) for name in by),
            *_SUMS.items(),
            *((name, pa.float64()) for name in rates),
            ("latency_counts", pa.list_(pa.int64())),
        ]
    )


def _with_rates(row: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of a group with their rates."""
    lists = row["requests"] - row["errors"]
    row |= {
        "error_share": row["errors"] / row["requests"] if row["requests"] else None,
        "empty_share": row["empty_lists"] / lists if lists else None,
        "mean_seconds": row["seconds"] / lists if lists else None,
        "overlap": row["overlap_sum"] / row["compared"] if row["compared"] else None,
    }
    for rank in (50, 99):
        latency = latency_quantile(row["latency_counts"], rank / 100)
        for end, value in zip(("", "_low", "_high"), latency or (None, None, None), strict=True):
            row[f"p{rank}_seconds{end}"] = value
    return row

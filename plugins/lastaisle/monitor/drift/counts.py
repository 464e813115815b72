"""Counts of visits by day, feature, segment and bin. The scores of distributions need nothing else.

A visit counts once in each bin, even if several of its events fall into the bin. Events of one visit are
similar, and on a day of few visits they would be noise. Counts add up: a reference of seven days is a sum,
and each event is read only once. Therefore bins are fixed. A bin of prices is an eighth of an octave wide
(9 %), and a bin of dwell times is half an octave wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import make_view, open_workspace
from lastaisle.sessions.windows import MAX_SESSION_EVENTS

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.lake.lake import Lake

#: A shopper is returning on a day if the shopper came on one of so many days before that day.
RETURNING_DAYS = 7
PRICE_BINS, DWELL_BINS, LENGTH_BINS = 8, 2, 4  # bins an octave
#: The bin for missing values of ordered features. A source that stops sending values is a drift too.
MISSING = -999
#: The bin for sessions that are too long to be a shopper's.
CRAWLER = 999
#: Two series hold the prices. Their bins are items. LOG_PRICE sums the logarithm of the price over visits,
#: and PRICED counts these visits.
LOG_PRICE, PRICED = "log_price", "priced"

_COLUMNS = {
    **dict.fromkeys(("session_id", "user_id", "item_id", "event_type", "device_type", "country"), "VARCHAR"),
    **dict.fromkeys(("category", "brand"), "VARCHAR"),
    "occurred_at": "TIMESTAMPTZ",
    "event_date": "DATE",
    "price": "DOUBLE",
    "dwell_ms": "BIGINT",
}

_BASE = """
CREATE TEMP TABLE visited AS
WITH visits AS (
    SELECT user_id, event_date, event_date - lag(event_date) OVER (
        PARTITION BY user_id ORDER BY event_date) <= $returning_days AS returned
    FROM (SELECT DISTINCT user_id, event_date FROM read WHERE user_id IS NOT NULL)
)
SELECT read.event_date AS day, session_id, item_id, event_type, category, occurred_at,
    coalesce(device_type, 'unknown') AS device,
    CASE WHEN user_id IS NOT NULL THEN if(coalesce(returned, false), 'returning', 'new') END AS shopper,
    coalesce(country, 'unknown') AS country,
    hour(occurred_at) AS hour,
    coalesce(category, 'unknown') AS shelf,
    coalesce(brand, 'unknown') AS brand, price,
    count(*) OVER (PARTITION BY read.event_date, session_id) AS n_events,
    coalesce(floor({price_bins} * log2(greatest(price, 0.01))), {missing})::INT AS price_bin,
    coalesce(floor({dwell_bins} * log2(1 + dwell_ms)), {missing})::INT AS dwell_bin
FROM read LEFT JOIN visits USING (user_id, event_date)
WHERE read.event_date >= $first
"""

# One crawler views more items than a hundred shoppers, and would change all counts of its day. No model
# learns from crawlers. So the events of a crawler count only as one (very long) session.
_SHOPPERS = "CREATE TEMP VIEW base AS SELECT * FROM visited WHERE n_events <= {longest}"

_SESSIONS = """
CREATE TEMP TABLE sessions AS
SELECT day, any_value(device) AS device, any_value(shopper) AS shopper,
    CASE WHEN count(*) > {longest} THEN {crawler} WHEN count(item_id) <= 10 THEN count(item_id)
        ELSE floor({length_bins} * log2(count(item_id))) END::INT AS length_bin
FROM visited GROUP BY day, session_id HAVING count(item_id) > 0
"""

#: Feature to its table, the column of its bins, and the condition for rows that have the feature.
_SEGMENTED = {
    "event_type": ("base", "event_type", "true"),
    "country": ("base", "country", "true"),
    "hour": ("base", "hour", "true"),
    "category": ("base", "shelf", "item_id IS NOT NULL"),
    "brand": ("base", "brand", "item_id IS NOT NULL"),
    "price": ("base", "price_bin", "event_type = 'item_viewed'"),
    "dwell": ("base", "dwell_bin", "event_type = 'item_viewed'"),
    "session_length": ("sessions", "length_bin", "true"),
}

_VISITS = "count(DISTINCT session_id)"
_NUMBER = {"base": _VISITS, "sessions": "count(*)"}

_BY_SEGMENT = """
SELECT day, '{feature}' AS feature, CASE
        WHEN grouping(device) = 0 THEN 'device=' || device
        WHEN grouping(shopper) = 0 THEN 'shopper=' || shopper
        ELSE 'all' END AS segment,
    {bin}::VARCHAR AS bin, {n} AS n
FROM {table} WHERE {rows}
GROUP BY GROUPING SETS ((day, {bin}), (day, {bin}, device), (day, {bin}, shopper))
HAVING segment IS NOT NULL
"""

_OTHERS = f"""
SELECT day, 'device_type' AS feature, 'all' AS segment, device AS bin, {_VISITS} AS n FROM base GROUP BY ALL
UNION ALL
SELECT day, 'shopper', 'all', shopper, {_VISITS} FROM base WHERE shopper IS NOT NULL GROUP BY ALL
UNION ALL
SELECT day, 'items', 'all', item_id, {_VISITS} FROM base WHERE item_id IS NOT NULL GROUP BY ALL
UNION ALL
SELECT day, unnest(['{LOG_PRICE}', '{PRICED}']), segment, item_id, unnest([log_price * n, n::DOUBLE])
FROM (
    SELECT day, unnest(['all', 'category=' || shelf]) AS segment, item_id, n, log_price
    FROM (
        SELECT day, shelf, item_id, {_VISITS} AS n, avg(ln(price)) AS log_price
        FROM base WHERE event_type = 'item_viewed' AND price > 0 GROUP BY ALL
    )
)
UNION ALL
SELECT day, 'repeated', 'all', unnest(['first', 'again']), unnest([count(*), sum(n - 1)::BIGINT])
FROM (SELECT day, count(*) AS n FROM base GROUP BY day, session_id, item_id, event_type, occurred_at)
GROUP BY day
"""


@dataclass(frozen=True)
class Series:
    """The visits of each day in each bin of one feature in one segment.

    Attributes:
        bins: names of the bins, object [n_bins].
        counts: number of visits, float64 [n_days, n_bins].
    """

    bins: NDArray[np.object_]
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """The counts of some days.

    Attributes:
        days: every day from the first to the last, also days without events.
        series: (feature, segment) to the counts of the series.
    """

    days: tuple[date, ...]
    series: Mapping[tuple[str, str], Series]

    def row(self, day: date) -> int:
        """Return the row of a day; -1 if the day was not counted."""
        row = (day - self.days[0]).days
        return row if 0 <= row < len(self.days) else -1

    @property
    def totals(self) -> NDArray[np.float64]:
        """Number of visits of each day that viewed an item, float64 [n_days]."""
        lengths = self.series.get(("session_length", "all"))
        if lengths is None:
            return np.zeros(len(self.days))
        totals: NDArray[np.float64] = lengths.counts.sum(axis=1)
        return totals


def count_events(lake: Lake, first: date, last: date) -> Counts:
    """Count the events of the table `events` from the first to the last day, both included.

    Raises:
        NotEnoughDataError: there is no such table.
    """
    dataset = lake.require(EVENTS)
    widths = {"price_bins": PRICE_BINS, "dwell_bins": DWELL_BINS, "missing": MISSING}
    parts = [
        _BY_SEGMENT.format(feature=feature, table=table, bin=column, rows=rows, n=_NUMBER[table])
        for feature, (table, column, rows) in _SEGMENTED.items()
    ]
    with open_workspace() as connection:
        make_view(connection, EVENTS, dataset, _COLUMNS)
        since = first - timedelta(days=RETURNING_DAYS)
        # The days are literals, since a view cannot hold parameters.
        connection.execute(
            "CREATE TEMP VIEW read AS SELECT * FROM events "
            f"WHERE event_date BETWEEN DATE '{since}' AND DATE '{last}'"
        )
        connection.execute(_BASE.format(**widths), {"first": first, "returning_days": RETURNING_DAYS})
        connection.execute(_SHOPPERS.format(longest=MAX_SESSION_EVENTS))
        lengths = {"longest": MAX_SESSION_EVENTS, "crawler": CRAWLER, "length_bins": LENGTH_BINS}
        connection.execute(_SESSIONS.format(**lengths))
        rows = connection.sql(" UNION ALL ".join([*parts, _OTHERS])).to_arrow_table()
    return _to_counts(rows, first, last)


def _to_counts(rows: pa.Table, first: date, last: date) -> Counts:
    """Turn rows of day, feature, segment, bin and n into one matrix for each series."""
    days = tuple(first + timedelta(days=number) for number in range((last - first).days + 1))
    columns: dict[str, Any] = {
        name: np.array(rows[name].to_pylist(), dtype=object) for name in ("feature", "segment", "bin")
    }
    day_of = np.array([(day - first).days for day in rows["day"].to_pylist()], dtype=np.int64)
    n = rows["n"].to_numpy().astype(np.float64)
    keys = np.array(
        [
            f"{feature}\n{segment}"
            for feature, segment in zip(columns["feature"], columns["segment"], strict=True)
        ],
        dtype=object,
    )
    series: dict[tuple[str, str], Series] = {}
    names, series_of = np.unique(keys.astype(str), return_inverse=True)
    order = np.argsort(series_of, kind="stable")
    borders = np.searchsorted(series_of[order], np.arange(1, len(names)))
    for name, own in zip(names, np.split(order, borders), strict=False):
        bins, bin_of = np.unique(columns["bin"][own].astype(str), return_inverse=True)
        counts = np.zeros((len(days), len(bins)))
        np.add.at(counts, (day_of[own], bin_of), n[own])
        feature, _, segment = str(name).partition("\n")
        series[feature, segment] = Series(bins.astype(object), counts)
    return Counts(days, series)

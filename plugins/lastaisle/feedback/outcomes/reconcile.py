"""Compare the counts of outcomes with the counts of exposures, before outcomes are committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.errors import ReconciliationError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_RECEIVED = """
SELECT event_date, count_if(kind = 'shown'), count_if(kind = 'clicked') FROM exposures GROUP BY event_date
"""
_OUTCOMES = """
SELECT event_date, count(*), sum(clicks), sum(views), sum(adds), sum(orders)
FROM outcomes_now GROUP BY event_date
"""
_UNATTRIBUTED = "SELECT reason, count(*), count_if(kind = 'clicked') FROM unattributed_now GROUP BY reason"


@dataclass(frozen=True)
class Totals:
    """The counts of the whole tables.

    Attributes:
        exposures: rows of outcomes.
        clicks: clicks in outcomes.
        views: views in outcomes.
        adds: additions to the cart in outcomes.
        orders: orders in outcomes.
        clicks_received: clicks in exposures.
        unattributed_by_reason: reason to the rows of unattributed.
    """

    exposures: int
    clicks: int
    views: int
    adds: int
    orders: int
    clicks_received: int
    unattributed_by_reason: dict[str, int]


def reconcile(connection: DuckDBPyConnection) -> Totals:
    """Count the views `exposures`, `outcomes_now` and `unattributed_now`, and compare.

    Raises:
        ReconciliationError: on some day the items shown are not the rows of outcomes, or the clicks received
            are not the clicks in outcomes and unattributed together.
    """
    received = connection.execute(_RECEIVED).fetchall()
    outcomes = connection.execute(_OUTCOMES).fetchall()
    reasons = sorted(connection.execute(_UNATTRIBUTED).fetchall())
    shown = {day: count for day, count, _ in received if count}
    stored = {day: count for day, count, *_ in outcomes}
    wrong = sorted(day for day in shown.keys() | stored.keys() if shown.get(day) != stored.get(day))
    if wrong:
        named = ", ".join(f"{day}: {shown.get(day, 0)} and {stored.get(day, 0)}" for day in wrong[:5])
        raise ReconciliationError(
            "the items shown in 'exposures' are not the rows of 'outcomes'. The two counts by day are "
            f"{named}{f', and {len(wrong) - 5} more days' if len(wrong) > 5 else ''}. Nothing was committed. "
            f"{_ADVICE}"
        )
    clicks, views, adds, orders = (sum(row[column] for row in outcomes) for column in range(2, 6))
    clicks_received, unattributed = sum(row[2] for row in received), sum(row[2] for row in reasons)
    if clicks_received != clicks + unattributed:
        raise ReconciliationError(
            f"'exposures' holds {clicks_received} clicks, but 'outcomes' holds {clicks} and 'unattributed' "
            f"{unattributed}. Nothing was committed. {_ADVICE}"
        )
    by_reason = {reason: count for reason, count, _ in reasons}
    return Totals(sum(stored.values()), clicks, views, adds, orders, clicks_received, by_reason)


_ADVICE = (
    "If another program changed one of these tables, run `lastaisle attribute --all`: it attributes all days "
    "again. If the counts still differ then, report a bug with this message."
)

"""Which shoppers were in the windows of which trainings: a shopper spends only where a session was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.budget.spent import Spending

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from lastaisle.lake.reader import LakeReader

# A shopper without a user id is known by the session alone, as in a training.
_UNITS = {"shopper": "coalesce(user_id, session_id)", "session": "session_id"}
# Each moment lies in one stretch between two borders of windows, and each stretch has the windows around it.
_PATTERNS = """
SELECT CAST(windows AS VARCHAR), count(*) FROM (
    SELECT bit_or(windows) AS windows FROM (
        SELECT {unit} AS unit, occurred_at FROM events
        WHERE event_date BETWEEN $first_day AND $last_day
    ) AS seen
    ASOF JOIN (SELECT begins, CAST(windows AS BIT) AS windows FROM stretches) AS stretches
    ON seen.occurred_at >= stretches.begins
    GROUP BY unit
) GROUP BY ALL ORDER BY ALL
"""


LARGEST: Final = 64


def presence(lake: LakeReader, spendings: Sequence[Spending], unit: str) -> NDArray[np.bool_]:
    """Return the distinct sets of trainings in whose windows a shopper was.

    The events say who was where. The events of an old window may be deleted by now; then every shopper counts
    as present in that window, which is the worst case. An erased shopper has no events, and is not counted.

    Args:
        lake: where `events` is.
        spendings: the trainings.
        unit: "shopper" or "session".

    Returns:
        bool [n_sets, n_trainings], without sets that lie inside another set.
    """
    oldest, patterns = None, np.zeros((0, len(spendings)), dtype=bool)
    dataset = lake.dataset(EVENTS)
    if dataset is not None and spendings:
        stretches = _stretches(spendings)
        days = {
            "first_day": min(one.window_start for one in spendings).date(),
            "last_day": max(one.window_end for one in spendings).date(),
        }
        with open_tables(events=dataset, stretches=stretches) as connection:
            (oldest,) = _one(connection.execute("SELECT min(occurred_at) FROM events").fetchone())
            found = connection.execute(_PATTERNS.format(unit=_UNITS[unit]), days).fetchall()
        patterns = np.array([[mark == "1" for mark in text] for text, _ in found], dtype=bool)
        patterns = patterns.reshape(-1, len(spendings))
    gone = np.array([oldest is None or one.window_start < oldest for one in spendings], dtype=bool)
    return _maximal(np.vstack([patterns | gone, gone[None, :]]))


def _stretches(spendings: Sequence[Spending]) -> pa.Table:
    """Cut time at the borders of all windows, and name the windows around each stretch as a text of bits."""
    borders = sorted({moment for one in spendings for moment in (one.window_start, one.window_end)})
    marks = [
        "".join("01"[one.window_start <= begins < one.window_end] for one in spendings) for begins in borders
    ]
    moments: list[datetime] = list(borders)
    return pa.table({"begins": pa.array(moments, pa.timestamp("us", "UTC")), "windows": pa.array(marks)})


def _maximal(patterns: NDArray[np.bool_], most: int = 2000) -> NDArray[np.bool_]:
    """Leave out sets that lie inside another: they spend no more.

    Among more sets than `most`, only those go that lie inside one of the largest sets.
    """
    patterns = np.unique(patterns, axis=0)
    if len(patterns) > most:
        largest = patterns[np.argsort(-patterns.sum(axis=1), kind="stable")[:LARGEST]]
        for one in largest:
            inside_one = ~(patterns & ~one).any(axis=1) & (patterns != one).any(axis=1)
            patterns = patterns[~inside_one]
        return patterns
    counts = patterns.astype(np.int32)
    # [i, j]: set i lies inside set j
    inside: NDArray[np.bool_] = (counts @ counts.T) == counts.sum(axis=1)[:, None]
    np.fill_diagonal(inside, val=False)
    return patterns[~inside.any(axis=1)]


def _one(row: Any) -> Any:
    assert row is not None, "an aggregate always has a row"
    return row

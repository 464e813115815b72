"""Write the logs of a live shop to a folder, and say what its shoppers saw and did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from lastaisle.simulate.live.counts import LiveCounts
from lastaisle.simulate.live.shop import LiveShop
from lastaisle.simulate.live.truth import LiveTruth
from lastaisle.simulate.shop import DayOfLogs
from lastaisle.simulate.write import write_days

DayProgress = Callable[[int, float], None]
"""Is called with the number of a day and the finished share of its shoppers."""


def write_live_logs(
    directory: Path | str,
    shop: LiveShop,
    days: int,
    progress: DayProgress | None = None,
    *,
    catalogue: Path | str | None = None,
) -> dict[str, Any]:
    """Write the logs of the first days of a live shop, as `write_logs` does.

    Args:
        directory: the folder to write to.
        shop: the shop.
        days: how many days.
        progress: function to call after each shopper.
        catalogue: the file of the catalogue's history; None writes none.

    Returns:
        the report of `write_logs`, with what the shoppers saw and did in `live`: all days together, and by
        day.

    Raises:
        LiveServiceError: the service does not answer.
        LiveKeyError: the service refuses the key.
    """
    truths: dict[date, LiveTruth] = {}

    def live() -> Iterator[DayOfLogs]:
        for number in range(days):
            day = shop.day(number, _of_day(number, progress))
            truths[day.logs.day] = day.truth
            yield day.logs

    written = write_days(directory, live(), catalogue=catalogue).as_dict()
    by_day = {day.isoformat(): truth.as_dict() for day, truth in truths.items()}
    return {**written, "live": {**LiveCounts.sum_of(truths.values()).as_dict(), "days": by_day}}


def _of_day(number: int, progress: DayProgress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, every: progress(number, done / max(every, 1))

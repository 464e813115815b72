"""Made-up counts of a measure by hour, with the seasons and the variation of a shop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lastaisle.baseline.fit import DAY, WEEK, Series
from lastaisle.monitor.alerts.shop.episodes import Rule

#: The shop opens with a week of the calendar.
OPENED = 2800 * WEEK
JUDGED = OPENED + 8 * WEEK
NO_DAYS = np.array([], dtype=np.int64)
RULE = Rule(sign=1, alpha=1e-4, smallest_drop=0.05, new_normal=14 * DAY, holidays=NO_DAYS)


def counts(
    hours: int,
    *,
    level: Callable[[np.ndarray], np.ndarray] = np.ones_like,
    rate: float = 0.05,
    sessions: float = 5000,
    spread: float = 0.02,
    seed: int = 0,
) -> Series:
    """Return the sessions and orders of some hours since the shop opened.

    Args:
        hours: how many.
        level: the factor of the rate in each hour since the opening.
        rate: orders a session.
        sessions: an hour, on average.
        spread: of the effects of the days.
        seed: of chance.
    """
    chance = np.random.default_rng(seed)
    clock = np.arange(hours)
    season = 1 + 0.5 * np.sin(2 * np.pi * clock / DAY) + 0.2 * (clock // DAY % 7 > 4)
    units = chance.poisson(sessions * season)
    days = np.exp(chance.normal(0, spread, hours // DAY + 1))[clock // DAY]
    evening = 1 + 0.2 * np.cos(2 * np.pi * (clock - 20) / DAY)
    probability = rate * days * evening * level(clock.astype(float))
    totals = chance.binomial(units, np.minimum(probability, 1))
    return Series(OPENED + clock, totals[:, None].astype(float), units[:, None].astype(float))


def changed(start: int, end: int, factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the factor of a rate that changes between two hours since the opening."""
    return lambda clock: np.where((clock >= start) & (clock < end), factor, 1.0)

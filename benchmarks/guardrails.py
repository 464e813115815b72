"""Do guardrails roll back by mistake, and how soon do they find a drop? Simulated shops with a known truth.

    python benchmarks/guardrails.py [--years 10] [--drops 40] [--sessions 5000 20000] [--drop 0.1]

A shop has `--sessions` sessions an hour on average, more of them in the evening and at weekends. 3 % of the
sessions order. The rates have a season by the hour and the day. Beyond chance, they vary from day to day by
3 % and from hour to hour by 2 %, and the days resemble each other. A champion is promoted each week at a
random hour.

In the quiet shop every version is as good as the one before. Each hour, the product's `drop_of` judges every
measure, as `watch_releases` does. `false_rollbacks_a_year` counts the rollbacks.

In the other shops, a promotion lowers the conversion by `--drop`. Orders, and with them revenue, follow.
`hours_to_rollback` is the median of the hours from the promotion to the rollback, `missed` the share of the
drops that were not found in the week before the next promotion. One line of JSON for each number of sessions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from lastaisle.baseline.fit import DAY, WEEK, Baseline, Series, fit_baseline
from lastaisle.baseline.measures import MEASURES
from lastaisle.release.guardrails.drop import drop_of
from lastaisle.release.guardrails.limits import LEAST_PROMOTIONS_A_YEAR, GuardrailLimits

HISTORY = 8 * WEEK
YEAR = 365 * DAY
DAY_SPREAD, HOUR_SPREAD, DAYS_ALIKE = 0.03, 0.02, 0.4
CONVERSION, CLICK, ADD, LIST, CHECKOUT, ABANDON = 0.03, 0.012, 0.006, 10, 0.06, 0.5
ORDER_MEAN, ORDER_SPREAD = 60.0, 0.9


@dataclass(frozen=True)
class Shop:
    """The counts of a simulated shop, by measure."""

    series: dict[str, Series]


def simulate(
    hours: int, sessions: float, rng: np.random.Generator, dropped_from: int | None, drop: float
) -> Shop:
    """Return the hours of a shop; from the hour `dropped_from` on, fewer sessions order."""
    clock = np.arange(hours)
    season = 1 + 0.6 * np.sin(2 * np.pi * (clock % DAY - 14) / DAY) + 0.15 * (clock // DAY % 7 >= 5)
    count = rng.poisson(sessions * season * _days(hours, 0.08, rng))
    rate = (1 + 0.1 * np.cos(2 * np.pi * (clock % DAY - 20) / DAY)) * np.where(clock // DAY % 7 >= 5, 0.94, 1)
    rate = rate * _days(hours, DAY_SPREAD, rng) * np.exp(rng.normal(0, HOUR_SPREAD, hours))
    worse = np.ones(hours)
    if dropped_from is not None:
        worse[dropped_from:] = 1 - drop
    orders = rng.binomial(count, np.clip(CONVERSION * rate * worse, 0, 1))
    checkouts = orders + rng.binomial(count - orders, np.clip(CHECKOUT * rate, 0, 1))
    spent = np.exp(ORDER_SPREAD**2) - 1
    shape = np.maximum(orders, 1) / spent
    parts = {
        "sessions_ordered": orders,
        "revenue": np.where(orders > 0, rng.gamma(shape, ORDER_MEAN * spent), 0.0),
        "clicked": rng.binomial(count * LIST, np.clip(CLICK * rate, 0, 1)),
        "added": rng.binomial(count * LIST, np.clip(ADD * rate, 0, 1)),
        "sessions_abandoned": rng.binomial(checkouts - orders, ABANDON),
    }
    wholes = {"sessions": count, "exposures": count * LIST, "sessions_checkout": checkouts}
    return Shop(
        {
            name: Series(
                clock, parts[one.part][:, None].astype(float), wholes[one.whole][:, None].astype(float)
            )
            for name, one in MEASURES.items()
        }
    )


def _days(hours: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Return the effect of each hour's day; days that follow each other are alike."""
    days = -(-hours // DAY)
    effects = np.empty(days)
    effects[0] = rng.normal(0, spread)
    for day in range(1, days):
        effects[day] = DAYS_ALIKE * effects[day - 1] + rng.normal(0, spread * (1 - DAYS_ALIKE**2) ** 0.5)
    return np.asarray(np.exp(np.repeat(effects, DAY)[:hours]))


def hour_of_rollback(shop: Shop, start: int, end: int, limits: GuardrailLimits) -> int | None:
    """Return after how many hours the champion of a start is rolled back; None if it is not."""
    alpha = limits.alpha(LEAST_PROMOTIONS_A_YEAR)
    fitted: dict[str, Baseline] = {}
    for name, series in shop.series.items():
        baseline = fit_baseline(series.between(start - HISTORY, start))
        if baseline is not None:
            fitted[name] = baseline
    for hour in range(start + 1, end + 1):
        for name, baseline in fitted.items():
            drop = drop_of(MEASURES[name], baseline, shop.series[name], (start, hour), alpha)
            if drop is not None and drop.is_sure and drop.value >= limits.smallest_drop:
                return hour - start
    return None


def promotions(hours: int, rng: np.random.Generator) -> Iterator[int]:
    """Yield one random hour of each week after the history."""
    for week in range(HISTORY, hours - 2 * WEEK, WEEK):
        yield week + int(rng.integers(WEEK))


def quiet(
    years: int, sessions: float, rng: np.random.Generator, limits: GuardrailLimits
) -> tuple[int, float]:
    """Return the rollbacks of a shop whose versions are all alike, and the years in which it promoted."""
    rollbacks, weeks = 0, 0
    for _ in range(years):
        hours = HISTORY + YEAR + 2 * WEEK
        shop = simulate(hours, sessions, rng, None, 0.0)
        starts = list(promotions(hours, rng))
        for start, end in zip(starts, [*starts[1:], starts[-1] + WEEK], strict=True):
            weeks += 1
            rollbacks += hour_of_rollback(shop, start, end, limits) is not None
    return rollbacks, weeks * WEEK / YEAR


def with_drops(
    drops: int, sessions: float, drop: float, rng: np.random.Generator, limits: GuardrailLimits
) -> list[int | None]:
    """Return after how many hours each drop was found."""
    found = []
    for _ in range(drops):
        start = HISTORY + int(rng.integers(WEEK))
        shop = simulate(start + WEEK, sessions, rng, start, drop)
        found.append(hour_of_rollback(shop, start, start + WEEK, limits))
    return found


def main() -> None:
    """Simulate, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=10, help="quiet years for each number of sessions")
    parser.add_argument("--drops", type=int, default=40, help="drops for each number of sessions")
    parser.add_argument("--sessions", type=float, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--drop", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    limits, table = GuardrailLimits(), Table("sessions an hour", "false a year", "hours", "missed")
    for sessions in given.sessions:
        rng, begun = np.random.default_rng(given.seed), time.monotonic()
        rollbacks, years = quiet(given.years, sessions, rng, limits)
        found = with_drops(given.drops, sessions, given.drop, rng, limits)
        hours = [hour for hour in found if hour is not None]
        line = {
            "sessions_an_hour": sessions,
            "drop": given.drop,
            "false_rollbacks_a_year": round(rollbacks / years, 3) if years else None,
            "hours_to_rollback": float(np.median(hours)) if hours else None,
            "hours_to_rollback_p90": float(np.percentile(hours, 90)) if hours else None,
            "missed": round(1 - len(hours) / len(found), 3) if found else None,
            "quiet_years": round(years, 2),
            "drops": len(found),
            "smallest_drop": limits.smallest_drop,
            "seconds": round(time.monotonic() - begun, 1),
        }
        print(json.dumps(line))
        names = ("sessions_an_hour", "false_rollbacks_a_year", "hours_to_rollback", "missed")
        table.add_row(*(str(line[name]) for name in names))
    Console().print(table)


if __name__ == "__main__":
    main()

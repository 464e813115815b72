"""Are alerts of the shop's figures false, and how soon do they find a drop? Shops with a known truth.

    python benchmarks/alerts.py [--months 60] [--drops 60] [--sessions 1000 5000 20000] [--world days smooth]

A shop is that of `benchmarks/guardrails.py`: `--sessions` an hour on average, a season by the hour and the
day, 3 % of the sessions order. Beyond chance, the rates vary from day to day by 3 % and from hour to hour by
2 %, and days that follow each other are alike. In the world `days`, each day has an effect of its own, from
midnight on. In the world `smooth`, the effect moves from hour to hour and fades within a day. All five
measures of a shop share these effects.

In the quiet shop nothing changes. `false_alarms_a_month` counts the alarms of all measures together, with an
interval of 95 %; one is allowed. In the other shops, a measure drops by a known share at a random hour, for
three days. `hours_to_alert` is the median number of hours of figures until the alarm, with the 10th and the
90th percentile. `within` is the share that was found within 2 hours (a drop of 20 % or more) or within 24
hours (10 %), and `missed` the share that was not found in the three days.

The peer (`plain z-test`) compares each hour with the same hour of the last week, by the test of two shares.
Its limit allows one false alarm a month, if counts vary by chance alone.

With LASTAISLE_DATA, the first line says how much the shares of a real shop vary: the sessions of
`yoochoose-week.tsv` with four clicks or more, by day and by hour. One line of JSON for each row.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2, norm

import guardrails
from lastaisle.baseline.fit import DAY, WEEK, Series
from lastaisle.baseline.hours import HISTORY
from lastaisle.baseline.measures import MEASURES, Measure
from lastaisle.monitor.alerts.rules.shop_drop import MEASURES_OF
from lastaisle.monitor.alerts.shop.episodes import course_of
from lastaisle.monitor.alerts.shop.judge import rule_of
from lastaisle.monitor.alerts.shop.limits import MONTH, ShopDropOptions

LASTS = 3 * DAY
DROPPED = ("ctr", "conversion")
ALLOWED = {0.1: DAY, 0.2: 2, 0.5: 2}
Finder = Callable[[Measure, Series, int], list[tuple[int, int]]]


def ours(measure: Measure, series: Series, first: int) -> list[tuple[int, int]]:
    """Return the alarms of the product: the hour in which each began, and the hour that showed it."""
    options = ShopDropOptions()
    names = next(names for names in MEASURES_OF.values() if measure.name in names)
    rule = rule_of(measure, options, options.alpha(len(names)))
    course = course_of(series, rule, int(series.hours[-1]) + 1, first)
    return [(one.since, one.found) for one in course.episodes]


def plain_z_test(measure: Measure, series: Series, first: int) -> list[tuple[int, int]]:
    """Return the alarms of a test of each hour against the same hour of the last week.

    Hours that follow an alarm within a day are the same alarm.
    """
    totals, units = series.totals[:, 0], series.units[:, 0]
    now, before = np.arange(first, len(totals)), np.arange(first - WEEK, len(totals) - WEEK)
    have, had = totals[now], totals[before]
    if measure.part == "revenue":  # the spread of orders is known here
        spent = guardrails.ORDER_MEAN * np.exp(guardrails.ORDER_SPREAD**2)
        variance = spent * (have / units[now] ** 2 + had / units[before] ** 2)
    else:
        shared = (have + had) / (units[now] + units[before])
        variance = shared * (1 - shared) * (1 / units[now] + 1 / units[before])
    score = measure.sign * (have / units[now] - had / units[before]) / np.sqrt(np.maximum(variance, 1e-12))
    alarms: list[tuple[int, int]] = []
    for hour in now[score < norm.ppf(1 / (MONTH * len(MEASURES)))]:
        if not alarms or hour - alarms[-1][1] > DAY:
            alarms.append((int(hour), int(hour)))
    return alarms


FINDERS: dict[str, Finder] = {"lastaisle": ours, "plain z-test": plain_z_test}


def smooth(hours: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Return effects that move from hour to hour, and are as alike after a day as those of days."""
    alike = guardrails.DAYS_ALIKE ** (1 / DAY)
    moves = rng.normal(0, spread * (1 - alike**2) ** 0.5, hours)
    effects = np.empty(hours)
    effects[0] = rng.normal(0, spread)
    for hour in range(1, hours):
        effects[hour] = alike * effects[hour - 1] + moves[hour]
    return np.exp(effects)


WORLDS = {"days": guardrails._days, "smooth": smooth}


def quiet(months: int, sessions: float, rng: np.random.Generator, finder: Finder) -> dict[str, object]:
    """Return the false alarms of a shop in which nothing changes."""
    shop = guardrails.simulate(HISTORY + months * MONTH, sessions, rng, None, 0.0)
    alarms = sum(len(finder(MEASURES[name], series, HISTORY)) for name, series in shop.series.items())
    low = chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    high = chi2.ppf(0.975, 2 * alarms + 2) / 2
    return {
        "false_alarms_a_month": round(alarms / months, 3),
        "interval": [round(float(end) / months, 2) for end in (low, high)],
        "months": months,
    }


def with_drops(
    sessions: float, drop: tuple[str, float], drops: int, rng: np.random.Generator, finder: Finder
) -> dict[str, object]:
    """Return how soon drops of one measure, by one share, were found."""
    (name, share), found = drop, []
    for _ in range(drops):
        start = HISTORY + DAY + int(rng.integers(WEEK))
        series = guardrails.simulate(start + LASTS, sessions, rng, None, 0.0).series[name]
        series.totals[start:] = rng.binomial(series.totals[start:].astype(int), 1 - share)
        first = start // WEEK * WEEK
        found += [next((at for _, at in finder(MEASURES[name], series, first) if at >= start), None)]
        found[-1] = None if found[-1] is None else found[-1] - start + 1
    hours = [hour for hour in found if hour is not None]
    within = sum(hour <= ALLOWED[share] for hour in hours) / len(found)
    spread = [round(float(np.percentile(hours, part)), 1) for part in (10, 90)] if hours else None
    median = float(np.median([np.inf if hour is None else hour for hour in found]))
    return {
        "measure": name,
        "drop": share,
        "hours_to_alert": median if np.isfinite(median) else None,
        "spread": spread,
        "within": {f"{ALLOWED[share]} h": round(within, 2)},
        "missed": round(1 - len(hours) / len(found), 3),
        "drops": len(found),
    }


def real_shop(file: Path) -> dict[str, object]:
    """Return how much the share of long sessions varies in a real shop, beyond chance."""
    rows = duckdb.sql(
        f"""WITH sessions AS (
            SELECT min(Time) AS began, count(*) >= 4 AS is_long FROM read_csv('{file}', delim='\t')
            GROUP BY SessionId)
        SELECT (began // 3600)::BIGINT AS hour, count(*) AS sessions, sum(is_long::INT) AS long
        FROM sessions GROUP BY 1 HAVING sessions > 20 ORDER BY 1"""
    ).fetchnumpy()
    hour, sessions, long = (np.asarray(rows[name], dtype=float) for name in ("hour", "sessions", "long"))
    clock = (hour % DAY).astype(int)
    share = np.bincount(clock, long, DAY) / np.maximum(np.bincount(clock, sessions, DAY), 1)
    expected = sessions * share[clock]
    chance = expected * (1 - share[clock])
    days, day = np.unique(hour // DAY, return_inverse=True)
    effects = np.bincount(day, long) / np.bincount(day, expected) - 1
    by_chance = np.bincount(day, chance) / np.bincount(day, expected) ** 2
    between = (effects**2).sum() / (len(days) - 1) - by_chance.mean()
    return {
        "real_shop": file.name,
        "sessions_an_hour": round(float(sessions.mean()), 1),
        "variance_of_hours_in_multiples_of_chance": round(
            float(((long - expected) ** 2 / chance).sum() / (len(long) - DAY)), 2
        ),
        "spread_of_days_beyond_chance": round(float(max(between, 0) ** 0.5), 3),
        "days": len(days),
    }


def rows_of(given: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield the rows of all worlds, sizes and drops."""
    data = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "yoochoose-week.tsv"
    if data.exists():
        yield real_shop(data)
    for world in given.world:
        guardrails._days = WORLDS[world]
        for sessions in given.sessions:
            for by, finder in FINDERS.items():
                key = {"by": by, "world": world, "sessions_an_hour": sessions}
                begun = time.monotonic()
                row = quiet(given.months, sessions, np.random.default_rng(given.seed), finder)
                yield key | row | {"seconds": round(time.monotonic() - begun, 1)}
                for drop in product(DROPPED, ALLOWED) if given.drops else ():
                    rng = np.random.default_rng(given.seed + 1)
                    yield key | with_drops(sessions, drop, given.drops, rng, finder)


def main() -> None:
    """Simulate, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--months", type=int, default=60, help="quiet months of each shop")
    parser.add_argument("--drops", type=int, default=60, help="drops of each size")
    parser.add_argument("--sessions", type=float, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--world", nargs="+", default=list(WORLDS), choices=WORLDS)
    parser.add_argument("--seed", type=int, default=1)
    names = ("by", "world", "sessions_an_hour", "measure", "drop", "false_alarms_a_month", "interval")
    table = Table(*names, "hours_to_alert", "spread", "within", "missed")
    for row in rows_of(parser.parse_args()):
        print(json.dumps(row), flush=True)
        if "by" in row:
            table.add_row(*(str(row.get(str(column.header), "")) for column in table.columns))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()

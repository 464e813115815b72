"""How often does an experiment that is looked at every hour end with a wrong verdict, and what does it find?

    python benchmarks/experiments.py [--runs 2000] [--ratio-runs 40000] [--days 14] [--lift 0.03]

Simulates shops whose truth is known: so many experiments without a difference, and so many with a lift of 3 %
on a conversion of 3 %. Each has two arms, runs for 14 days, and is looked at after every hour. So many
shoppers come that one look at the end finds the lift with a probability of 0.9. All numbers come from the
functions that `analyze_experiments` uses. Prints a table; the last line is JSON. Takes some seconds.

- false_positive_share: experiments without a difference whose sequence of intervals ever excludes 0.
- z_test_false_positive_share: the same with the ordinary interval of 95 %, looked at every hour.
- power, fixed_horizon_power: experiments with the lift that the sequence finds at any look, and that one look
  at the end finds.
- coverage: experiments, of both kinds, whose sequence holds the truth at all looks.
- sample_ratio_false_alarms: experiments whose sample ratio is right and ever alarms. One of 1,000 may alarm,
  so more of them are simulated.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lastaisle.experiments.statistics.comparison import Comparison, compare
from lastaisle.experiments.statistics.fixed import required_units, required_units_with_looks, z_value
from lastaisle.experiments.statistics.moments import Moments
from lastaisle.experiments.statistics.sample_ratio import ALPHA, log_evidence
from lastaisle.experiments.statistics.sequences import critical_value, tuned_rho

SHARES = (0.5, 0.5)
CHUNK = 50  # experiments that are simulated at once, so that memory stays small


@dataclass(frozen=True)
class World:
    """What is true in a simulated shop.

    Attributes:
        conversion: the share of the control's shoppers who order.
        lift: the relative difference of the other arm.
        hourly: the expected shoppers of each hour.
        alpha: the level of the intervals.
    """

    conversion: float
    lift: float
    hourly: NDArray[np.float64]
    alpha: float

    @property
    def difference(self) -> float:
        """The true difference."""
        return self.conversion * self.lift


@dataclass(frozen=True)
class Looks:
    """What the looks found, one entry an experiment."""

    excludes: NDArray[np.bool_]
    z_test_excludes: NDArray[np.bool_]
    last_look_excludes: NDArray[np.bool_]
    covers: NDArray[np.bool_]
    hours: NDArray[np.int64]


def simulate(world: World, runs: int, draw: np.random.Generator) -> Looks:
    """Simulate experiments in chunks, and look at them every hour."""
    chunks = [look(world, min(CHUNK, runs - first), draw) for first in range(0, runs, CHUNK)]
    names = Looks.__dataclass_fields__
    return Looks(*(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names))


def look(world: World, runs: int, draw: np.random.Generator) -> Looks:
    """Simulate some experiments, and look at them every hour."""
    units = shoppers(world.hourly, runs, draw)
    rates = np.array([world.conversion, world.conversion * (1 + world.lift)])
    sums = Moments.of_successes(units[..., None], draw.binomial(units, rates)[..., None]).running(1)
    found = compare(sums[:, :, 0], sums[:, :, 1])
    rho = tuned_rho(float(world.hourly.sum()), world.alpha)
    always = excludes(found, critical_value(found.units, rho, world.alpha), 0.0)
    ordinary = excludes(found, z_value(world.alpha), 0.0)
    missed = excludes(found, critical_value(found.units, rho, world.alpha), world.difference)
    return Looks(
        excludes=always.any(1),
        z_test_excludes=ordinary.any(1),
        last_look_excludes=ordinary[:, -1],
        covers=~missed.any(1),
        hours=np.where(always.any(1), always.argmax(1) + 1, len(world.hourly)),
    )


def shoppers(hourly: NDArray[np.float64], runs: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Return the shoppers of each experiment, hour and arm."""
    total = draw.poisson(hourly, (runs, len(hourly)))
    control = draw.binomial(total, SHARES[0])
    return np.stack([control, total - control], -1)


def ratio_alarms(hourly: NDArray[np.float64], runs: int, draw: np.random.Generator) -> float:
    """Return the share of experiments whose sample ratio ever alarms."""
    alarms = 0
    for first in range(0, runs, CHUNK):
        units = shoppers(hourly, min(CHUNK, runs - first), draw).cumsum(1)
        alarms += int((log_evidence(units, SHARES) > -math.log(ALPHA)).any(1).sum())
    return alarms / runs


def excludes(found: Comparison, width: NDArray[np.float64] | float, value: float) -> NDArray[np.bool_]:
    """Tell at which looks the interval excludes a value."""
    low, high = found.interval(width)
    return (low > value) | (high < value)


def hourly_shoppers(days: int, units: int) -> NDArray[np.float64]:
    """Return the expected shoppers of each hour: many in the evening, few at night."""
    hours = np.arange(24 * days)
    shape = 1.0 - 0.8 * np.cos(2 * np.pi * (hours - 4) / 24)
    return units * shape / shape.sum()


def main() -> None:
    """Simulate, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, help="experiments of each kind")
    parser.add_argument("--ratio-runs", type=int, default=40_000, help="experiments for the sample ratio")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--conversion", type=float, default=0.03)
    parser.add_argument("--lift", type=float, default=0.03, help="the relative lift of the second kind")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--planned-power", type=float, default=0.9, help="of one look at the end")
    parser.add_argument("--seed", type=int, default=20)
    given = parser.parse_args()
    started = time.perf_counter()
    sizes = {"baseline": given.conversion, "variance": given.conversion * (1 - given.conversion)}
    asked = {"relative_effect": given.lift, "alpha": given.alpha, "power": given.planned_power}
    units = required_units(**sizes, **asked)
    hourly, draw = hourly_shoppers(given.days, units), np.random.default_rng(given.seed)
    same = simulate(World(given.conversion, 0.0, hourly, given.alpha), given.runs, draw)
    lifted = simulate(World(given.conversion, given.lift, hourly, given.alpha), given.runs, draw)
    line = {
        "runs": given.runs,
        "alpha": given.alpha,
        "false_positive_share": same.excludes.mean(),
        "z_test_false_positive_share": same.z_test_excludes.mean(),
        "power": lifted.excludes.mean(),
        "fixed_horizon_power": lifted.last_look_excludes.mean(),
        "coverage": np.concatenate([same.covers, lifted.covers]).mean(),
        "sample_ratio_false_alarms": ratio_alarms(hourly, given.ratio_runs, draw),
    }
    more = {
        "shoppers": units,
        "shoppers_for_the_same_power_with_looks": required_units_with_looks(**sizes, **asked),
        "days_until_the_verdict": float(lifted.hours[lifted.excludes].mean()) / 24,
        "seconds": time.perf_counter() - started,
    }
    line = {name: round(float(value), 5) for name, value in line.items()} | {"runs": given.runs}
    table = Table("number", "value")
    for name, value in {**line, **more}.items():
        table.add_row(name.replace("_", " "), f"{value:,.4g}" if value < 1000 else f"{value:,.0f}")
    Console().print(table)
    print(json.dumps(line))


if __name__ == "__main__":
    main()

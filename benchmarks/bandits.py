"""How many rewards do bandits lose while they learn, beside Vowpal Wabbit, MABWiser and a greedy policy?

    python benchmarks/bandits.py [--seeds 20] [--first-seed 100] [--hours 240] [--lists 100] [--runs 200]

Each policy sees the same simulated lists: the same contexts, and the same reward of each arm. All policies
draw the lists of an hour, and then learn their rewards. Our bandits run with the product's own code. The
regret is the sum, over all lists, of the best arm's rate minus the drawn arm's rate. Prints a table, and a
JSON line for each policy and world.

The defaults of our bandits were chosen in worlds of the seeds 0 to 7, so a comparison takes other seeds.

Then it judges the off-policy estimators, as `benchmarks/off_policy.py` does; `--runs 0` leaves them out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

import off_policy
from bandit.policies import POLICIES
from bandit.worlds import Size, make_world

WORLDS: Final = ("stationary", "drifting")


def regret_of(policy: str, world: str, seed: int, size: Size) -> float:
    """Return the rewards that a policy loses in one world."""
    made = make_world(world, seed, size)
    competitor = POLICIES[policy](made, seed)
    regret = 0.0
    for hour in range(size.hours):
        drawn = competitor.draw(hour)
        regret += made.regret(hour, drawn)
        competitor.learn(hour, drawn, made.rewards(hour, drawn))
    return regret


def compare(policies: list[str], seeds: range, size: Size, table: Table) -> Iterator[dict[str, Any]]:
    """Yield policy, world, regret and its standard error; fill the table."""
    for world in WORLDS:
        for policy in policies:
            begun = time.perf_counter()
            regrets = [regret_of(policy, world, seed, size) for seed in seeds]
            seconds = (time.perf_counter() - begun) / len(seeds)
            mean, error = float(np.mean(regrets)), float(np.std(regrets, ddof=1) / np.sqrt(len(seeds)))
            table.add_row(world, policy, f"{mean:.1f}", f"{error:.1f}", f"{seconds:.2f}")
            yield {
                "policy": policy,
                "world": world,
                "regret": round(mean, 1),
                "standard_error": round(error, 1),
            }


def main() -> None:
    """Compare the policies, judge the estimators, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="simulated shops, 2 or more")
    parser.add_argument("--first-seed", type=int, default=100, help="the seed of the first shop")
    parser.add_argument("--hours", type=int, default=240)
    parser.add_argument("--lists", type=int, default=100, help="lists an hour")
    parser.add_argument("--arms", type=int, default=4)
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--runs", type=int, default=200, help="logs for the estimators; 0 leaves them out")
    given = parser.parse_args()
    table = Table("world", "policy", "regret", "standard error", "seconds")
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    size = Size(given.hours, given.lists, given.arms)
    lines = list(compare(given.policies.split(","), seeds, size, table))
    Console().print(table)
    if given.runs:
        lines += off_policy.measure(given.runs, 4000, 20)
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()

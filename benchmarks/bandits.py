"""How many rewards do bandits lose while they learn, beside Vowpal Wabbit, MABWiser and a greedy policy?

    python benchmarks/bandits.py [--seeds 8] [--hours 240] [--lists 100] [--arms 4] [--policies thompson,greedy]

Each policy sees the same simulated lists: the same contexts, and the same rewards of each arm. All policies
draw an hour of lists, and then learn their rewards. The regret is the sum over all lists of the best arm's rate
minus the drawn arm's rate. Prints a table, and a JSON line for each policy and world.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from bandit.policies import POLICIES
from bandit.worlds import make_world

WORLDS = ("stationary", "drifting")


def regret_of(policy: str, world: str, seed: int, hours: int, lists: int, arms: int) -> float:
    """Return the rewards that a policy loses in one world."""
    made = make_world(world, seed, hours=hours, lists=lists, arms=arms)
    competitor = POLICIES[policy](made, seed)
    regret = 0.0
    for hour in range(hours):
        drawn = competitor.draw(hour)
        regret += made.regret(hour, drawn)
        competitor.learn(hour, drawn, made.rewards(hour, drawn))
    return regret


def main() -> None:
    """Compare the policies, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--hours", type=int, default=240)
    parser.add_argument("--lists", type=int, default=100, help="lists an hour")
    parser.add_argument("--arms", type=int, default=4)
    parser.add_argument("--policies", default=",".join(POLICIES))
    given = parser.parse_args()
    table = Table("world", "policy", "regret", "standard error", "seconds a world")
    lines = []
    for world in WORLDS:
        for policy in given.policies.split(","):
            begun = time.perf_counter()
            regrets = [
                regret_of(policy, world, seed, given.hours, given.lists, given.arms)
                for seed in range(given.seeds)
            ]
            seconds = (time.perf_counter() - begun) / given.seeds
            error = float(np.std(regrets, ddof=1) / np.sqrt(given.seeds)) if given.seeds > 1 else 0.0
            mean = float(np.mean(regrets))
            table.add_row(world, policy, f"{mean:.1f}", f"{error:.1f}", f"{seconds:.1f}")
            lines.append({"policy": policy, "world": world, "regret": round(mean, 1), "standard_error": round(error, 1)})
    Console().print(table)
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()

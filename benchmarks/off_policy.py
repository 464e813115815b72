"""Do off-policy estimates hit the truth, and do their intervals hold it, also in the logs of a bandit?

    python benchmarks/off_policy.py [--runs 500] [--lists 4000]

Simulates logs of three arms, two contexts and shoppers who return, with known truth. In the log `fixed` the
arms are drawn by fixed probabilities. In the log `adaptive` Thompson sampling draws them, with the code of
the product, and learns after each of 40 batches. Two policies are judged: the best arm of each context, and
one arm always; and their difference, since such a difference decides about the share of a bandit's policy.
Each log is looked at ten times: after a tenth of its lists, after two tenths, and so on.

The interval `fixed` is the usual one, and `adaptive` is wider. Each line of JSON is one estimator:

- bias, standard_deviation: of the estimate after all lists.
- coverage: logs whose interval holds the truth after all lists.
- coverage_at_all_looks: logs whose intervals hold the truth at every look.
- width: of the interval after all lists.
- effective_sample_size: the mean after all lists, in shoppers.
- refused: the share of looks at which the overlap is too thin. They count neither as covered nor as missed.

`arm_mean` is the plain mean of the lists that show the arm, with its usual interval. Takes about a minute.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lastaisle.experiments.bandits.best import best_of_betas
from models.evaluation.off_policy.estimators import ESTIMATORS, OffPolicyEstimate, difference, estimate
from models.evaluation.off_policy.log import Log
from models.evaluation.off_policy.overlap import OverlapError, overlap_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The mean reward of each context and arm.
TRUTH: Final = np.array([[0.30, 0.25, 0.35], [0.30, 0.40, 0.20]])
BEST: Final = "best_policy"
ONE_ARM: Final = "one_arm"
DIFFERENCE: Final = "difference"
ARM_MEAN: Final = "arm_mean"
TARGETS: Final = {
    BEST: np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    ONE_ARM: np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
}
FIXED: Final = np.array([0.6, 0.3, 0.1])
FLOOR: Final = 0.02
TASTE: Final = 0.1  # by which a shopper's rewards are above or below the mean
BATCHES: Final = 40
LISTS_OF_A_SHOPPER: Final = 4
LOOKS: Final = tuple(number / 10 for number in range(1, 11))
Z: Final = 1.959964


class Run(NamedTuple):
    """One simulated log: all of shape (lists,)."""

    actions: Ints
    propensities: Floats
    rewards: Floats
    units: Ints
    cells: Ints
    batches: Ints

    def until(self, look: float) -> Log:
        """Return the log as it is after a share of the lists."""
        n = round(len(self.actions) * look)
        actions, propensities, rewards, units, cells, batches = (column[:n] for column in self)
        return Log.of(
            actions, propensities, rewards, arms=TRUTH.shape[1], units=units, cells=cells, batches=batches
        )


def simulate(kind: str, lists: int, draw: np.random.Generator) -> Run:
    """Simulate a log.

    Args:
        kind: fixed or adaptive.
        lists: how many lists it has.
        draw: the source of chance.
    """
    units = draw.permutation(np.arange(lists) // LISTS_OF_A_SHOPPER)
    shoppers = int(units.max()) + 1
    cells = draw.integers(0, len(TRUTH), shoppers)[units]
    taste = draw.choice([-TASTE, TASTE], shoppers)[units]
    batches = np.arange(lists) * BATCHES // lists
    actions, chances, rewards = np.zeros(lists, np.int64), np.zeros(lists), np.zeros(lists)
    counts = np.ones((2, *TRUTH.shape))  # rewards and misses, with a list of each before the first
    for batch in range(BATCHES):
        rows = np.flatnonzero(batches == batch)
        by_cell = np.array([_probabilities(kind, counts[:, cell]) for cell in range(len(TRUTH))])
        sums = by_cell.cumsum(axis=1)[cells[rows]]
        actions[rows] = (draw.random((len(rows), 1)) * sums[:, -1:] >= sums).sum(axis=1)
        chances[rows] = by_cell[cells[rows], actions[rows]]
        rewards[rows] = draw.random(len(rows)) < TRUTH[cells[rows], actions[rows]] + taste[rows]
        np.add.at(counts, (1 - rewards[rows].astype(np.int64), cells[rows], actions[rows]), 1)
    return Run(actions, chances, rewards, units, cells, batches)


def _probabilities(kind: str, counts: Floats) -> Floats:
    """Return the probability of each arm in one context; counts are rewards and misses, shape (2, arms)."""
    if kind == "fixed":
        return FIXED
    return FLOOR + (1 - FLOOR * counts.shape[1]) * best_of_betas(counts[0], counts[1])


def measure(runs: int, lists: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one line for each log, policy, interval and estimator."""
    for kind in ("fixed", "adaptive"):
        draw = np.random.default_rng(seed)
        logs = [simulate(kind, lists, draw) for _ in range(runs)]
        looks = [[run.until(look) for look in LOOKS] for run in logs]
        for interval in ("fixed", "adaptive")[: 1 + (kind == "adaptive")]:
            for target, estimator in _cases(interval):
                found = [[_judge(log, target, estimator, interval) for log in run] for run in looks]
                told = {"estimator": estimator, "log": kind, "interval": interval, "target": target}
                yield told | {"runs": runs} | _summary(found, _truth(target))


def _cases(interval: str) -> list[tuple[str, str]]:
    """Return what is estimated, and by which estimator."""
    cases = [(target, estimator) for target in TARGETS for estimator in ESTIMATORS]
    cases.append((DIFFERENCE, "dr"))
    return cases + [(ONE_ARM, ARM_MEAN)] * (interval == "fixed")


def _truth(target: str) -> float:
    values = {name: float((policy * TRUTH).sum(axis=1).mean()) for name, policy in TARGETS.items()}
    return values[BEST] - values[ONE_ARM] if target == DIFFERENCE else values[target]


def _judge(log: Log, target: str, estimator: Any, interval: Any) -> OffPolicyEstimate | None:
    policies = {name: policy[log.cells] for name, policy in TARGETS.items()}
    if estimator == ARM_MEAN:
        rewards = log.rewards[log.actions == int(TARGETS[target][0].argmax())]
        value, error = float(rewards.mean()), float(rewards.std() / np.sqrt(len(rewards)))
        size = overlap_of(log, policies[target]).effective_sample_size
        return OffPolicyEstimate(value, value - Z * error, value + Z * error, error, size)
    try:
        if target == DIFFERENCE:
            return difference(log, policies[BEST], policies[ONE_ARM], interval=interval)
        return estimate(log, policies[target], estimator, interval=interval)
    except OverlapError:
        return None


def _summary(found: list[list[OffPolicyEstimate | None]], truth: float) -> dict[str, float]:
    last = [run[-1] for run in found if run[-1] is not None]
    if not last:
        return {"refused": 1.0}
    values = np.array([one.value for one in last])
    all_looks = [[one for one in run if one is not None] for run in found]
    kept = [all(one.low <= truth <= one.high for one in run) for run in all_looks if run]
    return {
        "bias": round(float(values.mean()) - truth, 5),
        "standard_deviation": round(float(values.std()), 5),
        "coverage": round(float(np.mean([one.low <= truth <= one.high for one in last])), 4),
        "coverage_at_all_looks": round(float(np.mean(kept)), 4),
        "width": round(float(np.mean([one.high - one.low for one in last])), 4),
        "effective_sample_size": round(float(np.mean([one.effective_sample_size for one in last])), 1),
        "refused": round(1 - sum(map(len, all_looks)) / (len(found) * len(LOOKS)), 4),
    }


def main() -> None:
    """Simulate, and print a table and one line of JSON for each estimator."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500, help="logs of each kind")
    parser.add_argument("--lists", type=int, default=4000, help="lists of each log")
    parser.add_argument("--seed", type=int, default=20)
    given = parser.parse_args()
    lines = list(measure(given.runs, given.lists, given.seed))
    table = Table("log", "interval", "policy", "estimator", "bias", "coverage", "all looks", "size", box=None)
    for line in lines:
        names = (str(line[name]) for name in ("log", "interval", "target", "estimator"))
        numbers = (f"{line.get(name, np.nan):.3f}" for name in ("bias", "coverage", "coverage_at_all_looks"))
        table.add_row(*names, *numbers, f"{line.get('effective_sample_size', np.nan):.0f}")
    Console().print(table)
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()

"""Does the gate hold quality over weeks? Simulated days whose true quality is known, judged by the real gate.

    python benchmarks/gate.py [--days 60] [--runs 60] [--targets 1500] [--without not_worse_than_anchor]

Each day of a run, a candidate is made from the champion; its true recall@20 is that of the champion less a
loss. Nobody knows the loss: shoppers come, with several sessions each, and every model hits or misses their
next items. The intervals come from the bootstrap of the evaluation, and `decide` decides. So the simulation
shows how often the gate promotes such candidates, and how much quality is lost after these days.

In a world with `drift_a_day`, a version loses that much of recall@20 each day after its training, since the
shop changes. In a world with `spread`, candidates differ by more than chance: their losses are normal.

`lost` is the true recall@20 that the champion lost: the mean of the runs, with the median and the 90th
percentile beside it. `refused_by` is the share of days on which each rule refused, `refused_by_others` the
share on which a rule other than not_worse_than_anchor did. --without shows a gate that lacks some rules. One
line of JSON a world, then a table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.pooling import standard_error
from lastaisle.evaluation.report import CHURN, Estimate, Evaluation, Scores
from lastaisle.release.anchor import surpassed
from lastaisle.release.gate import GateRules, decide
from models.evaluation.metrics import resampled_means

METRIC, START = "recall@20", 0.6
# How alike two versions hit. One generation apart, the difference of two versions has a standard error of
# 0.009 at 1,500 targets, as on a week of YooChoose; versions further apart differ more, up to a limit.
OWN, KINSHIP, LEAST_KINSHIP = 0.6, 0.86, 0.6
SHOPPER = 0.1  # the share of the variance that the sessions of a shopper have in common
CUTS = {  # the share of targets in each group that the gate looks at
    "next_cart": 0.1,
    "next_purchase": 0.04,
    "short_sessions": 0.7,
    "long_sessions": 0.3,
    "cold_items": 0.15,
}
BASELINES = {"popularity": 0.15, "repeat": 0.42}
PAIRS = (("candidate", "champion"), ("candidate", "anchor"), ("champion", "anchor"))


@dataclass(frozen=True)
class World:
    """The truth of a simulated shop, as recall@20 a day."""

    loss: float
    drift: float = 0.0
    spread: float = 0.0


WORLDS = (
    World(0.005),
    World(0.0),
    World(-0.005),
    World(0.0025),
    World(0.01),
    World(0.005, spread=0.005),
    World(0.0, drift=0.005),
    World(0.005, drift=0.002),
)


@dataclass
class Shop:
    """One run: the true recall@20 of its versions when they were new, and their age in days."""

    champion: float = START
    anchor: float = START
    champion_age: int = 0
    anchor_age: int = 0
    generations: int = 0  # from the anchor to the champion
    later: list[Estimate] = field(default_factory=list)

    def promote(self, candidate: float) -> None:
        """Let a candidate serve."""
        self.champion, self.champion_age, self.later = candidate, 0, []
        self.generations += 1

    def move_anchor(self) -> None:
        """Make the champion the anchor."""
        self.anchor, self.anchor_age, self.generations, self.later = self.champion, self.champion_age, 0, []


@dataclass(frozen=True)
class Day:
    """The targets of a day, the same for all runs: the shopper of each, and who is in which group."""

    unit: NDArray[np.int64]
    groups: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, targets: int, rng: np.random.Generator) -> Day:
        """Draw shoppers with one to four sessions of one to six targets."""
        by_shopper = rng.integers(1, 5, targets) * rng.integers(1, 7, targets)
        unit = np.repeat(np.arange(targets), by_shopper)[:targets]
        return cls(unit, {name: rng.random(targets) < share for name, share in CUTS.items()})


def hits_of(day: Day, true: NDArray[np.float64], kin: NDArray[np.float64], rng: np.random.Generator) -> dict:
    """Draw the hits of all models in all runs, [targets, runs] each.

    A target is hit if a normal variate lies below the quantile of the model's true recall@20. One part of
    the variate is the target's, one part the version's, and versions share more of it the closer they are.

    Args:
        day: the targets.
        true: the recall@20 of candidate, champion and anchor in each run, [3, runs].
        kin: the correlation of anchor and champion in each run.
        rng: draws.
    """
    shape = (len(day.unit), true.shape[1])

    def normal() -> NDArray[np.float32]:
        by_shopper = rng.standard_normal((day.unit[-1] + 1, shape[1]), np.float32)[day.unit]
        return SHOPPER**0.5 * by_shopper + (1 - SHOPPER) ** 0.5 * rng.standard_normal(shape, np.float32)

    shared, champion = normal(), normal()
    versions = {
        "candidate": KINSHIP * champion + (1 - KINSHIP**2) ** 0.5 * normal(),
        "champion": champion,
        "anchor": kin * champion + (1 - kin**2) ** 0.5 * normal(),
    }
    quantile = np.vectorize(NormalDist().inv_cdf)(np.clip(true, 0.001, 0.999))
    hits = {
        name: (1 - OWN**2) ** 0.5 * shared + OWN * noise < limit
        for (name, noise), limit in zip(versions.items(), quantile, strict=True)
    }
    return hits | {name: rng.random((shape[0], 1)) < share for name, share in BASELINES.items()}


def estimates(columns: NDArray[np.float64], unit: NDArray[np.int64], level: float) -> list[Estimate]:
    """Return the mean of each column with its interval, as the evaluation does."""
    drawn = resampled_means(columns, unit)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [Estimate(*map(float, each)) for each in zip(columns.mean(axis=0), low, high, strict=True)]


def evaluations(day: Day, hits: dict, level: float) -> list[dict[str, Evaluation]]:
    """Return the evaluations of candidate, champion and anchor in each run."""
    pairs = [*PAIRS, *(("candidate", baseline) for baseline in BASELINES)]
    runs = hits["candidate"].shape[1]
    overall = np.concatenate([hits[a].astype(float) - hits[b] for a, b in pairs], axis=1)
    columns = dict(zip(pairs, np.reshape(estimates(overall, day.unit, level), (-1, runs)), strict=True))
    paired = hits["candidate"].astype(float) - hits["champion"]
    cuts = {name: estimates(paired[rows], day.unit[rows], level) for name, rows in day.groups.items()}
    still = {"coverage@20": Estimate(0.5, 0.5, 0.5)}
    found = []
    for run in range(runs):
        against: dict = {"candidate": {}, "champion": {}, "anchor": {}}
        for (part, other), column in columns.items():
            against[part][other] = {METRIC: column[run]}
        against["candidate"]["champion"][CHURN] = Estimate(0.5, 0.5, 0.5)
        slices = {
            name: Scores(int(day.groups[name].sum()), {}, {"champion": {METRIC: column[run]}})
            for name, column in cuts.items()
        }
        found.append(
            {
                part: Evaluation(
                    part,
                    Scores(
                        len(day.unit),
                        {METRIC: Estimate(*[hits[part][:, run].mean()] * 3), **still},
                        differences,
                    ),
                    slices if part == "candidate" else {},
                )
                for part, differences in against.items()
            }
        )
    return found


def measured(
    world: World,
    shops: list[Shop],
    candidates: NDArray,
    *,
    targets: int,
    rng: np.random.Generator,
    level: float,
) -> list[dict[str, Evaluation]]:
    """Let a day pass in every shop, and measure candidate, champion and anchor on the same targets."""
    for shop in shops:
        shop.champion_age, shop.anchor_age = shop.champion_age + 1, shop.anchor_age + 1
    serving = np.array([shop.champion - world.drift * shop.champion_age for shop in shops])
    anchors = np.array([shop.anchor - world.drift * shop.anchor_age for shop in shops])
    kin = np.array([max(LEAST_KINSHIP, KINSHIP**shop.generations) for shop in shops])
    day = Day.of(targets, rng)
    return evaluations(day, hits_of(day, np.stack([candidates, serving, anchors]), kin, rng), level)


def simulate(
    world: World,
    *,
    days: int = 60,
    runs: int = 60,
    targets: int = 1500,
    without: frozenset[str] = frozenset(),
    seed: int = 1,
) -> dict:
    """Let the gate decide day by day, and return what the world came to."""
    rng, rules = np.random.default_rng(seed), GateRules()
    shops, refused, promoted, moves, errors = [Shop() for _ in range(runs)], Counter(), 0, 0, []
    for _ in range(days):
        champions = np.array([shop.champion for shop in shops])
        candidates = champions - world.loss - world.spread * rng.standard_normal(runs)
        found = measured(world, shops, candidates, targets=targets, rng=rng, level=rules.level)
        for shop, candidate, models in zip(shops, candidates, found, strict=True):
            apart = shop.generations > 0
            if apart:
                shop.later.append(models["champion"].overall.against["anchor"][METRIC])
            decision = decide(
                models["candidate"],
                models["champion"],
                rules,
                0.0,
                anchor=models["anchor"] if apart else None,
                later=shop.later,
            )
            errors.append(
                standard_error(models["candidate"].overall.against["champion"][METRIC], rules.level)
            )
            broken = {check.name for check in decision.checks if not check.passed} - without
            refused.update(broken)
            refused["others"] += bool(broken - {"not_worse_than_anchor"})
            if surpassed(shop.later, rules):
                shop.move_anchor()
                moves += 1
            if not broken:
                shop.promote(candidate)
                promoted += 1
    others = refused.pop("others")
    return {
        "benchmark": "gate",
        "loss_a_day": world.loss,
        "drift_a_day": world.drift,
        "spread": world.spread,
        "days": days,
        "runs": runs,
        "targets": targets,
        "standard_error": round(float(np.mean(errors)), 4),
        **losses(world, shops),
        "promoted_share": round(promoted / (days * runs), 3),
        "anchor_moves": round(moves / runs, 2),
        "refused_by_others": round(others / (days * runs), 3),
        "refused_by": {name: round(count / (days * runs), 3) for name, count in refused.most_common()},
    }


def losses(world: World, shops: list[Shop]) -> dict:
    """Return by how much the shops' champions lie below the start, at the end."""
    lost = START - np.array([shop.champion - world.drift * shop.champion_age for shop in shops])
    return {
        "lost": round(float(lost.mean()), 4),
        "lost_median": round(float(np.median(lost)), 4),
        "lost_p90": round(float(np.quantile(lost, 0.9)), 4),
    }


def main() -> None:
    """Simulate the worlds; print a line of JSON for each, and a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--targets", type=int, default=1500, help="next items that judge a candidate")
    parser.add_argument("--without", nargs="*", default=[], help="rules that do not count")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.perf_counter()
    columns = ("loss_a_day", "drift_a_day", "spread", "lost", "lost_median", "lost_p90", "promoted_share")
    table = Table(*columns, "anchor_moves")
    for world in WORLDS:
        row = simulate(
            world,
            days=given.days,
            runs=given.runs,
            targets=given.targets,
            without=frozenset(given.without),
            seed=given.seed,
        )
        table.add_row(*(f"{row[name]:g}" for name in (*columns, "anchor_moves")))
        print(json.dumps(row))
    Console(width=120).print(table)
    print(f"{time.perf_counter() - began:.0f} seconds")


if __name__ == "__main__":
    main()

"""Four silos that share no rows, beside one model on all rows and beside each silo alone.

    python benchmarks/federated.py
    python benchmarks/federated.py --quick                  one seed of a smaller shop, and too few rounds
    python benchmarks/federated.py --choose                 the grid behind RATE and MOMENTUM, on another seed
    python benchmarks/federated.py --file sessions.txt      one session a line, item ids separated by spaces

A made-up shop has four regions with different tastes: each region prefers other categories, and the next item
follows from the item before in the same way everywhere. With `--file`, the sessions of a real log are split
by a hash of their first item, so that each silo knows other items well. All models are measured on the same
later sessions of all regions. Every rule of aggregation is tried with honest silos, and with one silo that
sends the opposite of what it learned, five times as long. The rounds run in this process by the code that
Flower's processes run; tests/federation/test_silos.py shows that both give the same weights.

The reported seeds are not the seed on which `--choose` compares hyperparameters. Prints a JSON line, and then
a table.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from models.data.sequences import SessionLog, next_item_examples
from models.options import TrainingOptions

if TYPE_CHECKING:
    from models.federated.rounds import Silo
    from models.recommender import Recommender

NAMES = ("east", "north", "south", "west")
CATEGORIES = 40
OPTIONS = {"embedding_size": 32}
LOCAL_EPOCHS, RATE, MOMENTUM = 2, 0.01, 0.3
SEEDS = (21, 22, 23)
CHOOSING_SEED = 11
RATES, MOMENTUMS = (0.006, 0.01, 0.015), (0.0, 0.3)


@dataclass(frozen=True)
class Size:
    """How large the made-up shop is, and how long the silos train.

    Attributes:
        items: in the catalogue.
        sessions: of each region, to learn.
        later: sessions of each region, to judge.
        rounds: of a federated training.
    """

    items: int = 1000
    sessions: int = 1500
    later: int = 400
    rounds: int = 8


QUICK = Size(items=400, sessions=400, later=200, rounds=2)


def region_sessions(region: int, n: int, seed: int, items: int) -> list[list[str]]:
    """Return sessions of a region of the made-up shop."""
    generator = np.random.default_rng((seed, region))
    taste = np.random.default_rng(100 + region).dirichlet(np.full(CATEGORIES, 0.4))
    size = items // CATEGORIES
    following = np.random.default_rng(7).integers(0, size, (items, 3))
    popularity = 1 / np.arange(1, size + 1) ** 0.8
    popularity /= popularity.sum()
    sessions = []
    for _ in range(n):
        category = int(generator.choice(CATEGORIES, p=taste))
        session = [category * size + int(generator.choice(size, p=popularity))]
        for _ in range(int(generator.integers(1, 7))):
            category, draw = session[-1] // size, generator.random()
            if draw < 0.6:
                place = following[session[-1], generator.integers(3)]
            else:
                category = category if draw < 0.9 else int(generator.integers(CATEGORIES))
                place = generator.choice(size, p=popularity)
            session.append(category * size + int(place))
        sessions.append([f"i{item:04d}" for item in session])
    return sessions


def made_up(seed: int, size: Size) -> tuple[dict[str, list[list[str]]], list[list[str]]]:
    """Return the sessions of each silo, and later sessions of all."""
    silos = {
        name: region_sessions(place, size.sessions, seed, size.items) for place, name in enumerate(NAMES)
    }
    later = [
        session
        for place in range(len(NAMES))
        for session in region_sessions(place, size.later, 1000 + seed, size.items)
    ]
    return silos, later


def from_file(path: Path) -> tuple[dict[str, list[list[str]]], list[list[str]]]:
    """Split the sessions of a file, the oldest first: the last tenth is later."""
    sessions = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    sessions = [session for session in sessions if len(session) >= 2]
    cut = len(sessions) * 9 // 10
    silos: dict[str, list[list[str]]] = {name: [] for name in NAMES}
    for session in sessions[:cut]:
        silos[NAMES[zlib.crc32(session[0].encode()) % len(NAMES)]].append(session)
    return silos, sessions[cut:]


def recall(model: Recommender, later: SessionLog) -> float:
    """Return recall@20 on the later sessions of all regions."""
    from models.evaluation.metrics import recall_at_k
    from models.evaluation.ranking import rank_targets

    return recall_at_k(rank_targets(model, next_item_examples(later)).ranks, 20)


def alone(sessions: Sequence[list[str]], options: TrainingOptions, later: SessionLog) -> float:
    """Return the recall of a model that learns these sessions in the usual way."""
    from models.by_name import create

    log = SessionLog.from_lists(sessions)
    model = create("gru", options)
    model.fit(log, np.ones(len(log), np.float32))
    return recall(model, later)


class Federation:
    """The silos of one seed. They keep nothing between two trainings, so each is prepared once."""

    def __init__(
        self,
        silos: dict[str, list[list[str]]],
        options: TrainingOptions,
        later: SessionLog,
        **agreed: float,
    ) -> None:
        from models.federated.agreement import Agreement
        from models.federated.learner import Learner

        items = sorted({item for sessions in silos.values() for session in sessions for item in session})
        self._later = later
        self._agreement = Agreement(
            "gru",
            options.to_dict(),
            tuple(items),
            clip=1e5,
            **{"local_epochs": LOCAL_EPOCHS, "learning_rate": RATE, "momentum": MOMENTUM, **agreed},  # type: ignore[arg-type]
        )
        self._answers: dict[str, Silo] = {
            name: Learner(self._agreement, SessionLog.from_lists(sessions)).answer
            for name, sessions in silos.items()
        }

    def together(self, rule: str, *, is_poisoned: bool = False, is_bounded: bool = True) -> float:
        """Return the recall of a federated training; with `is_poisoned`, one silo is hostile."""
        from models.federated import rounds

        answers = dict(self._answers)
        if is_poisoned:
            answers[NAMES[-1]] = hostile(answers[NAMES[-1]])
        kept = rounds.bounded
        if not is_bounded:
            rounds.bounded = lambda updates, bounds: list(updates)  # what FedAvg without bounds does
        try:
            server = rounds.run_rounds(replace(self._agreement, aggregation=rule), answers)
            return recall(server.model(), self._later)
        finally:
            rounds.bounded = kept


def hostile(answer: Silo) -> Silo:
    """Return a silo that sends the opposite of what it learned, five times as long."""

    def turned(number, weights, popularity):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        update = answer(number, weights, popularity)
        return replace(update, change={name: -5 * array for name, array in update.change.items()})

    return turned


def measure(seed: int, size: Size, file: Path | None) -> dict[str, float]:
    """Return the recall of all models for one seed."""
    silos, sessions = from_file(file) if file else made_up(seed, size)
    later, options = SessionLog.from_lists(sessions), TrainingOptions(seed=seed, **OPTIONS)
    found = {"pooled": alone([s for name in NAMES for s in silos[name]], options, later)}
    found |= {f"{name} alone": alone(silos[name], options, later) for name in NAMES}
    federation = Federation(silos, options, later, rounds=size.rounds)
    for rule in ("mean", "trimmed", "krum"):
        found[rule] = federation.together(rule)
        found[f"{rule}, poisoned"] = federation.together(rule, is_poisoned=True)
    found["mean without bounds, poisoned"] = federation.together("mean", is_poisoned=True, is_bounded=False)
    return found


def choose(size: Size) -> None:
    """Print the share of the pooled recall for each rate and momentum, on a seed that is not reported."""
    silos, sessions = made_up(CHOOSING_SEED, size)
    later, options = SessionLog.from_lists(sessions), TrainingOptions(seed=CHOOSING_SEED, **OPTIONS)
    pooled = alone([s for name in NAMES for s in silos[name]], options, later)
    table = Table("learning rate", "momentum", "recall@20 of the pooled model's", title="mean of four silos")
    for rate in RATES:
        for momentum in MOMENTUMS:
            agreed = {"rounds": size.rounds, "learning_rate": rate, "momentum": momentum}
            share = Federation(silos, options, later, **agreed).together("mean") / pooled
            table.add_row(f"{rate:g}", f"{momentum:g}", f"{100 * share:.1f} %")
    Console().print(table)


def main() -> None:
    """Measure for each seed, and print shares of the recall of the pooled model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--rounds", type=int, default=None, help="of a federated training")
    parser.add_argument("--quick", action="store_true", help="a smaller shop, one seed, two rounds")
    parser.add_argument(
        "--choose", action="store_true", help="compare hyperparameters, and measure nothing else"
    )
    given = parser.parse_args()
    size = QUICK if given.quick else Size()
    size = size if given.rounds is None else replace(size, rounds=given.rounds)
    if given.choose:
        choose(size)
        return
    seeds, began = given.seeds[:1] if given.quick else given.seeds, perf_counter()
    report([measure(seed, size, given.file) for seed in seeds], seeds, perf_counter() - began)


def report(runs: Sequence[dict[str, float]], seeds: Sequence[int], seconds: float) -> None:
    """Print the JSON line and the table."""
    shares = {name: [run[name] / run["pooled"] for run in runs] for name in runs[0]}
    mean = {name: float(np.mean(values)) for name, values in shares.items()}
    figures = {
        "benchmark": "federated",
        "silos": len(NAMES),
        "seeds": list(seeds),
        "pooled_recall": round(float(np.mean([run["pooled"] for run in runs])), 4),
        "recall_share": round(mean["mean"], 4),
        "lowest_recall_share": round(min(shares["mean"]), 4),
        "best_silo_share": round(max(mean[f"{name} alone"] for name in NAMES), 4),
        "robust_recall_share": {rule: round(mean[rule], 4) for rule in ("trimmed", "krum")},
        "poisoned_recall_share": {
            name.removesuffix(", poisoned"): round(share, 4)
            for name, share in mean.items()
            if name.endswith("poisoned")
        },
        "seconds": round(seconds, 1),
    }
    print(json.dumps(figures))
    table = Table("model", "recall@20 of the pooled model's", "lowest", "highest", title="four silos")
    for name, values in shares.items():
        row = (np.mean(values), min(values), max(values))
        table.add_row(name, *(f"{100 * value:.1f} %" for value in row))
    Console().print(table)


if __name__ == "__main__":
    main()

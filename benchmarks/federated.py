"""Four silos that share no rows, beside one model on all rows and beside each silo alone.

    python benchmarks/federated.py
    python benchmarks/federated.py --file sessions.txt      one session a line, item ids separated by spaces

A made-up shop has four regions with different tastes: each region prefers other categories, and the next item
follows from the item before in the same way everywhere. With `--file`, the sessions of a real log are split
by a hash of their first item, so that each silo knows other items well. All models are measured on the same
later sessions of all regions. Every rule of aggregation is tried with honest silos, and with one silo that
sends the opposite of what it learned, five times as long. The rounds run in this process by the code that
Flower's processes run; tests/federation/test_silos.py shows that both give the same weights.

Takes about five minutes on two cores. Prints a JSON line, and then a table.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
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
ITEMS, CATEGORIES, SESSIONS, LATER = 1000, 40, 2000, 400
OPTIONS = {"embedding_size": 64}
ROUNDS, LOCAL_EPOCHS, RATE, MOMENTUM = 8, 2, 0.01, 0.3
SEEDS = (1, 2, 3)


def region_sessions(region: int, n: int, seed: int) -> list[list[str]]:
    """Return sessions of a region of the made-up shop."""
    generator = np.random.default_rng((seed, region))
    taste = np.random.default_rng(100 + region).dirichlet(np.full(CATEGORIES, 0.4))
    size = ITEMS // CATEGORIES
    following = np.random.default_rng(7).integers(0, size, (ITEMS, 3))
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


def made_up(seed: int) -> tuple[dict[str, list[list[str]]], list[list[str]]]:
    """Return the sessions of each silo, and later sessions of all."""
    silos = {name: region_sessions(place, SESSIONS, seed) for place, name in enumerate(NAMES)}
    later = [s for place in range(len(NAMES)) for s in region_sessions(place, LATER, 1000 + seed)]
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


def together(
    silos: dict[str, list[list[str]]],
    options: TrainingOptions,
    later: SessionLog,
    rule: str,
    *,
    is_poisoned: bool,
    is_bounded: bool = True,
) -> float:
    """Return the recall of a federated training; with `is_poisoned`, one silo is hostile."""
    from models.federated import rounds
    from models.federated.agreement import Agreement
    from models.federated.learner import Learner

    items = tuple(sorted({item for sessions in silos.values() for session in sessions for item in session}))
    agreement = Agreement(
        "gru",
        options.to_dict(),
        items,
        rounds=ROUNDS,
        local_epochs=LOCAL_EPOCHS,
        learning_rate=RATE,
        momentum=MOMENTUM,
        aggregation=rule,
        clip=1e5,
    )
    answers = {
        name: Learner(agreement, SessionLog.from_lists(sessions)).answer for name, sessions in silos.items()
    }
    if is_poisoned:
        answers[NAMES[-1]] = hostile(answers[NAMES[-1]])
    kept = rounds.bounded
    if not is_bounded:
        rounds.bounded = lambda updates, bounds: list(updates)  # what FedAvg without bounds does
    try:
        return recall(rounds.run_rounds(agreement, answers).model(), later)
    finally:
        rounds.bounded = kept


def hostile(answer: Silo) -> Silo:
    """Return a silo that sends the opposite of what it learned, five times as long."""

    def turned(number, weights, popularity):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        update = answer(number, weights, popularity)
        return replace(update, change={name: -5 * array for name, array in update.change.items()})

    return turned


def measure(seed: int, file: Path | None) -> dict[str, float]:
    """Return the recall of all models for one seed."""
    silos, sessions = from_file(file) if file else made_up(seed)
    later, options = SessionLog.from_lists(sessions), TrainingOptions(seed=seed, **OPTIONS)
    found = {"pooled": alone([s for name in NAMES for s in silos[name]], options, later)}
    found |= {f"{name} alone": alone(silos[name], options, later) for name in NAMES}
    for rule in ("mean", "trimmed", "krum"):
        found[rule] = together(silos, options, later, rule, is_poisoned=False)
        found[f"{rule}, poisoned"] = together(silos, options, later, rule, is_poisoned=True)
    found["mean without bounds, poisoned"] = together(
        silos, options, later, "mean", is_poisoned=True, is_bounded=False
    )
    return found


def main() -> None:
    """Measure for each seed, and print shares of the recall of the pooled model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    given = parser.parse_args()
    runs = [measure(seed, given.file) for seed in given.seeds]
    shares = {name: [run[name] / run["pooled"] for run in runs] for name in runs[0]}
    mean = {name: float(np.mean(values)) for name, values in shares.items()}
    print(
        json.dumps(
            {
                "benchmark": "federated",
                "silos": len(NAMES),
                "seeds": given.seeds,
                "pooled_recall": round(float(np.mean([run["pooled"] for run in runs])), 4),
                "recall_share": round(mean["mean"], 4),
                "best_silo_share": round(max(mean[f"{name} alone"] for name in NAMES), 4),
                "poisoned_recall_share": {
                    name.removesuffix(", poisoned"): round(share, 4)
                    for name, share in mean.items()
                    if name.endswith("poisoned")
                },
                "robust_recall_share": {rule: round(mean[rule], 4) for rule in ("trimmed", "krum")},
            }
        )
    )
    table = Table("model", "recall@20 of the pooled model's", "lowest", "highest", title="four silos")
    for name, values in shares.items():
        row = (np.mean(values), min(values), max(values))
        table.add_row(name, *(f"{100 * value:.1f} %" for value in row))
    Console().print(table)


if __name__ == "__main__":
    main()

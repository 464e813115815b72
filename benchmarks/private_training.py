"""What privacy costs a model, and what it hides: recall, membership inference, and the time of a step.

Half of the sessions of the train part, chosen at random for each seed, train a plain and a private model. The
other half are not members. An attacker sees the model and one session, and guesses whether the session is a
member, by the model's loss of the session, by the ranks of its targets, or, with the models of the other
seeds as shadow models, by how likely the loss is with and without the session (LiRA, Carlini et al. 2022,
with normal distributions of equal variance). The area under the ROC curve of the strongest attack counts; 0.5
is chance. docs/private-training.md says what each figure means.

Without LASTAISLE_DATA, or with --sessions simulated, the sessions come from a shop of themes that is made
here. With diginetica, the last tenth of the train part is the test, so that the real test part stays unseen.
The items of the shop are public: both kinds of models know all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.by_name import create
from models.data.items import ItemTable
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import TrainingOptions
from models.private.accounting import epsilon_of
from models.recommender import Recommender
from models.sequential import base
from models.sequential.base import SequenceModel
from models.sequential.trainer import Trainer

CHUNK = 500  # sessions scored at once
TIMED_STEPS = 40  # of a training that is timed
WARM_UP_STEPS = 15  # of them, whose time does not count


def main() -> None:
    """Train, attack, and print one line of JSON and a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", choices=("diginetica", "simulated"), default="simulated")
    parser.add_argument("--model", default="attention")
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--delta", type=float, default=1e-6)
    parser.add_argument("--seeds", type=int, default=4, help="pairs of models; at least 3 for LiRA")
    parser.add_argument(
        "--most", type=int, default=20_000, help="sessions of the train part, the latest ones"
    )
    parser.add_argument("--attacked", type=int, default=2000, help="sessions that the attacks judge")
    parser.add_argument("--options", type=json.loads, default={}, help="hyperparameters of the private model")
    parser.add_argument("--repetitions", type=int, default=5, help="pairs of trainings that time a step")
    parser.add_argument("--steps-only", action="store_true", help="time the steps, and train no other model")
    parser.add_argument("--quick", action="store_true", help="3 seeds, 2,000 sessions, 20 steps: no figure")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.most, asked.attacked, asked.repetitions = 3, 2000, 400, 1
        asked.options = {"private_steps": 20, **asked.options}
    sessions, test = _sessions(asked.sessions, asked.most)
    plain = TrainingOptions(embedding_size=64, max_length=20)
    chosen = {"private_batch": max(1, asked.most // 8), "private_steps": 60, **asked.options}
    private = plain.but(epsilon=asked.epsilon, delta=asked.delta, **chosen)
    result: dict[str, object] = {"sessions": asked.sessions, "model": asked.model}
    if asked.steps_only:
        print(json.dumps(result | _step_ratio(asked.model, private, sessions, asked.repetitions)))
        return
    result["members"] = asked.most // 2
    members = np.stack([_half(len(sessions), seed) for seed in range(asked.seeds)])
    kinds = {}
    for kind, options in (("plain", plain), ("private", private)):
        kinds[kind] = _measure(asked.model, options, sessions, test, members=members, attacked=asked.attacked)
    result |= {"epsilon": kinds["private"]["epsilon"], "delta": asked.delta, "seeds": asked.seeds}
    result |= {f"recall_{kind}": found["recall"] for kind, found in kinds.items()}
    result["recall_share"] = round(kinds["private"]["recall"][0] / max(kinds["plain"]["recall"][0], 1e-9), 3)
    result |= {f"auc_{kind}": found["auc"] for kind, found in kinds.items()}
    result |= {f"attacks_{kind}": found["attacks"] for kind, found in kinds.items()}
    result |= _step_ratio(asked.model, private, sessions, asked.repetitions)
    print(json.dumps(result))
    table = Table("model", "recall@20", "lowest", "highest", "AUC of the strongest attack", "attack")
    for kind, found in kinds.items():
        strongest = max(found["attacks"], key=lambda name: found["attacks"][name])
        table.add_row(kind, *map(str, found["recall"]), str(found["auc"]), strongest)
    Console().print(table)


def _sessions(source: str, most: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return the latest `most` sessions of the train part, and the sessions of the test."""
    if source == "simulated":
        made = _shop(most + most // 5)
        return made[:most], made[most:]
    file = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "diginetica" / "train_sessions.txt"
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    cut = len(lines) * 9 // 10
    return lines[:cut][-most:], lines[cut:][:4000]


def _shop(n: int) -> list[list[str]]:
    """Make sessions: each walks among the 40 items of one of 25 themes, the popular ones more often."""
    generator = np.random.default_rng(11)
    share = 1.0 / np.arange(1, 41)
    share /= share.sum()
    themes, lengths = generator.integers(0, 25, n), 2 + generator.geometric(0.35, n)
    return [
        [f"{theme}-{item}" for item in generator.choice(40, length, p=share)]
        for theme, length in zip(themes, lengths, strict=True)
    ]


def _catalogue(sessions: Iterable[list[str]]) -> ItemTable:
    """Return all items of some sessions: the shop's items are public."""
    ids = np.array(sorted({item for session in sessions for item in session}), object)
    return ItemTable(ids, {}, np.ones(len(ids), bool))


def _half(n: int, seed: int) -> NDArray[np.bool_]:
    """Return which sessions are members."""
    return np.random.default_rng((5, seed)).permutation(n) < n // 2


def _measure(
    name: str,
    options: TrainingOptions,
    sessions: list[list[str]],
    test: list[list[str]],
    *,
    members: NDArray[np.bool_],
    attacked: int,
) -> dict[str, Any]:
    """Train one model for each seed, and attack each by the others; return the figures."""
    judged = np.random.default_rng(2).choice(len(sessions), min(attacked, len(sessions)), replace=False)
    items = _catalogue((*sessions, *test))
    recalls, losses, ranks, epsilon = [], [], [], None
    for seed, inside in enumerate(members):
        model = create(name, options.but(seed=seed))
        log = SessionLog.from_lists([sessions[place] for place in np.flatnonzero(inside)])
        report = model.fit(log, items=items if options.epsilon else None)
        if report.mechanism:
            epsilon = round(epsilon_of([report.mechanism], options.delta).epsilon, 3)
        ranked = rank_targets(model, next_item_examples(SessionLog.from_lists(test)))
        recalls.append(summarize(ranked, ks=(20,))["recall@20"])
        each = [
            _signals(model, [sessions[place] for place in judged[a : a + CHUNK]]) for a in _starts(judged)
        ]
        losses.append(np.concatenate([found[0] for found in each]))
        ranks.append(np.concatenate([found[1] for found in each]))
    truth = members[:, judged]
    attacks = {
        "loss": _median_auc(-np.stack(losses), truth),
        "rank": _median_auc(-np.stack(ranks), truth),
        "lira": _median_auc(_likelihood_ratios(np.stack(losses), truth), truth),
    }
    recall = [round(100 * value, 2) for value in (median(recalls), min(recalls), max(recalls))]
    return {"recall": recall, "attacks": attacks, "auc": max(attacks.values()), "epsilon": epsilon}


def _starts(rows: NDArray[np.int64]) -> range:
    return range(0, len(rows), CHUNK)


def _signals(
    model: Recommender, sessions: list[list[str]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean loss of each session's targets, and the mean logarithm of their ranks.

    A target that the model does not know has the rank after all items, and the loss of a uniform guess.
    """
    examples = next_item_examples(SessionLog.from_lists(sessions))
    encoded = examples.encode(model.vocabulary)
    scores = model.scores(encoded.prefixes(slice(None), model.options.max_length))[:, 1:].astype(np.float64)
    known, rows = encoded.targets > 0, np.arange(len(encoded.targets))
    own = scores[rows, np.maximum(encoded.targets - 1, 0)]
    top = scores.max(1)
    loss = np.log(np.exp(scores - top[:, None]).sum(1)) + top - own
    rank = np.log1p((scores > own[:, None]).sum(1))
    size = np.log(max(scores.shape[1], 1))
    n = np.maximum(np.bincount(examples.session, minlength=len(sessions)), 1)
    means = [
        np.bincount(examples.session, np.where(known, values, size), minlength=len(sessions)) / n
        for values in (loss, rank)
    ]
    return means[0], means[1]


def _likelihood_ratios(losses: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each model and session how much better "member" explains the loss, by the other models."""
    ratios = np.zeros_like(losses)
    for model in range(len(losses)):
        others = np.arange(len(losses)) != model
        found, inside = losses[others], members[others]
        mean_in, mean_out = (
            np.where(mask.any(0), (found * mask).sum(0) / np.maximum(mask.sum(0), 1), np.nan)
            for mask in (inside, ~inside)
        )
        shift = np.nanmean(mean_in - mean_out)  # of a typical session, where one of the two is unknown
        mean_in = np.where(np.isnan(mean_in), mean_out + shift, mean_in)
        mean_out = np.where(np.isnan(mean_out), mean_in - shift, mean_out)
        ratios[model] = (losses[model] - mean_out) ** 2 - (losses[model] - mean_in) ** 2
    return ratios


def _median_auc(guesses: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
    """Return the median over the models of the area under the ROC curve, float."""
    return round(median(_auc(*pair) for pair in zip(guesses, members, strict=True)), 4)


def _auc(guess: NDArray[np.float64], member: NDArray[np.bool_]) -> float:
    """Return how probably a member has a higher guess than another session; ties count one half."""
    _, place, counts = np.unique(guess, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n_in, n_out = int(member.sum()), int((~member).sum())
    return float((rank[member].sum() - n_in * (n_in + 1) / 2) / max(n_in * n_out, 1))


class _Timed(Trainer):
    """A trainer that notes when each step ended, and how many targets it read."""

    def __init__(self, ends: list[float], targets: list[int], *arguments: Any) -> None:
        super().__init__(*arguments)
        compiled = self.step

        def step(sessions: Any, weights: Any, *others: Any) -> Any:
            loss = compiled(sessions, weights, *others)
            ends.append(perf_counter())
            targets.append(np.count_nonzero(weights))
            return loss

        self.step = step


def _step_ratio(
    name: str, private: TrainingOptions, sessions: list[list[str]], repetitions: int
) -> dict[str, object]:
    """Return how many times longer a private step takes than a plain one that reads as many targets.

    A step lasts from the end of the step before to its own end, so that it has the choice of its sessions
    and of the negatives. Of each training, the median of the steps after WARM_UP_STEPS counts: the first
    steps are compiled. The ratio is the median over pairs of trainings, one after the other.
    """
    log, items = SessionLog.from_lists(sessions), _catalogue(sessions)
    targets = int(np.maximum(np.minimum(log.lengths - 1, private.max_length), 0).sum())
    share = min(1.0, private.private_batch / len(log))
    epochs = max(1, round(TIMED_STEPS * share))
    plain = private.but(epsilon=None, batch_size=max(1, math.ceil(share * targets)), epochs=epochs)
    timed = private.but(private_steps=TIMED_STEPS)
    if not isinstance(create(name), SequenceModel):
        return {"step_ratio": None}  # a model that counts takes no steps
    read: list[int] = []
    pairs = [
        [_seconds_a_step(name, options, log, items, read) for options in (plain, timed)]
        for _ in range(repetitions)
    ]
    ratios = [private_seconds / plain_seconds for plain_seconds, private_seconds in pairs]
    return {
        "step_ratio": round(median(ratios), 2),
        "step_ratio_lowest": round(min(ratios), 2),
        "step_ratio_highest": round(max(ratios), 2),
        "step_targets_plain": round(median(read)),
        "step_targets_private": round(share * targets),
        "step_seconds_plain": round(median(pair[0] for pair in pairs), 4),
        "step_seconds_private": round(median(pair[1] for pair in pairs), 4),
    }


def _seconds_a_step(
    name: str, options: TrainingOptions, log: SessionLog, items: ItemTable, read: list[int]
) -> float:
    """Train, and return the median time of a step; a plain training adds how many targets each step read."""
    ends: list[float] = []
    model = create(name, options)
    assert isinstance(model, SequenceModel)
    if options.epsilon is None:
        model.trainer_of = partial(_Timed, ends, read)
        with patch.object(base, "MIN_BATCH_SIZE", options.batch_size):  # else a 128th of the targets
            model.fit(log)
    else:
        model.fit(log, progress=lambda share, text: ends.append(perf_counter()), items=items)
    return float(np.median(np.diff(ends)[WARM_UP_STEPS:]))


if __name__ == "__main__":
    main()

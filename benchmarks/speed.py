"""How fast does the default model train and rank, and what limits its speed?

The argument is the folder of a split (default: diginetica's in LASTAISLE_DATA). The script trains one epoch
three times, ranks the test targets among all items three times, and prints the medians. Then it times the
parts of a training step alone. It compares the rate of the step's matrix products with the rate of one large
product (2,048 a side) of the same run. Takes about five minutes on two cores.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.benchmark import read_pairs, read_sessions
from models.by_name import create
from models.data.batches import Batch, Batches
from models.evaluation.objectives import target_weights
from models.evaluation.ranking import rank_targets
from models.options import TrainingOptions, session_weights
from models.sequential.base import SequenceModel, sampling_shares
from models.sequential.trainer import Trainer

REPEATS, SIDE, STEPS = 3, 2048, 50

PACE = (np.float32(1e-6), np.int32(1))  # rate and seed of a step


def seconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the median time of `work`, after one run that is not timed."""
    work()
    taken = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return median(taken)


def flops_of_step(trainer: Trainer, batch: Batch) -> float:
    """Return the operations in the matrix products of a step: forward, and twice as many backward.

    Every square weight of the encoder multiplies every position, and every target multiplies every negative.
    The products inside attention are left out, because sessions are short.
    """
    positions = batch.sessions[:, :-1].size
    weights = [value.shape for value in trainer.encoder.weights.values() if min(value.shape) > 8]
    encoder = sum(positions * shape[0] * shape[1] for shape in weights if len(shape) == 2)
    targets = np.count_nonzero(batch.sessions[:, 1:] * (batch.sessions[:, :-1] > 0))
    return 3 * 2 * (encoder + targets * len(batch.negatives) * trainer.table.shape[1])


def parts_of_step(model: SequenceModel, log: Any) -> dict[str, float]:
    """Return the milliseconds of a step, as a whole and by parts, and the rate of its products."""
    options, trainer = model.options, model._trainer  # the benchmark looks inside on purpose
    assert trainer is not None
    by_event = target_weights(log, session_weights(log, None, options), options)
    batches = Batches(log, by_event, model.vocabulary, options.max_length)
    shares = np.cumsum(sampling_shares(model.vocabulary.counts, options.alpha))
    generator = np.random.default_rng(options.seed)
    epoch = batches.epoch(options.batch_size, options.negatives, shares, generator)
    began = perf_counter()
    some = [batch for batch, _ in zip(epoch, range(STEPS), strict=False)]
    making = (perf_counter() - began) / len(some)

    def steps() -> None:
        for batch in some:
            loss = trainer.step(batch.sessions, batch.weights, batch.negatives, {}, PACE)
        loss.numpy()

    whole = seconds(steps) / len(some)
    rows = tf.constant(np.unique(np.append(some[0].sessions, some[0].negatives)), tf.int32)
    zeros = {name: tf.zeros_like(value) for name, value in trainer.encoder.weights.items()}

    @tf.function
    def update() -> None:
        trainer.adam.apply(zeros, rows, tf.gather(trainer.table, rows) * 0.0, tf.constant(0.0))

    square = tf.random.stateless_normal((SIDE, SIDE), (1, 2))
    product = tf.function(lambda: tf.reduce_sum(square @ square))
    rate = 2 * SIDE**3 / seconds(lambda: product().numpy(), 5)
    flops = float(np.mean([flops_of_step(trainer, batch) for batch in some]))
    return {
        "step_ms": 1000 * whole,
        "products_ms": 1000 * flops / rate,
        "batch_ms": 1000 * making,
        "update_ms": 1000 * seconds(update, 20),
        "gflops_2048": rate / 1e9,
        "gflops_step": flops / whole / 1e9,
    }


def main() -> None:
    """Measure, and print the figures as JSON and the parts of a step as a table."""
    default = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "diginetica"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if not folder.is_dir():
        print(f"skipped: no folder {folder}; set LASTAISLE_DATA", file=sys.stderr)
        return
    log, examples = read_sessions(folder / "train_sessions.txt"), read_pairs(folder / "test_pairs.tsv")
    model = create("attention", TrainingOptions(epochs=1))
    assert isinstance(model, SequenceModel)
    training = median(model.fit(log).targets_per_second for _ in range(REPEATS))
    ranking = seconds(lambda: rank_targets(model, examples))
    parts = parts_of_step(model, log)
    scoring = 2 * len(examples) * model.vocabulary.size * model.options.embedding_size
    found = {
        "targets_per_second": training,
        "predictions_per_second": len(examples) / ranking,
        "items": len(model.vocabulary),
        "ranking_share_of_products": scoring / (parts["gflops_2048"] * 1e9) / ranking,
        **parts,
    }
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    table = Table("a step", "ms", "share")
    rest = parts["step_ms"] - parts["products_ms"] - parts["update_ms"]
    for name, value in (
        ("products of matrices, at the rate of a large one", parts["products_ms"]),
        ("Adam: gather, update, scatter", parts["update_ms"]),
        ("the rest: softmax, norms, small operations", rest),
        ("besides: making its batch", parts["batch_ms"]),
    ):
        table.add_row(name, f"{value:.1f}", f"{value / parts['step_ms']:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()

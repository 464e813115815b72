"""How fast does the attention model train as raw TensorFlow modules, and how fast as Keras 3 layers?

With the folder of a split as argument (default: diginetica's in LASTAISLE_DATA), three variants learn from
the same batches, with the same negatives, the same loss and the same initial weights:

- ours: `AttentionEncoder`, a tf.Module, with our Adam;
- keras_layers: the same encoder made of Keras layers, with our Adam;
- keras: the same encoder made of Keras layers, a Keras embedding, and the Adam of Keras.

The variants take turns. The script prints the median targets per second of each, and the median ratio to
ours. It does not use `fit` of Keras, whose callbacks and metrics would cost Keras more time. Before the
measurement it checks that both encoders compute the same states. Takes about five minutes on two cores.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.benchmark import read_sessions
from models.data.batches import Batch, Batches
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary
from models.evaluation.objectives import target_weights
from models.layers.blocks import FEED_FORWARD_FACTOR, HEADS, causal_mask
from models.options import TrainingOptions, session_weights
from models.sequential.attention import AttentionEncoder
from models.sequential.base import sampling_shares
from models.sequential.trainer import Trainer

REPEATS, STEPS = 5, 150
RATE = 1e-3


class KerasEncoder(layers.Layer):
    """The attention encoder as Keras layers; see `AttentionEncoder`, whose names the weights have."""

    def __init__(self, size: int, max_length: int, dropout: float) -> None:
        super().__init__()
        self.size, self.max_length = size, max_length
        self.drop = [layers.Dropout(dropout) for _ in range(4)]
        dense = {"attend/qkv": 3 * size, "attend/out": size, "pool/query": size, "pool/key": size}
        self.dense = {
            name: layers.Dense(n, use_bias=False) for name, n in (dense | {"leave/out": size}).items()
        }
        self.dense["feed/up"] = layers.Dense(FEED_FORWARD_FACTOR * size, activation="relu")
        self.dense["feed/down"] = layers.Dense(size)
        self.dense["leave/gate"] = layers.Dense(1, activation="sigmoid")
        self.norms = {
            name: layers.LayerNormalization(epsilon=1e-6, center=False, scale=name != "final")
            for name in ("attend/norm", "feed/norm", "final")
        }

    def build(self, shape: Any) -> None:
        """Make the weights."""
        self.lags = {
            "attend/lag": self.add_weight(shape=(HEADS, self.max_length), initializer="zeros"),
            "pool/lag": self.add_weight(shape=(1, self.max_length), initializer="zeros"),
        }
        for name, layer in self.dense.items():
            layer.build((None, None, FEED_FORWARD_FACTOR * self.size if name == "feed/down" else self.size))
        for norm in self.norms.values():
            norm.build((None, None, self.size))

    def named_weights(self) -> dict[str, tf.Variable]:
        """Return the variables by the names that `AttentionEncoder` gives them."""
        named = {name: layer.kernel for name, layer in self.dense.items()}
        named |= {f"{name}_bias": layer.bias for name, layer in self.dense.items() if layer.use_bias}
        named |= {name: norm.gamma for name, norm in self.norms.items() if name != "final"}
        return {name: variable.value for name, variable in (named | self.lags).items()}

    def call(self, items: Any, known: Any, training: bool = False) -> Any:
        """Encode every position of every session."""
        length = ops.shape(items)[1]
        mask = causal_mask(known)
        hidden = self.drop[0](items * self.size**0.5, training=training)
        mixed = self.dense["attend/qkv"](self.norms["attend/norm"](hidden))
        mixed = ops.reshape(mixed, (-1, length, 3, HEADS, self.size // HEADS))
        query, key, value = ops.unstack(ops.transpose(mixed, (2, 0, 3, 1, 4)), num=3)
        logits = ops.matmul(query, ops.swapaxes(key, -1, -2)) / (self.size // HEADS) ** 0.5
        shares = ops.softmax(logits + self._bias("attend/lag", length) + mask[:, None])
        joined = ops.reshape(ops.transpose(ops.matmul(shares, value), (0, 2, 1, 3)), (-1, length, self.size))
        hidden = hidden + self.drop[1](self.dense["attend/out"](joined), training=training)
        wide = self.dense["feed/up"](self.norms["feed/norm"](hidden))
        hidden = hidden + self.drop[2](self.dense["feed/down"](wide), training=training)
        hidden = self.norms["final"](hidden)
        query, key = self.dense["pool/query"](hidden), self.dense["pool/key"](hidden)
        logits = ops.matmul(query, ops.swapaxes(key, -1, -2)) / self.size**0.5
        mean = ops.matmul(ops.softmax(logits + self._bias("pool/lag", length) + mask), items)
        gate = self.dense["leave/gate"](hidden)
        addition = self.dense["leave/out"](self.drop[3](hidden, training=training))
        mean, addition = (ops.normalize(state, axis=-1, epsilon=1e-6) for state in (mean, addition))
        return ops.normalize((1.0 - gate) * mean + gate * addition, axis=-1, epsilon=1e-6)

    def _bias(self, name: str, length: Any) -> Any:
        positions = ops.arange(length)
        distance = ops.clip(positions[:, None] - positions[None, :], 0, self.max_length - 1)
        return ops.take(self.lags[name], distance, axis=1)


class KerasAsEncoder(tf.Module):
    """A `KerasEncoder` with the interface of `Encoder`; its dropout draws its own seeds."""

    def __init__(self, layer: KerasEncoder) -> None:
        super().__init__()
        self.layer, self.max_length = layer, layer.max_length
        self.weights = layer.named_weights()

    def __call__(self, items: Any, known: Any, dropout: float = 0.0, seed: Any = 0) -> Any:
        """Encode every position of every session."""
        return self.layer(items, known, training=dropout > 0)


class KerasAdam:
    """The Adam of Keras with the interface of our Adam; Keras moves every row of the embedding."""

    def __init__(self, weights: dict[str, Any], layer: KerasEncoder, embedding: layers.Embedding) -> None:
        by_variable = {variable.value.ref(): variable for variable in layer.trainable_variables}
        self.names = list(weights)
        self.variables = [by_variable[weights[name].ref()] for name in self.names]
        self.variables.append(embedding.embeddings)
        self.adam = keras.optimizers.Adam(RATE, epsilon=1e-8)
        self.adam.build(self.variables)

    def apply(self, gradients: dict[str, Any], rows: Any, row_gradient: Any, rate: Any) -> None:
        """Take one step."""
        shape = tf.shape(self.variables[-1].value)
        sparse = tf.IndexedSlices(row_gradient, rows, shape)
        self.adam.apply([*(gradients[name] for name in self.names), sparse], self.variables)


def make_trainers(
    table: NDArray[np.float32], options: TrainingOptions, expected: NDArray[np.float32]
) -> dict[str, Trainer]:
    """Return one trainer per variant, all with the same initial weights."""
    size, length = options.embedding_size, options.max_length
    ours = AttentionEncoder(size, length, options.seed)
    trainers = {"ours": Trainer(table, ours, options)}
    for name in ("keras_layers", "keras"):
        layer = KerasEncoder(size, length, options.dropout)
        layer.build((None, None, size))
        encoder = KerasAsEncoder(layer)
        for weight, variable in encoder.weights.items():
            variable.assign(ours.weights[weight])
        trainers[name] = Trainer(table, encoder, options)
        check_states(ours, encoder, size)
        if name == "keras":
            embedding = layers.Embedding(len(table), size)
            embedding.build()
            embedding.embeddings.assign(table)
            trainers[name].table = embedding.embeddings.value
            trainers[name].adam = KerasAdam(encoder.weights, layer, embedding)
    for trainer in trainers.values():
        trainer.expected.assign(expected)
    return trainers


def check_states(ours: AttentionEncoder, theirs: KerasAsEncoder, size: int) -> None:
    """Make sure that both encoders compute the same states."""
    items = tf.math.l2_normalize(tf.random.stateless_normal((4, 6, size), (1, 2)), -1)
    known = tf.sequence_mask([6, 5, 3, 1], 6)[:, ::-1]
    difference = tf.abs(tf.where(known[:, :, None], ours(items, known) - theirs(items, known), 0.0))
    assert float(tf.reduce_max(difference)) < 1e-4, "the encoders differ"


def some_batches(log: SessionLog, options: TrainingOptions) -> tuple[list[Batch], Vocabulary]:
    """Return the first batches of an epoch, and the vocabulary with its counts."""
    vocabulary = Vocabulary().grow(log.ids())
    items = vocabulary.encode(log.catalogue)[log.items]
    vocabulary = vocabulary.with_counts(np.bincount(items, minlength=vocabulary.size).astype(np.float64))
    weights = target_weights(log, session_weights(log, None, options), options)
    batches = Batches(log, weights, vocabulary, options.max_length)
    shares = np.cumsum(sampling_shares(vocabulary.counts, options.alpha))
    epoch = batches.epoch(options.batch_size, options.negatives, shares, np.random.default_rng(options.seed))
    return [batch for batch, _ in zip(epoch, range(STEPS), strict=False)], vocabulary


def seconds(trainer: Trainer, batches: list[Batch]) -> tuple[float, float]:
    """Return the time of one pass over the batches, and their mean loss."""
    began = perf_counter()
    losses = [
        trainer.step(batch.sessions, batch.weights, batch.negatives, {}, (np.float32(RATE), np.int32(step)))
        for step, batch in enumerate(batches)
    ]
    mean = float(np.mean([loss.numpy() for loss in losses]))
    return perf_counter() - began, mean


def main() -> None:
    """Measure, and print the figures as JSON and as a table."""
    default = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "diginetica"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if not folder.is_dir():
        print(f"skipped: no folder {folder}; set LASTAISLE_DATA", file=sys.stderr)
        return
    options = TrainingOptions()
    batches, vocabulary = some_batches(read_sessions(folder / "train_sessions.txt"), options)
    shape = (vocabulary.size, options.embedding_size)
    table = (
        np.random.default_rng(options.seed).standard_normal(shape, np.float32) / options.embedding_size**0.5
    )
    shares = sampling_shares(vocabulary.counts, options.alpha)
    expected = (np.maximum(shares, 1e-12) * options.negatives).astype(np.float32)
    trainers = make_trainers(table.astype(np.float32), options, expected)
    targets = sum(int(np.count_nonzero(batch.weights)) for batch in batches)
    losses = {name: [seconds(trainer, batches)[1]] for name, trainer in trainers.items()}  # traces the step
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(REPEATS):
        for name, trainer in trainers.items():
            taken, loss = seconds(trainer, batches)
            rates[name].append(targets / taken)
            losses[name].append(loss)
    found = {
        "items": len(vocabulary),
        "targets": targets,
        "repeats": REPEATS,
        "keras_version": keras.__version__,
    }
    table_of_rates = Table("variant", "targets/s", "ratio to ours", "loss, first and last pass")
    for name, values in rates.items():
        ratio = median(value / base for value, base in zip(values, rates["ours"], strict=True))
        found |= {f"{name}_targets_per_second": round(median(values)), f"{name}_ratio": round(ratio, 3)}
        ends = f"{losses[name][0]:.3f}, {losses[name][-1]:.3f}"
        table_of_rates.add_row(name, f"{median(values):,.0f}", f"{ratio:.2f}", ends)
    print(json.dumps(found))
    Console().print(table_of_rates)


if __name__ == "__main__":
    main()

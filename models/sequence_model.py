"""What the sequence models share: an encoder reads a session, and its state scores items by cosine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.batches import Batches
from models.encoder import Encoder
from models.losses import LOSSES, SampledItems
from models.objectives import target_weights
from models.optimizer import Adam
from models.recommender import ModelError, Recommender
from models.sequences import Context, SessionLog
from models.training import SHAPE, Progress, TrainingOptions, TrainingReport, session_weights
from models.vocabulary import Vocabulary

ROW_RATE = 5.0  # see Adam: rows are read rarely
WARM_UP_STEPS = 100
# So many steps at least: on one day of a small shop 17 large batches took recall@20 only to 0.37, 136
# small ones to 0.55.
STEPS_AN_EPOCH = 128
SMALLEST_BATCH = 32
PADDED_SCORE = -1e9


class Scorer(tf.Module):
    """Scores every item for the last position of sessions; what is exported.

    Attributes:
        max_length: the last items of a session that it reads.
    """

    def __init__(self, table: tf.Tensor, encoder: Encoder, temperature: float) -> None:
        super().__init__()
        self.max_length = tf.Variable(encoder.max_length, trainable=False)
        self._encoder = encoder
        self._temperature = temperature
        normalized = tf.math.l2_normalize(table, -1)
        padding = tf.one_hot(0, tf.shape(table)[0])[:, None] * PADDED_SCORE
        self._items = tf.Variable(tf.concat([normalized, padding], 1), trainable=False)  # [size, d + 1]

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")])
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        return self._score(prefixes)

    def _score(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item, by what else the encoder reads too."""
        embedded = tf.gather(self._items, prefixes)[:, :, :-1]
        states = self._encoder(embedded, prefixes > 0, **inputs)
        last = states[:, -1] / self._temperature
        last = tf.concat([last, tf.ones((tf.shape(last)[0], 1))], 1)
        return tf.matmul(last, self._items, transpose_b=True)


class Trainer(tf.Module):
    """The table of embeddings, the encoder, the optimizer, and one training step.

    Attributes:
        signature: what `_step` reads.
        step: `_step`, compiled.
    """

    def __init__(
        self,
        table: NDArray[np.float32],
        encoder: Encoder,
        options: TrainingOptions,
        inputs: Mapping[str, tf.TensorSpec] | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        self.table = tf.Variable(table, name="table")
        self.encoder = encoder
        self.adam = Adam(encoder.weights, self.table, ROW_RATE)
        self.expected = tf.Variable(tf.ones(len(table)), trainable=False)
        self.signature = [
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None), tf.float32),
            tf.TensorSpec((None,), tf.int32),
            dict(inputs or {}),
            (tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32)),
        ]
        self.step = tf.function(self._step, input_signature=self.signature, autograph=False)

    def embeddings(self) -> tf.Tensor:
        """Return what every item is scored by, [size, d], not yet normalized."""
        return self.table

    def _embedded(self, rows: tf.Tensor, table_rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return the normalized embeddings of some items, [r, d], given their rows of the table."""
        return tf.math.l2_normalize(table_rows, -1)

    def _step(
        self,
        sessions: tf.Tensor,
        weights: tf.Tensor,
        negatives: tf.Tensor,
        inputs: dict[str, tf.Tensor],
        pace: tuple[tf.Tensor, tf.Tensor],
    ) -> tf.Tensor:
        """Learn from one batch (see `Batch`) at a rate and with a seed; return its mean loss."""
        rate, seed = pace
        shape = tf.shape(sessions)
        rows, place = tf.unique(tf.concat([tf.reshape(sessions, [-1]), negatives], 0))
        in_sessions = tf.reshape(place[: tf.size(sessions)], shape)
        in_negatives = place[tf.size(sessions) :]
        table_rows = tf.gather(self.table, rows)
        drawn = tf.math.unsorted_segment_sum(
            tf.ones_like(in_negatives, tf.float32), in_negatives, tf.size(rows)
        )
        places = tf.where(weights > 0)  # of the targets that count: session, position
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([table_rows, *self.encoder.weights.values()])
            normalized = self._embedded(rows, table_rows, seed)
            expected = tf.gather(self.expected, rows)
            items = SampledItems(normalized, expected, drawn, in_negatives)
            embedded = tf.gather(normalized, in_sessions[:, :-1])
            states = self.encoder(embedded, sessions[:, :-1] > 0, self.options.dropout, seed, **inputs)
            targets = tf.gather_nd(in_sessions[:, 1:], places)
            loss_of = LOSSES[self.options.loss]
            losses = loss_of(tf.gather_nd(states, places), targets, items, self.options.temperature)
            loss = tf.reduce_mean(losses * tf.gather_nd(weights, places))
        row_gradient, gradients = tape.gradient(loss, (table_rows, self.encoder.weights))
        gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
        self.adam.apply(gradients, rows, tf.convert_to_tensor(row_gradient), rate)
        return loss


class SequenceModel(Recommender):
    """A recommender whose encoder reads a session's items in order; a subclass makes the encoder.

    Attributes:
        trainer_of: makes the trainer; models/distributed.py puts one there that shares batches with others.
    """

    weighs_targets = True

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self.trainer_of: Callable[[NDArray[np.float32], Encoder, TrainingOptions], Trainer] = Trainer
        self._trainer: Trainer | None = None
        self._scorer: Scorer | None = None

    @abstractmethod
    def make_encoder(self, options: TrainingOptions) -> Encoder:
        """Make an untrained encoder, a tf.Module."""

    # What follows up to `fit` is for subclasses that read more than items.

    def _grown_encoder(self, old: Encoder) -> Encoder:
        """Return the encoder that a warm start goes on with."""
        return old

    def _make_trainer(self, table: NDArray[np.float32], encoder: Encoder) -> Trainer:
        return self.trainer_of(table, encoder, self.options)

    def _make_scorer(self, trainer: Trainer) -> Scorer:
        return Scorer(trainer.embeddings(), trainer.encoder, self.options.temperature)

    def _batches(self, log: SessionLog, weights: NDArray[np.float32]) -> Batches:
        return Batches(log, weights, self.vocabulary, self.options.max_length)

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train from scratch; see `Recommender.fit`."""
        began = perf_counter()
        self.options = options or self.options
        self.vocabulary = Vocabulary()
        self._trainer = None
        return self._train(
            log, weights, progress, began, rate=self.options.learning_rate, epochs=self.options.epochs
        )

    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train on with the weights and the optimizer state there are; see `Recommender.warm_start`."""
        began = perf_counter()
        options = options or self.options
        if self._trainer:
            self._refuse_change(options, SHAPE)
        self.options = options
        return self._train(
            log, weights, progress, began, rate=options.warm_learning_rate, epochs=options.warm_epochs
        )

    def _train(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None,
        progress: Progress | None,
        began: float,
        *,
        rate: float,
        epochs: int,
    ) -> TrainingReport:
        weights = session_weights(log, weights, self.options)
        before = len(self.vocabulary)
        self._read_counts(log, weights)
        trainer = self._grown_trainer()
        batches = self._batches(log, target_weights(log, weights, self.options))
        batch_size = max(SMALLEST_BATCH, batches.n_targets // STEPS_AN_EPOCH)
        batch_size = min(batch_size, self.options.batch_size)
        losses = self._run_epochs(trainer, batches, batch_size, rate=rate, epochs=epochs, progress=progress)
        self._scorer = self._make_scorer(trainer)
        seconds = perf_counter() - began
        items, targets = len(self.vocabulary), batches.n_targets
        return TrainingReport(
            sessions=len(log),
            targets=targets,
            steps=epochs * batches.n_batches(batch_size),
            epochs=epochs,
            items=items,
            new_items=items - before,
            seconds=seconds,
            targets_per_second=targets * epochs / max(seconds, 1e-9),
            losses=losses,
        )

    def _run_epochs(
        self,
        trainer: Trainer,
        batches: Batches,
        batch_size: int,
        *,
        rate: float,
        epochs: int,
        progress: Progress | None,
    ) -> tuple[float, ...]:
        """Take every step of the training and return each epoch's mean loss."""
        options = self.options
        total = epochs * batches.n_batches(batch_size)
        shares = sampling_shares(self.vocabulary.counts, options.alpha)
        expected = np.maximum(shares, 1e-12) * options.negatives
        trainer.expected.assign(expected.astype(np.float32))
        cumulated = np.cumsum(shares)
        first = int(trainer.adam.steps.numpy())
        generator = np.random.default_rng((options.seed, first))
        losses, done = [], 0
        for epoch in range(epochs):
            sums = []
            for batch in batches.epoch(batch_size, options.negatives, cumulated, generator):
                now = np.float32(rate * min(1.0, (done + 1) / WARM_UP_STEPS) * _cosine(done / total))
                seed = np.int32((options.seed + 7919 * (first + done)) % 2**31)
                read = (batch.sessions, batch.weights, batch.negatives, batch.inputs)
                sums.append(trainer.step(*read, (now, seed)))
                done += 1
                if progress and done % 20 == 0:
                    progress(done / total, f"epoch {epoch + 1} of {epochs}")
            losses.append(float(np.mean([value.numpy() for value in sums])) if sums else 0.0)
        return tuple(losses)

    def _read_counts(self, log: SessionLog, weights: NDArray[np.float32]) -> None:
        """Grow the vocabulary and count its items; every item seen keeps a count above 0."""
        self._count_items(log, weights)
        counts = self.vocabulary.counts.copy()
        counts[1:] = np.maximum(counts[1:], 1e-3)
        self.vocabulary = self.vocabulary.with_counts(counts)

    def _grown_trainer(self) -> Trainer:
        """Return a trainer with a row for every item: old rows and slots unmoved, new ones random."""
        options = self.options
        old = self._trainer
        rows = old.table.numpy() if old else np.zeros((0, options.embedding_size), np.float32)
        generator = np.random.default_rng((options.seed, len(rows)))
        shape = (self.vocabulary.size - len(rows), options.embedding_size)
        new = generator.standard_normal(shape) / options.embedding_size**0.5
        encoder = self._grown_encoder(old.encoder) if old else self.make_encoder(options)
        trainer = self._make_trainer(np.concatenate([rows, new.astype(np.float32)]), encoder)
        if old:
            trainer.adam.restore(old.adam.arrays())
        self._trainer = trainer
        return trainer

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item by its cosine with the session's state, over the temperature."""
        scores = self.scorer().score(prefixes).numpy()
        scores[:, 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights and optimizer slots."""
        self.scorer()
        assert self._trainer
        encoder = {f"encoder/{name}": value.numpy() for name, value in self._trainer.encoder.weights.items()}
        adam = {f"adam/{name}": value for name, value in self._trainer.adam.arrays().items()}
        return {"table": self._trainer.table.numpy()} | encoder | adam

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over weights and optimizer slots."""
        encoder = self.make_encoder(self.options)
        for name, variable in encoder.weights.items():
            variable.assign(arrays[f"encoder/{name}"])
        self._trainer = self._make_trainer(arrays["table"], encoder)
        slots = {name.removeprefix("adam/"): value for name, value in arrays.items() if name[:5] == "adam/"}
        self._trainer.adam.restore(slots)
        self._scorer = self._make_scorer(self._trainer)

    def scorer(self) -> Scorer:
        """Return the scorer: the items' embeddings and the encoder."""
        if self._scorer is None:
            raise ModelError(f"the {self.name} model is not trained yet: call fit or load first")
        return self._scorer


def sampling_shares(counts: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Return the probability of each index to be drawn as a negative: its share of counts ** alpha.

    0 draws all items alike, 1 by popularity, and what lies between is a mixture (Hidasi & Karatzoglou 2018).

    Args:
        counts: float64 [size]; counts[0] is the padding's, which is never drawn.
        alpha: at least 0.
    """
    powers = counts**alpha
    powers[0] = 0.0
    return powers / max(powers.sum(), 1e-12)


def _cosine(done: float) -> float:
    """Return the share of the peak rate that is left: from 1 to 0.01."""
    return float(0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * done)))

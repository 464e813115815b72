"""What the sequence models share: an encoder reads a session, and its state scores items by cosine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.batches import Batches
from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.evaluation.objectives import target_weights
from models.layers.encoder import Encoder
from models.layers.warm_start import WeightAverage, held_back
from models.options import SHAPE, Progress, TrainingOptions, TrainingReport, session_weights
from models.recommender import ModelError, Recommender
from models.sequential.scorer import Scorer
from models.sequential.trainer import Trainer

WARM_UP_STEPS = 100
# So many steps at least: on one day of a small shop 17 large batches took recall@20 only to 0.37, 136
# small ones to 0.55.
STEPS_AN_EPOCH = 128
SMALLEST_BATCH = 32
# A warm start goes on from weights that are good already, and by fewer and longer steps nearly as far. On a
# week of YooChoose clicks by days, 2 epochs of 36 steps came to a mean recall@20 of 0.623, of 48 to 0.625, of
# 64 to 0.627, in 15 % more time.
WARM_STEPS_AN_EPOCH = 48
WARM_WARM_UP_STEPS = 10
# Nor does it need more negatives than a quarter of the items: of that week's 2,900 items 700 did as well as
# 2,048; of diginetica's 43,000 by tenths 1,024 came to 0.463, 2,048 to 0.471.
WARM_NEGATIVES_OF_ITEMS = 0.25
FEWEST_NEGATIVES = 256


@dataclass(frozen=True)
class _Schedule:
    """How long and how fast to train: epochs of at least so many steps, at a rate that first rises."""

    rate: float
    epochs: int
    negatives: int
    steps_an_epoch: int
    warm_up_steps: int

    def rate_at(self, done: int, total: int) -> np.float32:
        """Return the rate of the step that follows on `done` ones."""
        return np.float32(self.rate * min(1.0, (done + 1) / self.warm_up_steps) * _cosine(done / total))


class SequenceModel(Recommender):
    """A recommender whose encoder reads a session's items in order; a subclass makes the encoder.

    Attributes:
        trainer_of: makes the trainer; `distributed.py` puts one there that shares batches with others.
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
        schedule = _Schedule(
            self.options.learning_rate,
            self.options.epochs,
            self.options.negatives,
            STEPS_AN_EPOCH,
            WARM_UP_STEPS,
        )
        return self._train(log, weights, progress, began, schedule)

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
        if self._trainer:
            self._retire(log, self._trainer)
        enough = max(FEWEST_NEGATIVES, round(WARM_NEGATIVES_OF_ITEMS * self.vocabulary.size))
        schedule = _Schedule(
            options.warm_learning_rate,
            options.warm_epochs,
            min(options.warm_negatives, enough),
            WARM_STEPS_AN_EPOCH,
            WARM_WARM_UP_STEPS,
        )
        return self._train(log, weights, progress, began, schedule)

    def _retire(self, log: SessionLog, trainer: Trainer) -> None:
        """Drop the items that options.retire_below names, with their rows; a subclass may keep all."""
        ids, counts = self.vocabulary.ids, self.vocabulary.counts
        faded = self.options.memory * counts < self.options.retire_below
        faded[self.vocabulary.encode(log.catalogue)] = False
        faded[0] = False
        kept = np.flatnonzero(~faded)
        if len(kept) < len(ids):
            self.vocabulary = Vocabulary(ids[kept[1:]], counts[kept])
            trainer.keep_rows(kept, np.zeros((0, trainer.table.shape[1]), np.float32))

    def _train(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None,
        progress: Progress | None,
        began: float,
        schedule: _Schedule,
    ) -> TrainingReport:
        weights = session_weights(log, weights, self.options)
        before = len(self.vocabulary)
        self._read_counts(log, weights)
        known = self._trainer.table.numpy() if self._trainer else None
        trainer = self._grown_trainer()
        batches = self._batches(log, target_weights(log, weights, self.options))
        batch_size = max(SMALLEST_BATCH, batches.n_targets // schedule.steps_an_epoch)
        batch_size = min(batch_size, self.options.batch_size)
        losses = self._run_epochs(trainer, batches, batch_size, schedule, progress)
        if known is not None and self.options.trust_region is not None:
            table = trainer.table.numpy()
            table[: len(known)], _ = held_back(known, table[: len(known)], self.options.trust_region)
            trainer.table.assign(table)
        self._scorer = self._make_scorer(trainer)
        seconds = perf_counter() - began
        items, targets = len(self.vocabulary), batches.n_targets
        return TrainingReport(
            sessions=len(log),
            targets=targets,
            steps=schedule.epochs * batches.n_batches(batch_size),
            epochs=schedule.epochs,
            items=items,
            new_items=items - before,
            seconds=seconds,
            targets_per_second=targets * schedule.epochs / max(seconds, 1e-9),
            losses=losses,
        )

    def _run_epochs(
        self,
        trainer: Trainer,
        batches: Batches,
        batch_size: int,
        schedule: _Schedule,
        progress: Progress | None,
    ) -> tuple[float, ...]:
        """Take every step of the training and return each epoch's mean loss."""
        options, epochs = self.options, schedule.epochs
        total = epochs * batches.n_batches(batch_size)
        warm = schedule.steps_an_epoch == WARM_STEPS_AN_EPOCH
        averaged = [trainer.table, *trainer.encoder.weights.values()]
        average = WeightAverage(averaged, total, options.averaging if warm else 0.0)
        shares = sampling_shares(self.vocabulary.counts, options.alpha)
        expected = np.maximum(shares, 1e-12) * schedule.negatives
        trainer.expected.assign(expected.astype(np.float32))
        cumulated = np.cumsum(shares)
        first = int(trainer.adam.steps.numpy())
        generator = np.random.default_rng((options.seed, first))
        losses, done = [], 0
        for epoch in range(epochs):
            sums = []
            for batch in batches.epoch(batch_size, schedule.negatives, cumulated, generator):
                now = schedule.rate_at(done, total)
                seed = np.int32((options.seed + 7919 * (first + done)) % 2**31)
                read = (batch.sessions, batch.weights, batch.negatives, batch.inputs)
                sums.append(trainer.step(*read, (now, seed)))
                average.after(done)
                done += 1
                if progress and done % 20 == 0:
                    progress(done / total, f"epoch {epoch + 1} of {epochs}")
            losses.append(float(np.mean([value.numpy() for value in sums])) if sums else 0.0)
        average.take()
        return tuple(losses)

    def _read_counts(self, log: SessionLog, weights: NDArray[np.float32]) -> None:
        """Grow the vocabulary and count its items; every item seen keeps a count above 0."""
        self._count_items(log, weights)
        counts = self.vocabulary.counts.copy()
        counts[1:] = np.maximum(counts[1:], 1e-3)
        self.vocabulary = self.vocabulary.with_counts(counts)

    def _grown_trainer(self) -> Trainer:
        """Return a trainer with a row for every item: old rows and slots unmoved, new ones random."""
        options, old = self.options, self._trainer
        n_old = len(old.table.numpy()) if old else 0
        generator = np.random.default_rng((options.seed, n_old))
        shape = (self.vocabulary.size - n_old, options.embedding_size)
        new = generator.standard_normal(shape, np.float32) / np.float32(options.embedding_size**0.5)
        encoder = self._grown_encoder(old.encoder) if old else self.make_encoder(options)
        if old and old.fits(encoder, options):
            old.keep_rows(np.arange(n_old), new)
            old.options = options
            return old
        rows = [old.table.numpy(), new] if old else [new]
        self._trainer = self._make_trainer(np.concatenate(rows), encoder)
        if old:
            self._trainer.adam.restore(old.adam.arrays())
        return self._trainer

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

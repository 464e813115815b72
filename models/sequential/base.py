"""The base of the sequence models: an encoder reads a session, and its state scores items by cosine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.data.batches import Batches
from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.evaluation.objectives import target_weights
from models.layers.blocks import Encoder
from models.layers.private_counts import count, generator_of, private_weights
from models.layers.warm_start import WeightAverage, limit_moves
from models.options import SHAPE, Learned, Progress, Training, TrainingOptions
from models.recommender import Recommender
from models.sequential.private import train
from models.sequential.private_batches import PrivateBatches
from models.sequential.scorer import Scorer
from models.sequential.trainer import Trainer
from models.stored import ModelError

WARM_UP_STEPS = 100
# The least steps of an epoch. On one day of a small shop, 17 steps with large batches reached only
# recall@20 0.37; 136 steps with small batches reached 0.55.
STEPS_PER_EPOCH = 128
MIN_BATCH_SIZE = 32
# A warm start begins with good weights, and needs fewer and longer steps to come nearly as far. On a week of
# YooChoose clicks by days, 2 epochs of 36 steps reached a mean recall@20 of 0.623, of 48 steps 0.625, and of
# 64 steps 0.627, in 15 % more time.
WARM_STEPS_PER_EPOCH = 48
WARM_WARM_UP_STEPS = 10
# A warm start also needs no more negatives than a quarter of the items: of that week's 2,900 items, 700
# negatives did as well as 2,048. On diginetica's 43,000 items by tenths, 1,024 reached 0.463, 2,048 0.471.
WARM_NEGATIVES_PER_ITEM = 0.25
MIN_WARM_NEGATIVES = 256
MIN_COUNT = 1e-3  # of an item that was seen, however far its count has decayed
SEED_STEP = 7919  # between the seeds of two steps; a prime


@dataclass(frozen=True)
class _Schedule:
    """How long and how fast to train.

    Attributes:
        rate: the highest learning rate.
        epochs: passes over the sessions.
        negatives: items sampled for each batch.
        steps_per_epoch: the least steps of an epoch.
        warm_up_steps: during these first steps the rate rises.
        averaging: the share of the steps, at the end, whose weights are averaged.
    """

    rate: float
    epochs: int
    negatives: int
    steps_per_epoch: int = STEPS_PER_EPOCH
    warm_up_steps: int = WARM_UP_STEPS
    averaging: float = 0.0

    def rate_at(self, done: int, total: int) -> np.float32:
        """Return the rate of the next step after `done` of `total` steps."""
        return np.float32(self.rate * min(1.0, (done + 1) / self.warm_up_steps) * _cosine_decay(done / total))


class SequenceModel(Recommender):
    """A recommender whose encoder reads a session's items in order. A subclass makes the encoder.

    Attributes:
        trainer_of: makes the trainer. `distributed.py` sets a trainer that shares batches among workers.
    """

    weighs_targets = True
    fixed_options = SHAPE
    rows_by_item: ClassVar[tuple[str, ...]] = ("table",)
    can_be_private = True

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self.trainer_of: Callable[[NDArray[np.float32], Encoder, TrainingOptions], Trainer] = Trainer
        self._trainer: Trainer | None = None
        self._scorer: Scorer | None = None

    @abstractmethod
    def make_encoder(self, options: TrainingOptions) -> Encoder:
        """Make an untrained encoder, a tf.Module."""

    # A subclass that reads more than items overrides the next five methods.

    def _grown_encoder(self, old: Encoder) -> Encoder:
        """Return the encoder with which a warm start continues."""
        return old

    def _make_trainer(self, table: NDArray[np.float32], encoder: Encoder) -> Trainer:
        return self.trainer_of(table, encoder, self.options)

    def _make_scorer(self, trainer: Trainer) -> Scorer:
        return Scorer(trainer.embeddings(), trainer.encoder, self.options.temperature)

    def _sampling_counts(self) -> NDArray[np.float64]:
        """Return the counts by which negatives are sampled, float64 [size]."""
        return self.vocabulary.counts

    def _batches(self, log: SessionLog, weights: NDArray[np.float32]) -> Batches:
        return Batches(log, weights, self.vocabulary, self.options.max_length)

    @property
    def is_trained(self) -> bool:
        """Tell whether the model has weights."""
        return self._trainer is not None

    def _forget(self) -> None:
        self._trainer = self._scorer = None

    def _learn(self, training: Training) -> Learned:
        """Learn by gradient descent, and then limit how far known items moved."""
        if self.options.epsilon is not None:
            return self._learn_privately(training)
        log, options = training.log, self.options
        known_table = None
        if self._trainer:
            self._retire(training, self._trainer)
            known_table = self._trainer.table.numpy()
        schedule = self._schedule(training.is_warm)
        self._read_counts(training)
        trainer = self._grown_trainer()
        batches = self._batches(log, target_weights(log, training.weights, options))
        batch_size = max(MIN_BATCH_SIZE, batches.n_targets // schedule.steps_per_epoch)
        batch_size = min(batch_size, options.batch_size)
        losses = self._run_epochs(trainer, batches, batch_size, schedule, training.progress)
        if known_table is not None and options.trust_region is not None:
            table, n_known = trainer.table.numpy(), len(known_table)
            table[:n_known], _ = limit_moves(known_table, table[:n_known], options.trust_region)
            trainer.table.assign(table)
        self._scorer = self._make_scorer(trainer)
        steps = schedule.epochs * batches.n_batches(batch_size)
        return Learned(schedule.epochs, steps, losses, batches.n_targets)

    def _learn_privately(self, training: Training) -> Learned:
        """Learn by noisy steps from noisy counts; see models.sequential.private."""
        generator = generator_of(self.private_seed)
        counted = count(training, self.vocabulary, self.options, generator)
        self.vocabulary = counted.vocabulary
        trainer = self._grown_trainer()
        log = training.log
        weights = np.repeat(private_weights(training), log.lengths)
        batches = PrivateBatches(log, weights, self.vocabulary, self.options.max_length)
        mechanism = train(
            trainer, batches, counted, self.options, seed=self.private_seed, progress=training.progress
        )
        self._scorer = self._make_scorer(trainer)
        predictions = round(mechanism.sampling_rate * mechanism.steps * batches.n_targets)
        epochs = max(1, round(mechanism.sampling_rate * mechanism.steps))
        return Learned(epochs, mechanism.steps, (), batches.n_targets, predictions, mechanism)

    def _check_private(self, options: TrainingOptions, *, continues: bool) -> None:
        """Refuse private training on several workers too: each would need a share of the noise."""
        super()._check_private(options, continues=continues)
        if self.trainer_of is not Trainer:
            raise ModelError(
                f"a private training with epsilon = {options.epsilon:g} runs on one worker; train without "
                "several workers, or without epsilon"
            )

    def _schedule(self, is_warm: bool) -> _Schedule:
        """Return the schedule; the negatives of a warm start follow from the vocabulary before it."""
        options = self.options
        if not is_warm:
            return _Schedule(options.learning_rate, options.epochs, options.negatives)
        seen = 1 + np.count_nonzero(self.vocabulary.counts)  # with the padding
        enough = max(MIN_WARM_NEGATIVES, round(WARM_NEGATIVES_PER_ITEM * seen))
        return _Schedule(
            options.warm_learning_rate,
            options.warm_epochs,
            min(options.warm_negatives, enough),
            WARM_STEPS_PER_EPOCH,
            WARM_WARM_UP_STEPS,
            options.averaging,
        )

    def _retire(self, training: Training, trainer: Trainer) -> None:
        """Drop the items that options.retire_below selects; a subclass may drop others."""
        is_retired = self.options.memory * self.vocabulary.counts < self.options.retire_below
        is_retired[self.vocabulary.encode(training.log.catalogue)] = False
        self._drop(is_retired, trainer)

    def _drop(self, dropped: NDArray[np.bool_], trainer: Trainer) -> NDArray[np.intp]:
        """Drop the chosen items, with their rows; return the old indices of the items that are kept."""
        kept = np.flatnonzero(~dropped | (np.arange(len(dropped)) == 0))
        if len(kept) < len(dropped):
            self.vocabulary = Vocabulary(self.vocabulary.ids[kept[1:]], self.vocabulary.counts[kept])
            trainer.keep_rows(kept, np.zeros((0, trainer.table.shape[1]), np.float32))
        return kept

    def _run_epochs(
        self,
        trainer: Trainer,
        batches: Batches,
        batch_size: int,
        schedule: _Schedule,
        progress: Progress | None,
    ) -> tuple[float, ...]:
        """Take all steps of the training, and return the mean loss of each epoch."""
        options, epochs = self.options, schedule.epochs
        total = epochs * batches.n_batches(batch_size)
        average = WeightAverage([trainer.table, *trainer.encoder.weights.values()], total, schedule.averaging)
        shares = sampling_shares(self._sampling_counts(), options.alpha)
        expected = np.maximum(shares, 1e-12) * schedule.negatives
        trainer.expected.assign(expected.astype(np.float32))
        cumulated = np.cumsum(shares)
        first = int(trainer.adam.steps.numpy())
        generator = np.random.default_rng((options.seed, first))
        losses, done = [], 0
        for epoch in range(epochs):
            batch_losses = []
            for batch in batches.epoch(batch_size, schedule.negatives, cumulated, generator):
                seed = np.int32((options.seed + SEED_STEP * (first + done)) % 2**31)
                inputs = (batch.sessions, batch.weights, batch.negatives, batch.inputs)
                batch_losses.append(trainer.step(*inputs, (schedule.rate_at(done, total), seed)))
                average.after(done)
                done += 1
                if progress and done % 20 == 0:
                    progress(done / total, f"epoch {epoch + 1} of {epochs}")
            losses.append(float(np.mean([loss.numpy() for loss in batch_losses])) if batch_losses else 0.0)
        average.assign()
        return tuple(losses)

    def _read_counts(self, training: Training) -> None:
        """Add new items to the vocabulary and count all items. A seen item keeps a count above 0."""
        self._count_items(training)
        counts = self.vocabulary.counts.copy()
        counts[1:] = np.maximum(counts[1:], MIN_COUNT)
        self.vocabulary = self.vocabulary.with_counts(counts)

    def _grown_trainer(self) -> Trainer:
        """Return a trainer with a row for every item: old rows and slots unchanged, new rows random."""
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
            # A new weight has no slots of before.
            self._trainer.adam.restore(self._trainer.adam.arrays() | old.adam.arrays())
        return self._trainer

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item by its cosine with the session's state, divided by the temperature."""
        scores: NDArray[np.float32] = self.scorer().score(prefixes).numpy()
        scores[:, 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights and the optimizer's slots."""
        self.scorer()
        assert self._trainer
        encoder = {f"encoder/{name}": value.numpy() for name, value in self._trainer.encoder.weights.items()}
        adam = {f"adam/{name}": value for name, value in self._trainer.adam.arrays().items()}
        return {"table": self._trainer.table.numpy()} | encoder | adam

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the embedding that scores each item, with the features of the item; not normalized."""
        self.scorer()
        assert self._trainer
        vectors: NDArray[np.float32] = self._trainer.embeddings().numpy()
        return vectors

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the weights and the optimizer's slots."""
        encoder = self.make_encoder(self.options)
        for name, variable in encoder.weights.items():
            variable.assign(arrays[f"encoder/{name}"])
        self._trainer = self._make_trainer(arrays["table"], encoder)
        slots = {name.removeprefix("adam/"): value for name, value in arrays.items() if name[:5] == "adam/"}
        self._trainer.adam.restore(slots)
        self._scorer = self._make_scorer(self._trainer)

    def begin(self, vocabulary: Vocabulary) -> None:
        """Begin anew with untrained weights for these items, which the seed decides."""
        self._forget()
        self.vocabulary = vocabulary
        self._scorer = self._make_scorer(self._grown_trainer())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights without the optimizer's slots: "table", and "encoder/…" of each dense weight."""
        return {name: array for name, array in self.arrays().items() if not name.startswith("adam/")}

    def assign_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over weights of the shapes that `weights` returns; the optimizer keeps its slots."""
        self.scorer()
        assert self._trainer
        self._trainer.table.assign(weights["table"])
        for name, variable in self._trainer.encoder.weights.items():
            variable.assign(weights[f"encoder/{name}"])
        self._scorer = self._make_scorer(self._trainer)

    def restart_optimizer(self) -> None:
        """Forget what the optimizer remembers of earlier steps."""
        self.scorer()
        assert self._trainer
        adam = self._trainer.adam
        adam.restore({name: np.zeros_like(slot) for name, slot in adam.arrays().items()})

    def scorer(self) -> Scorer:
        """Return the scorer: the items' embeddings and the encoder."""
        if self._scorer is None:
            raise self._untrained_error()
        return self._scorer


def sampling_shares(counts: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Return the probability of each index to be drawn as a negative: its share of counts ** alpha.

    With alpha 0 all items are drawn alike, with 1 by popularity, and values between mix the two (Hidasi &
    Karatzoglou 2018).

    Args:
        counts: float64 [size]; counts[0] is the padding's, which is never drawn.
        alpha: at least 0.
    """
    powers = counts**alpha
    powers[0] = 0.0
    return np.asarray(powers / max(powers.sum(), 1e-12), np.float64)


def _cosine_decay(done: float) -> float:
    """Return the share of the highest rate that remains: from 1 down to 0.01."""
    return float(0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * done)))

"""Neural matrix factorization (NCF): it scores each item for the user and the session."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.batches import Batches
from models.data.sequences import USER, Context
from models.evaluation.objectives import target_weights
from models.factors.known_users import KnownUsers
from models.factors.neumf import WIDE, NeuMF, NeuMFScorer, NeuMFTrainer
from models.options import Learned, Progress, Training, TrainingOptions
from models.recommender import Recommender
from models.sequential.base import (
    MIN_BATCH_SIZE,
    SEED_STEP,
    STEPS_PER_EPOCH,
    WARM_UP_STEPS,
    sampling_shares,
)
from models.tensorflow_import import tf

# The network reads every pair of a target and a negative. A pair costs WIDE times as much as a number of a
# matrix product. So the model draws only one negative where other models draw this many.
FEWER_NEGATIVES = 4


class NCF(Recommender):
    """Neural matrix factorization (NeuMF: He et al., "Neural Collaborative Filtering", WWW 2017).

    The user's side is the session so far, and the user, if the log's context has the column `user`
    (pseudonyms; "" or None = unknown). So sessions without a user are scored too. There are two differences
    from the paper: the loss is the cross-entropy among sampled items, not of each pair, and the factors are
    normalized.
    """

    name = "ncf"
    weighs_targets = True
    fixed_options = ("embedding_size", "max_length")
    rows_by_item = ("items",)

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._names: dict[str, int] = {}
        self._trainer: NeuMFTrainer | None = None
        self._scorer: NeuMFScorer | None = None

    @property
    def is_trained(self) -> bool:
        """Tell whether the model has weights."""
        return self._trainer is not None

    def _forget(self) -> None:
        self._names, self._trainer, self._scorer = {}, None, None

    def _learn(self, training: Training) -> Learned:
        """Learn by gradient descent; a warm start keeps the weights and the optimizer's state."""
        log, options = training.log, self.options
        rate = options.warm_learning_rate if training.is_warm else options.learning_rate
        epochs = options.warm_epochs if training.is_warm else options.epochs
        self._count_items(training)
        users = self._rows(log.context.get(USER, np.full(len(log), None)), grow=True)
        trainer = self._grown_trainer()
        batches = Batches(
            log, target_weights(log, training.weights, options), self.vocabulary, options.max_length
        )
        batch_size = min(options.batch_size, max(MIN_BATCH_SIZE, batches.n_targets // STEPS_PER_EPOCH))
        losses = self._run_epochs(
            trainer,
            batches,
            users,
            batch_size=batch_size,
            rate=rate,
            epochs=epochs,
            progress=training.progress,
        )
        self._scorer = self._make_scorer(trainer)
        return Learned(epochs, epochs * batches.n_batches(batch_size), losses, batches.n_targets)

    def _run_epochs(
        self,
        trainer: NeuMFTrainer,
        batches: Batches,
        users: NDArray[np.int32],
        *,
        batch_size: int,
        rate: float,
        epochs: int,
        progress: Progress | None,
    ) -> tuple[float, ...]:
        """Take every step of the training and return each epoch's mean loss.

        A share of the users, that of dropout, is taken for unknown: their row learns what holds without.
        """
        options = self.options
        negatives = max(1, options.negatives // FEWER_NEGATIVES)
        shares = sampling_shares(self.vocabulary.counts, options.alpha)
        trainer.expected.assign(np.maximum(shares * negatives, 1e-12).astype(np.float32))
        cumulated, total = np.cumsum(shares), epochs * batches.n_batches(batch_size)
        first = int(trainer.adam.steps.numpy())
        generator = np.random.default_rng((options.seed, first))
        losses, done = [], 0
        for epoch in range(epochs):
            batch_losses = []
            for batch in batches.epoch(batch_size, negatives, cumulated, generator):
                now = np.float32(rate * min(1.0, (done + 1) / WARM_UP_STEPS, 1.01 - done / total))
                seed = np.int32((options.seed + SEED_STEP * (first + done)) % 2**31)
                known = np.where(generator.random(len(batch.rows)) < options.dropout, 0, users[batch.rows])
                batch_losses.append(
                    trainer.step((batch.sessions, known, batch.weights, batch.negatives), now, seed)
                )
                done += 1
                if progress and done % 20 == 0:
                    progress(done / total, f"epoch {epoch + 1} of {epochs}")
            losses.append(float(np.mean([loss.numpy() for loss in batch_losses])) if batch_losses else 0.0)
        return tuple(losses)

    def _rows(self, users: NDArray[Any], grow: bool = False) -> NDArray[np.int32]:
        """Return each user's row, int32 [n], 0 = unknown. With `grow`, new users get a row."""
        names = self._names
        if grow:
            for user in filter(None, users):
                names.setdefault(str(user), len(names) + 1)
        return np.fromiter((names.get(str(user), 0) if user else 0 for user in users), np.int32)

    def _grown_trainer(self) -> NeuMFTrainer:
        """Return a trainer with a row for every item and user; old rows and slots do not change.

        The factors of new items are random, and all other numbers of a new row are 0. So at first only the
        session decides the scores and the learning.
        """
        options, old = self.options, self._trainer
        width = options.embedding_size + WIDE
        items = old.items.numpy() if old else np.zeros((0, width), np.float32)
        users = old.users.numpy() if old else np.zeros((0, width), np.float32)
        generator = np.random.default_rng((options.seed, len(items)))
        new = np.zeros((self.vocabulary.size - len(items), width), np.float32)
        new[:, : options.embedding_size] = generator.standard_normal((len(new), options.embedding_size))
        new /= options.embedding_size**0.5
        new_users = np.zeros((len(self._names) + 1 - len(users), width), np.float32)
        network = old.network if old else NeuMF(options)
        items, users = np.concatenate([items, new]), np.concatenate([users, new_users])
        trainer = NeuMFTrainer(items, users, network, options)
        if old:
            trainer.adam.restore(old.adam.arrays())
            trainer.user_adam.restore(old.user_adam.arrays())
        self._trainer = trainer
        return trainer

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item for the session, and for its user if the context has the column `user`."""
        scorer = self.scorer()
        assert self._trainer
        users = context.sessions.get(USER) if context else None
        rows = np.zeros(len(prefixes), np.int32) if users is None else self._rows(users)
        scores: NDArray[np.float32] = scorer.score_for(prefixes, tf.gather(self._trainer.users, rows)).numpy()
        scores[:, 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the rows, the users' pseudonyms, the weights and the optimizer's slots."""
        self.scorer()
        assert self._trainer
        trainer = self._trainer
        arrays = {"items": trainer.items.numpy(), "users": trainer.users.numpy()}
        arrays["names"] = np.array(list(self._names), dtype=np.str_)
        arrays |= {f"towers/{name}": value.numpy() for name, value in trainer.network.weights.items()}
        arrays |= {f"adam/{name}": value for name, value in trainer.adam.arrays().items()}
        return arrays | {f"user_adam/{name}": value for name, value in trainer.user_adam.arrays().items()}

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the items' rows, which both towers read."""
        self.scorer()
        assert self._trainer
        vectors: NDArray[np.float32] = self._trainer.items.numpy()
        return vectors

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        network = NeuMF(self.options)
        for name, variable in network.weights.items():
            variable.assign(arrays[f"towers/{name}"])
        self._names = {str(name): row for row, name in enumerate(arrays["names"], start=1)}
        self._trainer = NeuMFTrainer(arrays["items"], arrays["users"], network, self.options)
        for adam, prefix in ((self._trainer.adam, "adam/"), (self._trainer.user_adam, "user_adam/")):
            slots = {name[len(prefix) :]: slot for name, slot in arrays.items() if name.startswith(prefix)}
            adam.restore(slots)
        self._scorer = self._make_scorer(self._trainer)

    def _make_scorer(self, trainer: NeuMFTrainer) -> NeuMFScorer:
        vectors = trainer.users.numpy()
        users = KnownUsers(list(self._names), vectors[1:], vectors[0], self.options.users)
        return NeuMFScorer(trainer.network, trainer.items, users)

    def scorer(self) -> NeuMFScorer:
        """Return the scorer: the network, the items, and options.users users."""
        if self._scorer is None:
            raise self._untrained_error()
        return self._scorer

"""Neural matrix factorization: two towers score each item, for the user and the session alike."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.data.batches import Batches
from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.evaluation.objectives import target_weights
from models.factors.towers import WIDE, Towers, TowerScorer, TowerTrainer
from models.options import Progress, TrainingOptions, TrainingReport, session_weights
from models.recommender import ModelError, Recommender
from models.sequential.sequence_model import SMALLEST_BATCH, STEPS_AN_EPOCH, WARM_UP_STEPS, sampling_shares

# The network reads every pair of a target and a negative, which costs WIDE times what a product's number
# does: of the negatives of other models, this one draws one in so many.
FEWER_NEGATIVES = 4


class NCF(Recommender):
    """Neural matrix factorization (NeuMF: He et al., "Neural Collaborative Filtering", WWW 2017).

    The user's side is a known user, where the log's context has `user` (pseudonyms; "" or None = unknown),
    and the session so far, so that sessions of nobody are scored too. Other than in the paper, the loss is
    the cross-entropy among sampled items instead of one of each pair, and the factors are normalized.
    """

    name = "ncf"
    weighs_targets = True

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._names: dict[str, int] = {}
        self._trainer: TowerTrainer | None = None
        self._scorer: TowerScorer | None = None

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train from scratch; see `Recommender.fit`."""
        self.options = options or self.options
        self.vocabulary, self._names, self._trainer = Vocabulary(), {}, None
        return self._train(log, weights, progress, self.options.learning_rate, self.options.epochs)

    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Train on with the weights and the optimizer state there are; see `Recommender.warm_start`."""
        options = options or self.options
        if self._trainer:
            self._refuse_change(options, ("embedding_size", "max_length"))
        self.options = options
        return self._train(log, weights, progress, options.warm_learning_rate, options.warm_epochs)

    def _train(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None,
        progress: Progress | None,
        rate: float,
        epochs: int,
    ) -> TrainingReport:
        began = perf_counter()
        weights = session_weights(log, weights, self.options)
        before = len(self.vocabulary)
        self._count_items(log, weights)
        users = self._rows(log.context.get("user", np.full(len(log), None)), grow=True)
        trainer = self._grown_trainer()
        batches = Batches(
            log, target_weights(log, weights, self.options), self.vocabulary, self.options.max_length
        )
        targets, now = batches.n_targets, len(self.vocabulary)
        batch_size = min(self.options.batch_size, max(SMALLEST_BATCH, targets // STEPS_AN_EPOCH))
        losses = self._run_epochs(
            trainer, batches, users, batch_size=batch_size, rate=rate, epochs=epochs, progress=progress
        )
        self._scorer = self._make_scorer(trainer)
        seconds = perf_counter() - began
        steps, speed = epochs * batches.n_batches(batch_size), targets * epochs / max(seconds, 1e-9)
        return TrainingReport(len(log), targets, steps, epochs, now, now - before, seconds, speed, losses)

    def _run_epochs(
        self,
        trainer: TowerTrainer,
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
            sums = []
            for batch in batches.epoch(batch_size, negatives, cumulated, generator):
                now = np.float32(rate * min(1.0, (done + 1) / WARM_UP_STEPS, 1.01 - done / total))
                seed = np.int32((options.seed + 7919 * (first + done)) % 2**31)
                known = np.where(generator.random(len(batch.rows)) < options.dropout, 0, users[batch.rows])
                sums.append(trainer.step((batch.sessions, known, batch.weights, batch.negatives), now, seed))
                done += 1
                if progress and done % 20 == 0:
                    progress(done / total, f"epoch {epoch + 1} of {epochs}")
            losses.append(float(np.mean([value.numpy() for value in sums])) if sums else 0.0)
        return tuple(losses)

    def _rows(self, users: NDArray[Any], grow: bool = False) -> NDArray[np.int32]:
        """Return each user's row, int32 [n], 0 where unknown; `grow` gives those never seen one."""
        names = self._names
        if grow:
            for user in filter(None, users):
                names.setdefault(str(user), len(names) + 1)
        return np.fromiter((names.get(str(user), 0) if user else 0 for user in users), np.int32)

    def _grown_trainer(self) -> TowerTrainer:
        """Return a trainer with a row for every item and user: old rows and slots unmoved.

        New items' factors are random, all else of a new row is 0: what is scored and learned at first is
        what the session says.
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
        towers = old.towers if old else Towers(options)
        items, users = np.concatenate([items, new]), np.concatenate([users, new_users])
        trainer = TowerTrainer(items, users, towers, options)
        if old:
            trainer.adam.restore(old.adam.arrays())
            trainer.user_adam.restore(old.user_adam.arrays())
        self._trainer = trainer
        return trainer

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item for the session, and for its user where the context has `user`."""
        scorer = self.scorer()
        assert self._trainer
        users = context.sessions.get("user") if context else None
        rows = np.zeros(len(prefixes), np.int32) if users is None else self._rows(users)
        scores: NDArray[np.float32] = scorer.score_for(prefixes, tf.gather(self._trainer.users, rows)).numpy()
        scores[:, 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return rows, the users' pseudonyms, weights and optimizer slots."""
        self.scorer()
        assert self._trainer
        trainer = self._trainer
        arrays = {"items": trainer.items.numpy(), "users": trainer.users.numpy()}
        arrays["names"] = np.array(list(self._names), dtype=np.str_)
        arrays |= {f"towers/{name}": value.numpy() for name, value in trainer.towers.weights.items()}
        arrays |= {f"adam/{name}": value for name, value in trainer.adam.arrays().items()}
        return arrays | {f"user_adam/{name}": value for name, value in trainer.user_adam.arrays().items()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over what `arrays` gave."""
        towers = Towers(self.options)
        for name, variable in towers.weights.items():
            variable.assign(arrays[f"towers/{name}"])
        self._names = {str(name): row for row, name in enumerate(arrays["names"], start=1)}
        self._trainer = TowerTrainer(arrays["items"], arrays["users"], towers, self.options)
        for adam, prefix in ((self._trainer.adam, "adam/"), (self._trainer.user_adam, "user_adam/")):
            slots = {name[len(prefix) :]: one for name, one in arrays.items() if name.startswith(prefix)}
            adam.restore(slots)
        self._scorer = self._make_scorer(self._trainer)

    @staticmethod
    def _make_scorer(trainer: TowerTrainer) -> TowerScorer:
        return TowerScorer(trainer.towers, trainer.items, trainer.users[:1])

    def scorer(self) -> TowerScorer:
        """Return the scorer: towers and items; no user is in it."""
        if self._scorer is None:
            raise ModelError("the ncf model is not trained yet: call fit or load first")
        return self._scorer

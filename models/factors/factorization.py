"""Matrix factorization: items and known users have factors; sessions are folded in by least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import USER, Context, SessionLog
from models.factors.known_users import KnownUsers
from models.factors.least_squares import Observations, loss, solve
from models.options import Learned, Progress, Training, TrainingOptions
from models.recommender import Recommender
from models.scorer import SessionScorer
from models.tensorflow_import import tf

PREFIX_DECAY = 0.25  # over so many mean session lengths the weight of an item falls by the factor e
PADDED_SCORE = -1e9
SOLVER_STEPS = 24  # sessions of 100 items with weights that fall over 10 items need about 20
POPULARITY = 1e-6  # far below the scores of the factors: it orders only items whose factors are 0


class FactorScorer(SessionScorer):
    """Scores every item for sessions that are folded in. This module is exported.

    Let Y be the item factors and P = unobserved weight · YᵀY + λI. A session with items S of weights C has
    the factor x = (P + Y_SᵀCY_S)⁻¹Y_SᵀC·1 (Hu, Koren, Volinsky, ICDM 2008). This equals
    P⁻¹Y_Sᵀ(C⁻¹ + Y_S P⁻¹Y_Sᵀ)⁻¹·1, which has only as many equations as the session has items. With P = LLᵀ
    and Z = √C·YL⁻ᵀ, the scores Yx are YL⁻ᵀZ_Sᵀs, where (1 + Z_S Z_Sᵀ)s = √C. Without a session, x is 0, or
    the factor u of a known user. With u, Yx = YL⁻ᵀ(Lᵀu + Z_Sᵀs), where (1 + Z_S Z_Sᵀ)s = √C(1 - Y_S u).
    The weight of an item that came long ago may be 0 in float32: then the item does not count.

    Attributes:
        max_length: how many of a session's last items it reads.
    """

    def __init__(
        self,
        table: NDArray[np.float64],
        popularity: NDArray[np.float64],
        mean_length: float,
        max_length: int,
        users: KnownUsers,
    ) -> None:
        super().__init__(max_length)
        self._users = users
        self.session_features, self.alone = users.features, tuple(users.features.names)
        self._decay = PREFIX_DECAY * mean_length
        last = POPULARITY * popularity[:, None]
        last[0] = PADDED_SCORE
        whole = np.concatenate([table, last], 1).astype(np.float32)
        self._table = tf.Variable(whole, trainable=False)  # [size, d + 1]

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; see `SessionScorer`."""
        return self.score_from(prefixes, self._users.vectors_of(inputs.get(USER), prefixes))

    @tf.function(
        input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32)],
        autograph=False,
    )
    def score_from(self, prefixes: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        """Score as `score` does, with the users' Lᵀu, float32 [b, d]; zeros for unknown users."""
        length = tf.shape(prefixes)[1]
        roots = tf.exp(tf.range(1 - length, 1, dtype=tf.float32) / (2.0 * self._decay))  # √C; 0 for old items
        roots = tf.cast(prefixes > 0, tf.float32) * roots
        factors = tf.gather(self._table, prefixes)[:, :, :-1]
        missing = roots * (1.0 - tf.linalg.matvec(factors, before))
        factors *= roots[:, :, None]
        state = before + tf.linalg.matvec(factors, _solved(factors, missing), transpose_a=True)
        state = tf.concat([state, tf.ones((tf.shape(state)[0], 1))], 1)
        return tf.matmul(state, self._table, transpose_b=True)


def _solved(factors: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Solve (1 + ZZᵀ)s = r by conjugate gradients, whose products need no inverse and no loop.

    The steps needed are the number of eigenvalues of ZZᵀ that differ from 0 in float32. These are few, since
    the weights of a session's items fall by the factor e over PREFIX_DECAY mean sessions.

    Args:
        factors: Z, float32 [b, length, d].
        right: r, float32 [b, length].

    Returns:
        s, float32 [b, length].
    """
    gram = tf.matmul(factors, factors, transpose_b=True)
    solution, residual, direction = tf.zeros_like(right), right, right
    squared = tf.reduce_sum(residual**2, 1, keepdims=True)
    for _ in range(SOLVER_STEPS):
        product = direction + tf.linalg.matvec(gram, direction)
        curvature = tf.reduce_sum(direction * product, 1, keepdims=True)
        step = tf.math.divide_no_nan(squared, curvature)
        solution += step * direction
        residual -= step * product
        before, squared = squared, tf.reduce_sum(residual**2, 1, keepdims=True)
        direction = residual + tf.math.divide_no_nan(squared, before) * direction
    return solution


@dataclass
class _State:
    """What the model has learned.

    Attributes:
        items: float64 [size, d], the item factors.
        users: float64 [n_users, d], the factors of known users.
        names: the users' pseudonyms and their rows.
        gram: float64 [d, d], the Gram matrix of all users or sessions of the trainings, decayed like counts.
        mean_length: the mean length of a session, in items.
    """

    items: NDArray[np.float64]
    users: NDArray[np.float64]
    names: dict[str, int]
    gram: NDArray[np.float64]
    mean_length: float = 1.0

    @classmethod
    def empty(cls, width: int) -> _State:
        return cls(np.zeros((0, width)), np.zeros((0, width)), {}, np.zeros((width, width)))


class Factorization(Recommender):
    """Implicit matrix factorization of users (or sessions) and items by alternating least squares (iALS).

    If the log's context has the column `user` (pseudonyms; "" or None = unknown), a session belongs to the
    row of its user. Other sessions have rows of their own, which are computed again at each scoring. An
    observed item weighs options.confidence times as much as an unobserved item (Hu, Koren, Volinsky, ICDM
    2008; on the settings see Rendle et al., "Revisiting the Performance of iALS on Item Recommendation
    Benchmarks", RecSys 2022). In a warm start the regularization draws the factors to their old values, not
    to 0. All events count alike, for every objective.
    """

    name = "factorization"
    fixed_options = ("embedding_size",)
    rows_by_item = ("items",)

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._state: _State | None = None
        self._scorer: FactorScorer | None = None

    @property
    def is_trained(self) -> bool:
        """Tell whether the model has factors."""
        return self._state is not None

    def _forget(self) -> None:
        self._state = self._scorer = None

    def _learn(self, training: Training) -> Learned:
        """Solve for rows and items in turn; a warm start solves only for the rows and items of the log."""
        is_continued = training.is_warm and self.is_trained
        epochs = self.options.warm_epochs if is_continued else self.options.epochs
        items = self._count_items(training)
        weights = np.repeat(training.weights, training.log.lengths).astype(np.float64)
        losses = self._sweep(training.log, items, weights, epochs, training.progress)
        return Learned(epochs, steps=epochs, losses=losses)

    def _sweep(
        self,
        log: SessionLog,
        items: NDArray[np.int32],
        weights: NDArray[np.float64],
        epochs: int,
        progress: Progress | None,
    ) -> tuple[float, ...]:
        """Solve for rows and items in turn; return the mean loss per observation after each sweep."""
        old = self._state or _State.empty(self.options.embedding_size)
        row_of_session, names = _rows(log, old.names)
        seen = Observations.of(row_of_session[log.session_of_event], items, weights)
        factors = self._grown(old.items)
        prior_rows = np.zeros((len(seen.rows), factors.shape[1]))
        known = np.flatnonzero(seen.rows < len(old.users))
        prior_rows[known] = old.users[seen.rows[known]]
        kept_gram = self.options.memory * old.gram
        by_item = seen.transposed()
        prior_items = (
            factors[by_item.rows] if self._state else np.zeros((len(by_item.rows), factors.shape[1]))
        )
        rows, losses = prior_rows, []
        for epoch in range(epochs):
            rows = solve(seen, factors, self._precision(factors), prior_rows)
            precision = self._precision(rows, kept_gram)
            factors[by_item.rows] = solve(by_item, rows, precision, prior_items)
            losses.append(loss(seen, rows, factors))
            if progress:
                progress((epoch + 1) / epochs, f"sweep {epoch + 1} of {epochs}")
        rows = solve(seen, factors, self._precision(factors), prior_rows)
        users = np.concatenate([old.users, np.zeros((len(names) - len(old.users), factors.shape[1]))])
        is_user = seen.rows < len(names)
        users[seen.rows[is_user]] = rows[is_user]
        mean_length = max(1.0, float(log.lengths.mean())) if len(log) else old.mean_length
        self._state = _State(factors, users, names, kept_gram + rows.T @ rows, mean_length)
        self._scorer = None
        return tuple(losses)

    def _precision(
        self, factors: NDArray[np.float64], gram: NDArray[np.float64] | float = 0.0
    ) -> NDArray[np.float64]:
        """Return the precision of the other side's prior: the unobserved items (or rows) and a ridge."""
        ridge = self.options.regularization * np.eye(factors.shape[1])
        precision: NDArray[np.float64] = (gram + factors.T @ factors) / self.options.confidence + ridge
        return precision

    def _grown(self, old: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the item factors with a row for every item; new rows are small and random."""
        width = self.options.embedding_size
        generator = np.random.default_rng((self.options.seed, len(old)))
        new = generator.standard_normal((self.vocabulary.size - len(old), width)) * 0.1 / width**0.5
        grown = np.concatenate([old, new])
        grown[0] = 0.0
        return grown

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by its factor and the session's; the user's factor counts if the context has it."""
        scorer = self.scorer()
        assert self._state
        before = np.zeros((len(prefixes), self.options.embedding_size), np.float32)
        users = context.sessions.get(USER) if context else None
        if users is not None:
            rows = np.array([self._state.names.get(user, -1) for user in users])
            before[rows >= 0] = self._state.users[rows[rows >= 0]] @ self._lower()
        scores: NDArray[np.float32] = scorer.score_from(prefixes, before).numpy()
        scores[:, 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the factors, the users' pseudonyms, and the values that a warm start needs."""
        self.scorer()
        assert self._state
        return {
            "items": self._state.items,
            "users": self._state.users,
            "names": np.array(list(self._state.names), dtype=np.str_),
            "gram": self._state.gram,
            "mean_length": np.array([self._state.mean_length]),
        }

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the items' factors."""
        self.scorer()
        assert self._state
        return self._state.items.astype(np.float32)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        names = {str(name): row for row, name in enumerate(arrays["names"])}
        mean_length = float(arrays["mean_length"][0])
        self._state = _State(arrays["items"], arrays["users"], names, arrays["gram"], mean_length)
        self._scorer = None

    def scorer(self) -> FactorScorer:
        """Return the scorer: it folds sessions in, and knows options.users users."""
        state, options = self._state, self.options
        if state is None:
            raise self._untrained_error()
        if self._scorer is None:
            lower = self._lower()
            table = np.asarray(np.linalg.solve(lower, state.items.T).T, np.float64)
            counts = self.vocabulary.counts
            popularity = counts / max(float(counts.max(initial=0.0)), 1e-12)
            vectors = (state.users @ lower).astype(np.float32)
            unknown = np.zeros(options.embedding_size, np.float32)
            users = KnownUsers(list(state.names), vectors, unknown, options.users)
            self._scorer = FactorScorer(table, popularity, state.mean_length, options.max_length, users)
        return self._scorer

    def known_by_context(self, context: Context, n: int) -> NDArray[np.bool_]:
        """Tell which of n sessions have a user with a factor."""
        users = context.sessions.get(USER)
        if users is None or self._state is None:
            return np.zeros(n, bool)
        return np.array([user in self._state.names for user in users], bool)

    def _lower(self) -> NDArray[np.float64]:
        """Return L, the Cholesky factor of P; see `FactorScorer`."""
        assert self._state
        return np.asarray(np.linalg.cholesky(self._precision(self._state.items)), np.float64)


def _rows(log: SessionLog, known: dict[str, int]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return each session's row, int64 [n_sessions], and the row of every known user.

    Users have the first rows. A session without a user has a row after them.
    """
    names = dict(known)
    users = log.context.get(USER, np.full(len(log), "", dtype=object))
    row = np.array([names.setdefault(str(user), len(names)) if user else -1 for user in users], np.int64)
    without_user = np.flatnonzero(row < 0)
    row[without_user] = len(names) + np.arange(len(without_user))
    return row, names

"""The towers of NeuMF: a product of factors and a small network score each item, and learn to."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.layers.encoder import Dropout, barrier, glorot, linear, variables
from models.layers.optimizer import Adam
from models.options import TrainingOptions
from models.sequential.scorer import PADDED_SCORE
from models.sequential.trainer import ROW_RATE

WIDE, NARROW = 32, 16  # layers of the network


class Towers(tf.Module):
    """From a user and a session to a state, and from a state and an item to a score.

    Items, users and states are rows of d + WIDE numbers: the first d are the factors of the product, the
    others their share of the network's first layer, a sum of what either side brings. A state is the
    user's row and a linear map of the mean of the session's items, later ones weighing more, as is learned.
    """

    def __init__(self, options: TrainingOptions) -> None:
        super().__init__()
        self.size = options.embedding_size
        self._temperature = options.temperature
        generator = np.random.default_rng(options.seed)
        self.weights = variables(
            {
                "lag": -0.5 * np.arange(options.max_length),
                "session": np.eye(self.size + WIDE),
                "product": np.ones(self.size),
                "wide_bias": np.zeros(WIDE),
                "narrow": glorot(generator, WIDE, NARROW),
                "narrow_bias": np.zeros(NARROW),
                "out": glorot(generator, NARROW, 1),
            }
        )

    def normalized(self, items: tf.Tensor) -> tf.Tensor:
        """Return item rows with factors of length 1."""
        return tf.concat([tf.math.l2_normalize(items[:, : self.size], -1), items[:, self.size :]], 1)

    def states(self, items: tf.Tensor, known: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Return the state at every position, [b, length, d + WIDE]; position t sees items 0 … t.

        Args:
            items: [b, length, d + WIDE], normalized.
            known: bool [b, length], false where padded.
            users: [b, d + WIDE].
        """
        places = tf.range(tf.shape(items)[1])
        lag = tf.clip_by_value(places[:, None] - places[None, :], 0, self.weights["lag"].shape[0] - 1)
        shares = tf.nn.softmax(tf.gather(self.weights["lag"], lag) + barrier(known))
        means = shares @ (items * tf.cast(known, tf.float32)[:, :, None])
        states = linear(means, self.weights["session"]) + users[:, None, :]
        factors = tf.math.l2_normalize(states[:, :, : self.size], -1, epsilon=1e-12)
        factors *= self.weights["product"] / self._temperature
        return tf.concat([factors, states[:, :, self.size :] + self.weights["wide_bias"]], 2)

    def paired(self, states: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Score item n for state n: [n]."""
        product = tf.reduce_sum(states[:, : self.size] * items[:, : self.size], -1)
        return product + self._network(states[:, self.size :] + items[:, self.size :])

    def crossed(self, states: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Score every item, [m, d + WIDE], for every state, [n, d + WIDE], at once: [n, m]."""
        product = tf.matmul(states[:, : self.size], items[:, : self.size], transpose_b=True)
        return product + self._network(states[:, None, self.size :] + items[None, :, self.size :])

    def each(self, states: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Score as `crossed` does, the network one state after the other: m times WIDE numbers at a time."""
        product = tf.matmul(states[:, : self.size], items[:, : self.size], transpose_b=True)
        first = tf.identity(items[:, self.size :])
        return product + tf.map_fn(
            lambda state: self._network(state + first), states[:, self.size :], parallel_iterations=1
        )

    def _network(self, wide: tf.Tensor) -> tf.Tensor:
        """Return [...] from the sums before the first activation, [..., WIDE]."""
        shape = tf.shape(wide)[:-1]
        wide = tf.nn.relu(tf.reshape(wide, (-1, WIDE)))
        narrow = tf.nn.relu(wide @ self.weights["narrow"] + self.weights["narrow_bias"])
        return tf.reshape(narrow @ self.weights["out"], shape)


class TowerScorer(tf.Module):
    """Scores every item for sessions; what is exported. No user is in it, only what stands for unknown ones.

    Attributes:
        max_length: the last items of a session that it reads.
    """

    def __init__(self, towers: Towers, items: tf.Tensor, unknown: tf.Tensor) -> None:
        super().__init__()
        self.max_length = tf.Variable(towers.weights["lag"].shape[0], trainable=False)
        self._towers = towers
        self._items = tf.Variable(towers.normalized(items), trainable=False)  # [size, d + WIDE]
        self._unknown = tf.Variable(unknown, trainable=False)  # [1, d + WIDE]

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")])
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        return self.score_for(prefixes, tf.repeat(self._unknown, tf.shape(prefixes)[0], 0))

    @tf.function(
        input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32)]
    )
    def score_for(self, prefixes: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Score as `score` does, for users of these rows, [b, d + WIDE]."""
        states = self._towers.states(tf.gather(self._items, prefixes), prefixes > 0, users)[:, -1]
        scores = self._towers.each(states, self._items)
        return scores + PADDED_SCORE * tf.one_hot(0, tf.shape(scores)[1])


BATCH = (
    tf.TensorSpec((None, None), tf.int32),
    tf.TensorSpec((None,), tf.int32),
    tf.TensorSpec((None, None), tf.float32),
    tf.TensorSpec((None,), tf.int32),
)


class TowerTrainer(tf.Module):
    """The rows of items and users, the towers, their optimizers, and one training step."""

    def __init__(
        self,
        items: NDArray[np.float32],
        users: NDArray[np.float32],
        towers: Towers,
        options: TrainingOptions,
    ) -> None:
        super().__init__()
        self.options = options
        self.towers = towers
        self.items = tf.Variable(items, name="items")
        self.users = tf.Variable(users, name="users")
        self.adam = Adam(towers.weights, self.items, ROW_RATE)
        self.user_adam = Adam(
            {}, self.users, 1.0
        )  # a user has few sessions: longer steps learn them by heart
        self.expected = tf.Variable(tf.ones(len(items)), trainable=False)

    @tf.function(input_signature=[BATCH, tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32)])
    def step(self, batch: tuple[tf.Tensor, ...], rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Learn from one batch and return its mean loss.

        Args:
            batch: sessions int32 [b, length], users' rows int32 [b], weights [b, length - 1], negatives
                int32 [m]; see models.data.batches.Batch.
            rate: learning rate.
            seed: decides what dropout leaves out.
        """
        sessions, users, weights, negatives = batch
        rows, place = tf.unique(tf.concat([tf.reshape(sessions, [-1]), negatives], 0))
        in_sessions = tf.reshape(place[: tf.size(sessions)], tf.shape(sessions))
        user_rows, user_place = tf.unique(users)
        items_read, users_read = tf.gather(self.items, rows), tf.gather(self.users, user_rows)
        places = tf.where(weights > 0)  # of the targets that count: session, position
        dense = self.towers.weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([items_read, users_read, *dense.values()])
            items = self.towers.normalized(items_read)
            embedded = Dropout(self.options.dropout, seed)(tf.gather(items, in_sessions[:, :-1]))
            states = self.towers.states(embedded, sessions[:, :-1] > 0, tf.gather(users_read, user_place))
            states, targets = tf.gather_nd(states, places), tf.gather_nd(in_sessions[:, 1:], places)
            losses = self._losses(states, items, targets, place[tf.size(sessions) :], rows)
            loss = tf.reduce_mean(losses * tf.gather_nd(weights, places))
        of_items, of_users, gradients = tape.gradient(loss, (items_read, users_read, dense))
        gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
        self.adam.apply(gradients, rows, tf.convert_to_tensor(of_items), rate)
        self.user_adam.apply({}, user_rows, tf.convert_to_tensor(of_users), rate)
        return loss

    def _losses(
        self,
        states: tf.Tensor,
        items: tf.Tensor,
        targets: tf.Tensor,
        negatives: tf.Tensor,
        rows: tf.Tensor,
    ) -> tf.Tensor:
        """Return each target's cross-entropy among all items, [n], estimated as `sampled_softmax` does.

        Other than there, scores have no bound, so they are taken from their logarithms.
        """
        score = self.towers.paired(states, tf.gather(items, targets))
        among = self.towers.crossed(states, tf.gather(items, negatives))
        among -= tf.math.log(tf.gather(self.expected, tf.gather(rows, negatives)))
        among = tf.where(negatives[None, :] == targets[:, None], -1e9, among)
        return tf.reduce_logsumexp(tf.concat([score[:, None], among], 1), 1) - score

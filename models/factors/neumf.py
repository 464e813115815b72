"""NeuMF: a product of factors and a small network score each item. Network, scorer and trainer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import USER
from models.factors.known_users import KnownUsers
from models.layers.blocks import Dropout, causal_mask, glorot, linear, variables
from models.layers.optimizer import Adam
from models.options import TrainingOptions
from models.scorer import SessionScorer
from models.sequential.scorer import PADDED_SCORE
from models.sequential.trainer import ROW_RATE
from models.tensorflow_import import tf

WIDE, NARROW = 32, 16  # the widths of the network's layers


class NeuMF(tf.Module):
    """Computes a state from a user and a session, and a score from a state and an item.

    Items, users and states are rows of d + WIDE numbers. The first d numbers are the factors of the product.
    The other numbers are added, item to state, and are the input of the network's first activation. A state
    is the sum of the user's row and a linear map of a weighted mean of the session's items. The weights of
    the mean depend on how far back an item is, and are learned.
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
        """Return the item rows with factors of length 1."""
        return tf.concat([tf.math.l2_normalize(items[:, : self.size], -1), items[:, self.size :]], 1)

    def states(self, items: tf.Tensor, known: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Return the state at every position, [b, length, d + WIDE]; position t reads items 0 to t.

        Args:
            items: [b, length, d + WIDE], normalized.
            known: bool [b, length], False at padding.
            users: [b, d + WIDE].
        """
        places = tf.range(tf.shape(items)[1])
        distance = tf.clip_by_value(places[:, None] - places[None, :], 0, self.weights["lag"].shape[0] - 1)
        shares = tf.nn.softmax(tf.gather(self.weights["lag"], distance) + causal_mask(known))
        means = shares @ (items * tf.cast(known, tf.float32)[:, :, None])
        states = linear(means, self.weights["session"]) + users[:, None, :]
        factors = tf.math.l2_normalize(states[:, :, : self.size], -1, epsilon=1e-12)
        factors *= self.weights["product"] / self._temperature
        return tf.concat([factors, states[:, :, self.size :] + self.weights["wide_bias"]], 2)

    def score_pairs(self, states: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Score item n for state n: float32 [n]."""
        product = tf.reduce_sum(states[:, : self.size] * items[:, : self.size], -1)
        return product + self._network(states[:, self.size :] + items[:, self.size :])

    def score_all_pairs(self, states: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Score every item, [m, d + WIDE], for every state, [n, d + WIDE], at once: float32 [n, m]."""
        product = tf.matmul(states[:, : self.size], items[:, : self.size], transpose_b=True)
        return product + self._network(states[:, None, self.size :] + items[None, :, self.size :])

    def score_by_state(self, states: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Score as `score_all_pairs` does, state by state, which needs only m times WIDE numbers at once."""
        product = tf.matmul(states[:, : self.size], items[:, : self.size], transpose_b=True)
        first = tf.identity(items[:, self.size :])
        return product + tf.map_fn(
            lambda state: self._network(state + first), states[:, self.size :], parallel_iterations=1
        )

    def _network(self, wide: tf.Tensor) -> tf.Tensor:
        """Return the network's output, [...], for its inputs before the first activation, [..., WIDE]."""
        shape = tf.shape(wide)[:-1]
        wide = tf.nn.relu(tf.reshape(wide, (-1, WIDE)))
        narrow = tf.nn.relu(wide @ self.weights["narrow"] + self.weights["narrow_bias"])
        return tf.reshape(narrow @ self.weights["out"], shape)


class NeuMFScorer(SessionScorer):
    """Scores every item for sessions of known and unknown users. This module is exported.

    Attributes:
        max_length: how many of a session's last items it reads.
    """

    takes_several = False  # the network reads every pair of session and item, so several gain nothing

    def __init__(self, network: NeuMF, items: tf.Tensor, users: KnownUsers) -> None:
        super().__init__(network.weights["lag"].shape[0])
        self._network = network
        self._items = tf.Variable(network.normalized(items), trainable=False)  # [size, d + WIDE]
        self._users = users
        self.session_features = users.features

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; see `SessionScorer`."""
        return self.score_for(prefixes, self._users.vectors_of(inputs.get(USER), prefixes))

    @tf.function(
        input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32)],
        autograph=False,
    )
    def score_for(self, prefixes: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """Score as `score` does, for users with these rows, [b, d + WIDE]."""
        states = self._network.states(tf.gather(self._items, prefixes), prefixes > 0, users)[:, -1]
        scores = self._network.score_by_state(states, self._items)
        return scores + PADDED_SCORE * tf.one_hot(0, tf.shape(scores)[1])


BATCH = (
    tf.TensorSpec((None, None), tf.int32),
    tf.TensorSpec((None,), tf.int32),
    tf.TensorSpec((None, None), tf.float32),
    tf.TensorSpec((None,), tf.int32),
)


class NeuMFTrainer(tf.Module):
    """The rows of items and users, the network, the optimizers, and one training step."""

    def __init__(
        self,
        items: NDArray[np.float32],
        users: NDArray[np.float32],
        network: NeuMF,
        options: TrainingOptions,
    ) -> None:
        super().__init__()
        self.options = options
        self.network = network
        self.items = tf.Variable(items, name="items")
        self.users = tf.Variable(users, name="users")
        self.adam = Adam(network.weights, self.items, ROW_RATE)
        # A user has few sessions. Longer steps would overfit them.
        self.user_adam = Adam({}, self.users, 1.0)
        self.expected = tf.Variable(tf.ones(len(items)), trainable=False)

    @tf.function(
        input_signature=[BATCH, tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32)], autograph=False
    )
    def step(self, batch: tuple[tf.Tensor, ...], rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Learn from one batch and return its mean loss.

        Args:
            batch: sessions int32 [b, length], users' rows int32 [b], weights [b, length - 1], negatives
                int32 [m]; see models.data.batches.Batch.
            rate: the learning rate.
            seed: decides the choices of dropout.
        """
        sessions, users, weights, negatives = batch
        rows, place = tf.unique(tf.concat([tf.reshape(sessions, [-1]), negatives], 0))
        in_sessions = tf.reshape(place[: tf.size(sessions)], tf.shape(sessions))
        user_rows, user_place = tf.unique(users)
        items_read, users_read = tf.gather(self.items, rows), tf.gather(self.users, user_rows)
        places = tf.where(weights > 0)  # session and position of each target with a weight
        dense = self.network.weights
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([items_read, users_read, *dense.values()])
            items = self.network.normalized(items_read)
            embedded = Dropout(self.options.dropout, seed)(tf.gather(items, in_sessions[:, :-1]))
            states = self.network.states(embedded, sessions[:, :-1] > 0, tf.gather(users_read, user_place))
            states, targets = tf.gather_nd(states, places), tf.gather_nd(in_sessions[:, 1:], places)
            losses = self._losses(states, items, targets, place[tf.size(sessions) :], rows)
            loss = tf.reduce_mean(losses * tf.gather_nd(weights, places))
        by_items, by_users, gradients = tape.gradient(loss, (items_read, users_read, dense))
        gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
        self.adam.apply(gradients, rows, tf.convert_to_tensor(by_items), rate)
        self.user_adam.apply({}, user_rows, tf.convert_to_tensor(by_users), rate)
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

        The scores here have no bound, so the sum is computed from logarithms.
        """
        score = self.network.score_pairs(states, tf.gather(items, targets))
        others = self.network.score_all_pairs(states, tf.gather(items, negatives))
        others -= tf.math.log(tf.gather(self.expected, tf.gather(rows, negatives)))
        others = tf.where(negatives[None, :] == targets[:, None], -1e9, others)
        return tf.reduce_logsumexp(tf.concat([score[:, None], others], 1), 1) - score

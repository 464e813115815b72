"""The users that a packed model knows: their pseudonyms are a feature of sessions, and each has a vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.data.features import Features
from models.data.sequences import USER
from models.tensorflow_import import tf


class KnownUsers(tf.Module):
    """The vectors of users, for the graph of a scorer.

    A graph holds at most so many users. It holds those whose vectors differ most from the vector of unknown
    users: without them, the answers would change most.

    Attributes:
        features: the feature by which a request names its user; empty if there is no user.
    """

    def __init__(
        self, names: Sequence[str], vectors: NDArray[np.float32], unknown: NDArray[np.float32], at_most: int
    ) -> None:
        """Choose the users.

        Args:
            names: the pseudonyms.
            vectors: [n, width], the vector of each pseudonym.
            unknown: [width], the vector of unknown users.
            at_most: the largest number of users.
        """
        super().__init__()
        differences = np.linalg.norm(vectors - unknown, axis=1)
        chosen = np.sort(np.argsort(-differences, kind="stable")[:at_most])
        self.features = Features({USER: tuple(names[row] for row in chosen)} if len(chosen) else {})
        whole = np.concatenate([unknown[None], vectors[chosen]]).astype(np.float32)
        self._vectors = tf.Variable(whole, trainable=False)  # [1 + users, width]

    def vectors_of(self, rows: tf.Tensor | None, prefixes: tf.Tensor) -> tf.Tensor:
        """Return the vectors of the users of sessions, [b, width].

        Args:
            rows: int32 [b], as a reader of `features` gives them; None if all users are unknown.
            prefixes: int32 [b, length], the sessions.
        """
        return tf.gather(self._vectors, tf.zeros_like(prefixes[:, 0]) if rows is None else rows)

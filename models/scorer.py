"""The exported part of a model: it scores every item for sessions, without the rest of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod

from models.data.features import Features
from models.tensorflow_import import tf


class SessionScorer(tf.Module, ABC):
    """Scores every item for sessions. Each model that can be served has a scorer of its own.

    A scorer implements `compute` in TensorFlow operations. `score` traces it once for batches of every shape;
    the export to LiteRT traces it for sessions of a fixed length, where loops over the length disappear.

    Attributes:
        max_length: how many of a session's last items it reads.
        session_features: the features of sessions that `compute` reads.
        event_features: the features of events that `compute` reads.
        alone: the features of sessions by which it can score a session without an item.
        takes_several: whether the exported graph scores several sessions at once. Otherwise `compute` is
            traced for one session.
    """

    session_features = Features()
    event_features = Features()
    alone: tuple[str, ...] = ()
    takes_several = True

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")], autograph=False)
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        return self.compute(prefixes)

    @abstractmethod
    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Return what `score` returns, as operations of the graph that is being traced.

        Args:
            prefixes: see `score`.
            inputs: the features by name, as `input_specs` describes them; a missing feature is unknown.
        """

    def input_specs(self, rows: int | None, length: int | None) -> dict[str, tf.TensorSpec]:
        """Return the specification of each feature, for sessions of a number of rows and a length."""
        return self.session_features.specs(rows) | self.event_features.specs(rows, length)

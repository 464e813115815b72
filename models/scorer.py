"""The exported part of a model: it scores every item for sessions, without the rest of the model."""

from __future__ import annotations

from models.tensorflow_import import tf


class SessionScorer(tf.Module):
    """Scores every item for sessions. Each model that can be served has a scorer of its own.

    A scorer implements `compute` in TensorFlow operations. `score` traces it once for batches of every shape;
    the export to LiteRT traces it for one session of a fixed length, where loops over the length disappear.

    Attributes:
        max_length: how many of a session's last items it reads.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self.max_length = tf.Variable(max_length, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")])
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        return self.compute(prefixes)

    def compute(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Return what `score` returns, as operations of the graph that is being traced."""
        raise NotImplementedError

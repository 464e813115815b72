"""A trained model with an online delta on top: one that scores with it, and one that has taken it in."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.online import OnlineDelta
from models.recommender import ModelError, Recommender, create
from models.sequence_model import SequenceModel
from models.sequences import Context, SessionLog
from models.training import Progress, TrainingOptions, TrainingReport
from models.vocabulary import Vocabulary


class OnlineModel(Recommender):
    """Scores as the model does, by the embeddings of a delta, which may go on learning meanwhile.

    Its encoder is the model's. To train it on, or to serve it, fold the delta in: see `folded`.
    """

    def __init__(self, base: Recommender, delta: OnlineDelta) -> None:
        super().__init__(base.options)
        self.delta = delta
        encoder = _sequence_model(base).make_encoder(base.options)
        state = base.arrays()
        for name, variable in encoder.weights.items():
            variable.assign(state[f"encoder/{name}"])
        of_items = tf.TensorSpec((None, None, base.options.embedding_size), tf.float32)
        signature = [of_items, tf.TensorSpec((None, None), tf.bool)]
        self._encode = tf.function(lambda items, known: encoder(items, known)[:, -1], signature)

    @property
    def vocabulary(self) -> Vocabulary:
        """The delta's vocabulary, as it is now."""
        return self.delta.vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary) -> None:
        """Pass over what the constructor sets: the delta knows its items."""

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item by its cosine with the session's state, over the temperature."""
        table = self.delta.table
        states = self._encode(table[prefixes], prefixes > 0).numpy()
        scores: NDArray[np.float32] = (states / np.float32(self.options.temperature)) @ table.T
        scores[:, 0] = -np.inf
        return scores

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Refuse."""
        raise ModelError("a model with an online delta is not trained: fold the delta in first")

    warm_start = fit

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the delta's arrays."""
        return self.delta.arrays()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the delta's arrays."""
        self.delta.restore(arrays)


def folded(base: Recommender, delta: OnlineDelta) -> Recommender:
    """Return a model of the base's kind whose rows are the delta's: it can learn on, be saved and served.

    A row keeps the length that it had; that of a new item is the mean of all. Encoder and optimizer are the
    base's, which itself stays as it is.
    """
    arrays = dict(_sequence_model(base).arrays())
    table = arrays["table"]
    lengths = np.linalg.norm(table, axis=1)
    new = len(delta.table) - len(table)
    lengths = np.concatenate([lengths, np.full(new, lengths[1:].mean())]).astype(np.float32)
    moved = lengths[:, None] * delta.table
    moved[: len(table)] = np.where(delta.moved[: len(table), None], moved[: len(table)], table)
    arrays["table"] = moved
    model = create(base.name, base.options)
    model.vocabulary = delta.vocabulary
    model.restore(arrays)
    return model


def _sequence_model(model: Recommender) -> SequenceModel:
    if not isinstance(model, SequenceModel):
        raise ModelError(f"the {model.name} model has no table of embeddings to update online")
    return model

"""A trained model with an online delta: a model that scores with both, and a model that contains both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.by_name import create
from models.data.sequences import USER, Context
from models.data.vocabulary import Vocabulary
from models.online.delta import OnlineDelta
from models.online.scorer import OnlineScorer, log_shares, states_with_shoppers
from models.options import Learned, Training, TrainingOptions
from models.recommender import Recommender
from models.sequential.base import SequenceModel
from models.sequential.scorer import Scorer
from models.stored import ModelError
from models.tensorflow_import import tf


class OnlineModel(Recommender):
    """Scores with the model's encoder and the embeddings of a delta. The delta may learn meanwhile.

    For a shopper that the delta knows, the session's state and the shopper's vector score the items. In a
    session without an item, the vector and the popularity score them. To continue training, fold the delta
    in: see `folded`.
    """

    def __init__(self, base: Recommender, delta: OnlineDelta) -> None:
        super().__init__(base.options)
        self.name = base.name
        self.delta = delta
        self._base = _sequence_model(base)
        encoder, weight = self._base.scorer().encoder, delta.options.user_weight
        shoppers_spec = tf.TensorSpec((None, base.options.embedding_size), tf.float32)
        items_spec = tf.TensorSpec((None, *shoppers_spec.shape), tf.float32)
        self._encode = tf.function(
            lambda items, known, shoppers: states_with_shoppers(
                encoder(items, known)[:, -1], known, shoppers, weight
            ),
            [items_spec, tf.TensorSpec((None, None), tf.bool), shoppers_spec],
            autograph=False,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The delta's present vocabulary."""
        return self.delta.vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary) -> None:
        """Ignore the vocabulary that the base class sets: the delta has the items."""

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item by its cosine with the session's state, divided by the temperature."""
        table, known = self.delta.table, prefixes > 0
        shoppers = self._shoppers(context, len(prefixes))
        states = self._encode(table[prefixes], known, shoppers).numpy()
        scores: NDArray[np.float32] = (states / np.float32(self.options.temperature)) @ table.T
        scores[~known.any(1)] += log_shares(self.vocabulary.counts)
        scores[:, 0] = -np.inf
        return scores

    def known_by_context(self, context: Context, n: int) -> NDArray[np.bool_]:
        """Tell which of n sessions have a shopper with a vector."""
        has_vector: NDArray[np.bool_] = (self._shoppers(context, n) != 0.0).any(axis=1)
        return has_vector

    def _shoppers(self, context: Context | None, n: int) -> NDArray[np.float32]:
        users = context.sessions.get(USER) if context else None
        return self.delta.shoppers.of([None] * n if users is None else users)

    def scorer(self) -> Scorer:
        """Return the scorer of the model with the delta folded in, with the shoppers if there are any."""
        whole = _sequence_model(folded(self._base, self.delta))
        if not len(self.delta.shoppers):
            return whole.scorer()
        return OnlineScorer(
            whole.arrays()["table"],
            self._base.scorer().encoder,
            self.options.temperature,
            counts=self.vocabulary.counts,
            shoppers=self.delta.shoppers,
            weight=self.delta.options.user_weight,
        )

    def _check_training(self, options: TrainingOptions, *, is_warm: bool) -> None:
        """Refuse every training."""
        raise ModelError("a model with an online delta cannot be trained: fold the delta in first")

    def _learn(self, training: Training) -> Learned:
        raise NotImplementedError("_check_training refuses every training")

    def _forget(self) -> None:
        raise NotImplementedError("_check_training refuses every training")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the delta's arrays."""
        return self.delta.arrays()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the delta's arrays."""
        self.delta.restore(arrays)


def folded(base: Recommender, delta: OnlineDelta) -> Recommender:
    """Return a model of the base's kind with the delta's rows. It can be trained, saved and served.

    A row keeps its length. The row of a new item gets the mean length of all rows. Encoder and optimizer are
    the base's. The base does not change.
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

"""A trained model with an online delta on top: one that scores with it, and one that has taken it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.online.delta import OnlineDelta
from models.online.scorer import OnlineScorer, log_shares, personal
from models.options import Progress, TrainingOptions, TrainingReport
from models.recommender import ModelError, Recommender, create
from models.sequential.scorer import Scorer
from models.sequential.sequence_model import SequenceModel


class OnlineModel(Recommender):
    """Scores as the model does, by the embeddings of a delta, which may go on learning meanwhile.

    A shopper whom the delta knows is scored by the session's state and their vector; without an item, by that
    and what is popular. The encoder is the model's. To train it on, fold the delta in: see `folded`.
    """

    def __init__(self, base: Recommender, delta: OnlineDelta) -> None:
        super().__init__(base.options)
        self.name = base.name
        self.delta = delta
        self._base = _sequence_model(base)
        encoder, weight = self._base.scorer().encoder, delta.options.user_weight
        of_shoppers = tf.TensorSpec((None, base.options.embedding_size), tf.float32)
        of_items = tf.TensorSpec((None, *of_shoppers.shape), tf.float32)
        self._encode = tf.function(
            lambda items, known, shoppers: personal(encoder(items, known)[:, -1], known, shoppers, weight),
            [of_items, tf.TensorSpec((None, None), tf.bool), of_shoppers],
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The delta's vocabulary, as it is now."""
        return self.delta.vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary) -> None:
        """Pass over what the constructor sets: the delta knows its items."""

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item by its cosine with the session's state, over the temperature."""
        table, known = self.delta.table, prefixes > 0
        shoppers = self._shoppers(context, len(prefixes))
        states = self._encode(table[prefixes], known, shoppers).numpy()
        scores: NDArray[np.float32] = (states / np.float32(self.options.temperature)) @ table.T
        scores[~known.any(1)] += log_shares(self.vocabulary.counts)
        scores[:, 0] = -np.inf
        return scores

    def knows(self, context: Context, n: int) -> NDArray[np.bool_]:
        """Tell which of n sessions are of shoppers that have a vector."""
        return (self._shoppers(context, n) != 0.0).any(axis=1)

    def _shoppers(self, context: Context | None, n: int) -> NDArray[np.float32]:
        users = context.sessions.get("user") if context else None
        return self.delta.shoppers.of([None] * n if users is None else users)

    def scorer(self) -> Scorer:
        """Return the scorer of the model with the delta folded in, and of the shoppers, if there are any."""
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

    def export_scorer(self, directory: Path) -> None:
        """Write a SavedModel; with shoppers it has the signature `in_context`, which reads `user`."""
        scorer = self.scorer()
        signatures = {"serving_default": scorer.score}
        if isinstance(scorer, OnlineScorer):
            signatures["in_context"] = scorer.score_in_context
        tf.saved_model.save(scorer, str(directory), signatures=signatures)

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

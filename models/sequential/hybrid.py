"""The hybrid model: it reads the shopper, the context and the basket beside the session's items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.batches import Batches
from models.data.features import FEATURES, Bound, Features
from models.data.sequences import Context, SessionLog
from models.layers.blocks import Dropout, Encoder
from models.options import Learned, Training, TrainingOptions
from models.sequential.attention import Attention
from models.sequential.hybrid_encoder import HybridEncoder
from models.sequential.scorer import Scorer
from models.sequential.trainer import Trainer
from models.tensorflow_import import tf

MIN_USER_SESSIONS = 2  # of a user with a row: a user's only session learns nothing from the user's row
UNSEEN_COUNT = 1e-3  # of an item that was never seen: it is hardly ever drawn as a negative
# An unseen item of a catalogue is drawn as often as an item with so many events. Where it was hardly ever
# drawn, unseen items took the places of others: in benchmarks/cold_items.py (seeds 7 and 8) other items lost
# 1 to 2 % of their hit rate, and 5 % in a shop of 12,000 items. With 3 events, items with five events or more
# lost nothing, and unseen items kept four fifths of their hits.
UNSEEN_EVENTS = 3.0


class HybridScorer(Scorer):
    """Scores every item for sessions and their context. This module is exported.

    Attributes:
        score_in_context: turns prefixes and features, by name, into scores, float32 [b, size].
    """

    def __init__(
        self, table: tf.Tensor, encoder: Encoder, temperature: float, features: Mapping[str, Features]
    ) -> None:
        super().__init__(table, encoder, temperature)
        self.session_features, self.event_features = features["sessions"], features["events"]
        self.score_in_context = tf.function(self.compute, autograph=False).get_concrete_function(
            prefixes=tf.TensorSpec((None, None), tf.int32, name="prefixes"), **self.input_specs(None, None)
        )

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; see `SessionScorer`."""
        shape = tf.shape(prefixes)
        unknown: dict[str, tf.Tensor] = {}
        for features, rank in ((self.session_features, 1), (self.event_features, 2)):
            unknown |= {name: tf.zeros(shape[:rank], tf.int32) for name in features.rows}
            pair = tf.concat([shape[:rank], [2]], 0)
            unknown |= {name: tf.zeros(pair) for name in features.numbers}
        return super().compute(prefixes, **(unknown | inputs))


class HybridTrainer(Trainer):
    """A trainer whose item embeddings also contain the items' features."""

    encoder: HybridEncoder

    def __init__(
        self,
        table: NDArray[np.float32],
        encoder: HybridEncoder,
        options: TrainingOptions,
        features: Mapping[str, Features],
        items: Mapping[str, NDArray[Any]],
    ) -> None:
        inputs = features["sessions"].specs(None) | features["events"].specs(None, None)
        super().__init__(table, encoder, options, inputs)
        self._items = {name: tf.constant(values) for name, values in items.items()}

    def embeddings(self) -> tf.Tensor:
        """Return the embedding that scores each item, [size, d]."""
        return self._combined(tf.range(tf.shape(self.table)[0]), self.table, Dropout(0.0, 0))

    def _embedded(self, rows: tf.Tensor, table_rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return self._combined(rows, table_rows, Dropout(self.options.dropout, seed + 2))

    def _combined(self, rows: tf.Tensor, own: tf.Tensor, drop: Dropout) -> tf.Tensor:
        """Return the embeddings of the items `rows` from their own rows of the table and their features."""
        items = {name: tf.gather(values, rows) for name, values in self._items.items()}
        return self.encoder.embedded(own, items.pop("seen"), items, drop)


class Hybrid(Attention):
    """The attention model's encoder, with context, basket and item features; see `HybridEncoder`.

    The columns that the log of the training from scratch has decide which columns of sessions and events the
    model reads from then on; see FEATURES. A warm start with an `ItemTable` also takes up its new columns.
    Items of the catalogue that have features join the vocabulary without an event. With an `ItemTable` their
    count is 0, so that no list of popular items has them before others.
    """

    name = "hybrid"
    can_be_private = False  # the names of its features, and the rows of its users, follow from the sessions
    rows_by_item = (*Attention.rows_by_item, "items/")

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._features = {kind: Features() for kind in FEATURES}
        self._items: dict[str, NDArray[Any]] = {"seen": np.zeros(1, np.float32)}

    def make_encoder(self, options: TrainingOptions) -> Encoder:
        """Make an untrained encoder for the features there are."""
        session = super().make_encoder(options)
        return HybridEncoder(session, options.embedding_size, self._features, options.seed)

    def _grown_encoder(self, old: Encoder) -> Encoder:
        """Return an encoder with a row for every name; old rows do not change, and new weights are 0."""
        encoder = self.make_encoder(self.options)
        for name, weight in encoder.weights.items():
            if name not in old.weights:
                weight.assign(tf.zeros_like(weight))
                continue
            grown = weight.numpy()
            known = old.weights[name].numpy()
            grown[tuple(map(slice, known.shape))] = known
            weight.assign(grown)
        return encoder

    def _learn(self, training: Training) -> Learned:
        """Learn as `SequenceModel` does, from a log whose items the catalogue describes."""
        if training.items is not None:
            described = training.items.describe(training.log, self.vocabulary)
            training = replace(training, log=described)
        return super()._learn(training)

    def _retire(self, training: Training, trainer: Trainer) -> None:
        """Drop the items without an event that the catalogue no longer has; keep all others."""
        if training.items is None:
            return
        dropped = self._items["seen"] == 0.0
        dropped[self.vocabulary.encode(training.log.catalogue)] = False
        kept = self._drop(dropped, trainer)
        self._items = {name: values[kept] for name, values in self._items.items()}

    def _make_trainer(self, table: NDArray[np.float32], encoder: Encoder) -> Trainer:
        assert isinstance(encoder, HybridEncoder)
        return HybridTrainer(table, encoder, self.options, self._features, self._items)

    def _make_scorer(self, trainer: Trainer) -> Scorer:
        temperature = self.options.temperature
        return HybridScorer(trainer.embeddings(), trainer.encoder, temperature, self._features)

    def _sampling_counts(self) -> NDArray[np.float64]:
        """Return the counts of the vocabulary, and UNSEEN_EVENTS for the unseen items of a catalogue."""
        counts = self.vocabulary.counts
        return np.where((counts == 0.0) & (np.arange(len(counts)) > 0), UNSEEN_EVENTS, counts)

    def _batches(self, log: SessionLog, weights: NDArray[np.float32]) -> Batches:
        return Batches(
            log,
            weights,
            self.vocabulary,
            self.options.max_length,
            session_inputs=self._features["sessions"].reader()(log.context, len(log)),
            event_inputs=self._features["events"].reader()(log.event_context, log.n_events),
        )

    def _read_counts(self, training: Training) -> None:
        """Add new items and features, also of catalogue items without an event, and count the items."""
        log = training.log
        super()._read_counts(training)
        self._read_features(log, training.items is not None)
        described = self._features["items"].reader()(log.item_features, len(log.catalogue))
        self.vocabulary = self.vocabulary.grow(log.catalogue[_any_known(described, len(log.catalogue))])
        place = self.vocabulary.encode(log.catalogue)
        seen = np.bincount(log.items, minlength=len(log.catalogue)).astype(np.float32)
        self._items = {
            name: _extended(self._items.get(name), values, self.vocabulary.size)
            for name, values in (described | {"seen": seen}).items()
        }
        self._items["seen"][place] += seen
        for name, values in described.items():
            known = _any_known({name: values}, len(values)) & (place > 0)
            self._items[name][place[known]] = values[known]
        counts = np.maximum(self.vocabulary.counts, UNSEEN_COUNT)
        if training.items is not None:
            counts[self._items["seen"] == 0.0] = 0.0
        counts[0] = 0.0
        self.vocabulary = self.vocabulary.with_counts(counts)

    def _read_features(self, log: SessionLog, is_catalogue: bool) -> None:
        """Learn the features of a log, or in a warm start only new names, and new columns of a catalogue."""
        columns = {"sessions": log.context, "events": log.event_context, "items": log.item_features}
        bounds = {"user": Bound(self.options.users, MIN_USER_SESSIONS)}
        for kind, features in self._features.items():
            if not self._trainer:
                self._features[kind] = Features.learn(columns[kind], FEATURES[kind], bounds)
                continue
            self._features[kind] = features.grown(columns[kind], bounds)
            if kind == "items" and is_catalogue:  # their new weights start at 0, so that no score changes
                self._features[kind] = self._features[kind].joined(columns[kind], FEATURES[kind])
        if not self._trainer:
            self._items = {}

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score every item as `SequenceModel.scores` does, and read the sessions' context."""
        scorer, context = self.scorer(), context or Context()
        assert isinstance(scorer, HybridScorer)
        inputs = self._features["sessions"].reader()(context.sessions, len(prefixes))
        inputs |= self._features["events"].reader()(context.events, *prefixes.shape)
        inputs = {name: tf.constant(values) for name, values in inputs.items()}
        scores: NDArray[np.float32] = scorer.score_in_context(
            prefixes=tf.constant(prefixes), **inputs
        ).numpy()
        scores[:, 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights, the optimizer's slots, the features, and the feature values of the items."""
        features = {f"features/{kind}": features.to_array() for kind, features in self._features.items()}
        items = {f"items/{name}": values for name, values in self._items.items()}
        return super().arrays() | features | items

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self._features = {kind: Features.from_array(arrays[f"features/{kind}"]) for kind in FEATURES}
        self._items = {
            name.removeprefix("items/"): values for name, values in arrays.items() if name[:6] == "items/"
        }
        super().restore(arrays)


def _any_known(encoded: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.bool_]:
    """Tell for each of n things whether any of its features is known.

    A feature is known if its row is not 0, or, for a number, if the flag is not 0.
    """
    known = np.zeros(n, bool)
    for values in encoded.values():
        known |= (values if values.ndim == 1 else values[:, -1]) > 0
    return known


def _extended(old: NDArray[Any] | None, like: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the values of `size` items: the old values, then zeros, which mean unknown."""
    extended = np.zeros((size, *like.shape[1:]), like.dtype)
    if old is not None:
        extended[: len(old)] = old
    return extended

"""Session neighbours: the items of similar sessions, where near, late and recent items count most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.counting.popularity import popularity_scores
from models.counting.session_index import SessionIndex
from models.counting.transitions import flat_entries
from models.data.sequences import Context
from models.data.vocabulary import Vocabulary
from models.options import Learned, Training, TrainingOptions
from models.recommender import Recommender
from models.scorer import SessionScorer
from models.tensorflow_import import tf

# A weight falls by the factor e over this distance, in mean session lengths. In this unit the settings that
# STAN's authors published are 0.25 to 0.5 (prefix) and 1 to 2 (neighbour) on Diginetica, and 0.1 and 0.1 to
# 0.5 on YooChoose. The values here do well on both.
PREFIX_DECAY = 0.25
NEIGHBOUR_DECAY = 1.0
# A session weighs one half after this many times options.half_life: which items shoppers want together
# changes more slowly than which items they want most.
HALF_LIVES = 2.0
ROWS_AT_ONCE = 32  # limits memory, which grows as rows times their neighbours times those sessions' items
CHUNKS_AT_ONCE = 2


class NeighbourScorer(SessionScorer):
    """Scores every item for sessions, by the index. This module is exported.

    Attributes:
        max_length: how many of a session's last items it reads.
    """

    takes_several = False  # LiteRT has no ragged tensors, and one session needs none

    def __init__(self, index: SessionIndex, vocabulary: Vocabulary, options: TrainingOptions) -> None:
        super().__init__(options.max_length)
        self._size, self._sessions = vocabulary.size, max(1, len(index))
        self._neighbours, self._sample = options.neighbours, options.sample
        self._decays = (PREFIX_DECAY * index.mean_length, NEIGHBOUR_DECAY * index.mean_length)
        entries, offsets = index.postings(vocabulary.size, options.sample)
        arrays = {
            "posting_offsets": offsets,
            "posting_sessions": index.session_of_entry[entries].astype(np.int32),
            "posting_positions": index.positions[entries],
            "session_offsets": index.offsets,
            "session_items": index.items,
            "session_positions": index.positions,
            "session_weights": _session_weights(index, options),
            "fallback": popularity_scores(vocabulary.counts),
        }
        self._arrays = {name: tf.Variable(value, trainable=False) for name, value in arrays.items()}

    def compute(self, prefixes: tf.Tensor, **inputs: tf.Tensor) -> tf.Tensor:
        """Score every item; see `SessionScorer`."""
        if prefixes.shape[0] == 1:
            return self._score(prefixes)
        rows = tf.shape(prefixes)[0]
        chunks = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        scores = tf.TensorArray(tf.float32, chunks, infer_shape=False, element_shape=(None, self._size))

        def score_chunk(chunk: tf.Tensor, scores: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            part = prefixes[chunk * ROWS_AT_ONCE : (chunk + 1) * ROWS_AT_ONCE]
            return chunk + 1, scores.write(chunk, self._score(part))

        _, scores = tf.while_loop(
            lambda chunk, _: chunk < chunks,
            score_chunk,
            (tf.constant(0), scores),
            parallel_iterations=CHUNKS_AT_ONCE,
        )
        return scores.concat()

    def _score(self, prefixes: tf.Tensor) -> tf.Tensor:
        sessions, similarities, last = self._nearest(prefixes)
        place = tf.where(similarities > 0)  # row and column of each neighbour
        neighbours = tf.gather_nd(sessions, place)
        entries, owner = flat_entries(self._arrays["session_offsets"], neighbours)
        items = tf.gather(self._arrays["session_items"], entries)
        positions = tf.gather(self._arrays["session_positions"], entries)
        distance = tf.abs(positions - tf.gather(tf.gather_nd(last, place), owner))
        values = tf.gather(tf.gather_nd(similarities, place), owner)
        values *= tf.exp(-tf.cast(distance, tf.float32) / self._decays[1])
        rows = tf.shape(prefixes)[0]
        cells = tf.gather(place[:, 0], owner) * self._size + tf.cast(items, tf.int64)
        sums = tf.scatter_nd(cells[:, None], values, [tf.cast(rows, tf.int64) * self._size])
        sums = tf.reshape(sums, (rows, self._size))
        shares = tf.math.divide_no_nan(sums, tf.reduce_sum(sums, 1, keepdims=True))
        return tf.where(shares > 0, shares, self._arrays["fallback"])

    def _nearest(self, prefixes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return each row's nearest sessions, their similarities, and the positions of their last match.

        Each is [b, k]. Columns without a session have a similarity of 0.
        """
        length = tf.shape(prefixes)[1]
        place = tf.where(_is_last_occurrence(prefixes))  # row and column of each item
        entries, owner = flat_entries(self._arrays["posting_offsets"], tf.gather_nd(prefixes, place))
        row, column = tf.gather(place[:, 0], owner), tf.gather(place[:, 1], owner)
        decay = tf.exp((tf.range(1 - length, 1, dtype=tf.float32)) / self._decays[0])
        session = tf.cast(tf.gather(self._arrays["posting_sessions"], entries), tf.int64)
        pairs, pair = tf.unique(row * self._sessions + session)  # in the order of the rows
        n_pairs = tf.size(pairs)
        weights = tf.gather(decay, column)
        similarities = tf.math.unsorted_segment_sum(weights, pair, n_pairs)
        positions = tf.gather(self._arrays["posting_positions"], entries)
        last = tf.math.unsorted_segment_max(positions, pair, n_pairs)
        row = tf.zeros_like(pairs) if prefixes.shape[0] == 1 else pairs // self._sessions
        session = tf.cast(pairs - row * self._sessions, tf.int32)
        similarities *= tf.gather(self._arrays["session_weights"], session)
        columns = (session, similarities, last)
        n_rows = prefixes.shape[0] or tf.shape(prefixes)[0]
        dense = [_to_dense(values, row, n_rows) for values in columns]
        dense = _keep_best(dense, dense[0], self._sample)  # newer sessions have higher numbers
        kept = _keep_best(dense, dense[1], self._neighbours)
        return kept[0], kept[1], kept[2]


class Neighbours(Recommender):
    """Scores the items of the sessions that are most similar to the current one.

    A session in the index is more similar if it shares more items with the current session. As in STAN (Garg
    et al., "Sequence and Time Aware Neighborhood", SIGIR 2019), three weights decay: that of a shared item by
    how long ago the current session had it; that of an indexed session by its age; and that of a neighbour's
    item by its distance from the neighbour's last shared item. The candidates are the newest options.sample
    sessions with a shared item. The neighbours are the options.neighbours most similar candidates (VMIS-kNN,
    Kersbergen et al., SIGMOD 2022). The age of a session is its place in the index, since the times may be
    unknown. Weights that the caller gives multiply the decay by age. Items that no neighbour has rank below
    all others, by popularity. All events count alike, for every objective.
    """

    name = "neighbours"
    item_indices = ("items",)
    scores_are = "shares"

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._index = SessionIndex.empty()
        self._scorer: NeighbourScorer | None = None

    def _forget(self) -> None:
        self._index, self._scorer = SessionIndex.empty(), None

    def _learn(self, training: Training) -> Learned:
        """Add the sessions to the index, and drop the sessions that are too old now."""
        log, given = training.log, training.given_weights
        items = self._count_items(training)
        weights = np.ones(len(log), np.float32) if given is None else given.astype(np.float32)
        self._index = self._index.added(
            log, items, weights, max_length=self.options.max_length, sample=self.options.sample
        )
        self._scorer = None
        if training.progress:
            training.progress(1.0, f"{len(self._index)} sessions indexed")
        return Learned()

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by its share of the sum of what the neighbours give to all items."""
        scores: NDArray[np.float32] = self.scorer().score(prefixes).numpy()
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the index."""
        return self._index.arrays()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over the index."""
        self._index = SessionIndex(**arrays)
        self._scorer = None

    def scorer(self) -> NeighbourScorer:
        """Return the scorer. It contains the sessions of the index, without their times."""
        if not self.is_trained:
            raise self._untrained_error()
        if self._scorer is None:
            self._scorer = NeighbourScorer(self._index, self.vocabulary, self.options)
        return self._scorer


def _session_weights(index: SessionIndex, options: TrainingOptions) -> NDArray[np.float32]:
    """Return the weight of each session: its own weight times its recency, divided by the cosine's norm."""
    age = np.arange(len(index) - 1, -1, -1)
    half_life = HALF_LIVES * (options.half_life or np.inf)
    recency = np.exp2(-age / (half_life * max(1, len(index))))
    return (index.weights * recency / np.sqrt(np.diff(index.offsets))).astype(np.float32)


def _is_last_occurrence(prefixes: tf.Tensor) -> tf.Tensor:
    """Tell which items of a row do not occur again later in the row: bool [b, length], padding False."""
    length = tf.shape(prefixes)[1]
    later = tf.range(length)[None, :] > tf.range(length)[:, None]
    again = tf.reduce_any((prefixes[:, :, None] == prefixes[:, None, :]) & later, axis=2)
    return (prefixes > 0) & ~again


def _to_dense(values: tf.Tensor, rows: tf.Tensor, n_rows: tf.Tensor | int) -> tf.Tensor:
    """Arrange values, sorted by row, as [n_rows, the largest number of values in a row], padded with 0."""
    if isinstance(n_rows, int) and n_rows == 1:
        return values[None]
    return tf.RaggedTensor.from_value_rowids(
        values, rows, tf.cast(n_rows, tf.int64), validate=False
    ).to_tensor()


def _keep_best(columns: list[tf.Tensor], by: tf.Tensor, k: int) -> list[tf.Tensor]:
    """Keep the columns with the k largest values in `by`, or all columns if there are fewer."""
    best = tf.math.top_k(by, tf.minimum(k, tf.shape(by)[1]), sorted=False).indices
    return [tf.gather(values, best, batch_dims=1) for values in columns]

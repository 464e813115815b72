"""Session neighbours: what shoppers with alike sessions went to, the near, late and recent counting most."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.counting.baselines import below_matches
from models.counting.followers import ranges
from models.counting.session_index import SessionIndex
from models.data.sequences import Context, SessionLog
from models.data.vocabulary import Vocabulary
from models.options import Progress, TrainingOptions, TrainingReport, session_weights
from models.recommender import ModelError, Recommender

# Distances decay by e over so many mean lengths of a session. STAN's published settings, in that unit, are
# 0.25 to 0.5 and 1 to 2 on Diginetica, 0.1 and 0.1 to 0.5 on YooChoose; these do well on both.
PREFIX_DECAY = 0.25
NEIGHBOUR_DECAY = 1.0
# So many times options.half_life until a session counts half: what shoppers want together lasts longer than
# what they want most.
HALF_LIVES = 2.0
ROWS_AT_ONCE = 32  # bounds memory: so many rows times their sessions times these sessions' items
CHUNKS_AT_ONCE = 2


class NeighbourScorer(tf.Module):
    """Scores every item for sessions, by the index; what is exported.

    Attributes:
        max_length: the last items of a session that it reads.
    """

    def __init__(self, index: SessionIndex, vocabulary: Vocabulary, options: TrainingOptions) -> None:
        super().__init__()
        self.max_length = tf.Variable(options.max_length, trainable=False)
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
            "unmatched": below_matches(vocabulary.counts),
        }
        self._arrays = {name: tf.Variable(value, trainable=False) for name, value in arrays.items()}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="prefixes")])
    def score(self, prefixes: tf.Tensor) -> tf.Tensor:
        """Score every item: int32 [b, length], left-padded with 0, to float32 [b, size]."""
        rows = tf.shape(prefixes)[0]
        chunks = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        scores = tf.TensorArray(tf.float32, chunks, infer_shape=False, element_shape=(None, self._size))
        for chunk in tf.range(chunks):
            tf.autograph.experimental.set_loop_options(parallel_iterations=CHUNKS_AT_ONCE)
            part = prefixes[chunk * ROWS_AT_ONCE : (chunk + 1) * ROWS_AT_ONCE]
            scores = scores.write(chunk, self._score(part))
        return scores.concat()

    def _score(self, prefixes: tf.Tensor) -> tf.Tensor:
        sessions, similarities, last = self._nearest(prefixes)
        place = tf.where(similarities > 0)  # of the neighbours: row, column
        neighbours = tf.gather_nd(sessions, place)
        entries, owner = ranges(self._arrays["session_offsets"], neighbours)
        items = tf.gather(self._arrays["session_items"], entries)
        positions = tf.gather(self._arrays["session_positions"], entries)
        away = tf.abs(positions - tf.gather(tf.gather_nd(last, place), owner))
        values = tf.gather(tf.gather_nd(similarities, place), owner)
        values *= tf.exp(-tf.cast(away, tf.float32) / self._decays[1])
        rows = tf.shape(prefixes)[0]
        cells = tf.gather(place[:, 0], owner) * self._size + tf.cast(items, tf.int64)
        sums = tf.scatter_nd(cells[:, None], values, [tf.cast(rows, tf.int64) * self._size])
        sums = tf.reshape(sums, (rows, self._size))
        shares = tf.math.divide_no_nan(sums, tf.reduce_sum(sums, 1, keepdims=True))
        return tf.where(shares > 0, shares, self._arrays["unmatched"])

    def _nearest(self, prefixes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the sessions nearest to each row, how near, and where they match it last, each [b, k].

        Columns without a session have a similarity of 0.
        """
        length = tf.shape(prefixes)[1]
        place = tf.where(_last_of_its_kind(prefixes))  # of the items: row, column
        entries, owner = ranges(self._arrays["posting_offsets"], tf.gather_nd(prefixes, place))
        row, column = tf.gather(place[:, 0], owner), tf.gather(place[:, 1], owner)
        decay = tf.exp((tf.range(1 - length, 1, dtype=tf.float32)) / self._decays[0])
        session = tf.cast(tf.gather(self._arrays["posting_sessions"], entries), tf.int64)
        pairs, pair = tf.unique(row * self._sessions + session)  # in the order of the rows
        n_pairs = tf.size(pairs)
        weights = tf.gather(decay, column)
        similarities = tf.math.unsorted_segment_sum(weights, pair, n_pairs)
        positions = tf.gather(self._arrays["posting_positions"], entries)
        last = tf.math.unsorted_segment_max(positions, pair, n_pairs)
        row, session = pairs // self._sessions, tf.cast(pairs % self._sessions, tf.int32)
        similarities *= tf.gather(self._arrays["session_weights"], session)
        found = (session, similarities, last)
        dense = [_to_dense(values, row, tf.shape(prefixes)[0]) for values in found]
        dense = _keep_best(dense, dense[0], self._sample)  # a session's number grows with its time
        kept = _keep_best(dense, dense[1], self._neighbours)
        return kept[0], kept[1], kept[2]


class Neighbours(Recommender):
    """The items of the sessions nearest to the current one.

    A session in the index is the nearer, the more items it shares with the current one. As in STAN (Garg et
    al., "Sequence and Time Aware Neighborhood", SIGIR 2019) a shared item counts less the longer ago the
    current session had it; a session the older it is; and an item of a neighbour the farther it stands from
    the neighbour's last shared item. Candidates are the newest options.sample sessions with a shared item,
    neighbours the nearest options.neighbours of these (VMIS-kNN, Kersbergen et al., SIGMOD 2022). Age is the
    place among the sessions in the index, since times may be unknown; weights that are given multiply its
    decay. Items that no neighbour has come after all others, by popularity. All events count alike, whatever
    the objectives.
    """

    name = "neighbours"
    scores_are = "shares"

    def __init__(self, options: TrainingOptions | None = None) -> None:
        super().__init__(options)
        self._index = SessionIndex.empty()
        self._scorer: NeighbourScorer | None = None

    def fit(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Index from nothing; see `Recommender.fit`."""
        self.vocabulary = Vocabulary()
        self._index = SessionIndex.empty()
        return self.warm_start(log, weights, options, progress)

    def warm_start(
        self,
        log: SessionLog,
        weights: NDArray[np.float32] | None = None,
        options: TrainingOptions | None = None,
        progress: Progress | None = None,
    ) -> TrainingReport:
        """Add sessions to the index, and forget those too old now; see `Recommender.warm_start`."""
        began = perf_counter()
        self.options = options or self.options
        before = len(self.vocabulary)
        items = self._count_items(log, session_weights(log, weights, self.options))
        given = np.ones(len(log), np.float32) if weights is None else weights.astype(np.float32)
        self._index = self._index.added(
            log, items, given, max_length=self.options.max_length, sample=self.options.sample
        )
        self._scorer = None
        if progress:
            progress(1.0, f"{len(self._index)} sessions indexed")
        seconds = perf_counter() - began
        targets = int(np.maximum(log.lengths - 1, 0).sum())
        items_now = len(self.vocabulary)
        return TrainingReport(
            len(log), targets, 1, 1, items_now, items_now - before, seconds, targets / max(seconds, 1e-9)
        )

    def scores(self, prefixes: NDArray[np.int32], context: Context | None = None) -> NDArray[np.float32]:
        """Score each item by the neighbours that have it: its share of what all items get from them."""
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
        """Return the scorer; the sessions of the index are in it, without times."""
        if not len(self.vocabulary):
            raise ModelError("the neighbours model is not trained yet: call fit or load first")
        if self._scorer is None:
            self._scorer = NeighbourScorer(self._index, self.vocabulary, self.options)
        return self._scorer


def _session_weights(index: SessionIndex, options: TrainingOptions) -> NDArray[np.float32]:
    """Return what each shared item counts in each session: its weight and recency, by the cosine's norm."""
    age = np.arange(len(index) - 1, -1, -1)
    half_life = HALF_LIVES * (options.half_life or np.inf)
    recency = np.exp2(-age / (half_life * max(1, len(index))))
    return (index.weights * recency / np.sqrt(np.diff(index.offsets))).astype(np.float32)


def _last_of_its_kind(prefixes: tf.Tensor) -> tf.Tensor:
    """Tell which items of each row do not come again later in it: bool [b, length], padding False."""
    length = tf.shape(prefixes)[1]
    later = tf.range(length)[None, :] > tf.range(length)[:, None]
    again = tf.reduce_any((prefixes[:, :, None] == prefixes[:, None, :]) & later, axis=2)
    return (prefixes > 0) & ~again


def _to_dense(values: tf.Tensor, rows: tf.Tensor, n_rows: tf.Tensor) -> tf.Tensor:
    """Lay values, sorted by row, out as [n_rows, most values of a row], padded with 0."""
    return tf.RaggedTensor.from_value_rowids(
        values, rows, tf.cast(n_rows, tf.int64), validate=False
    ).to_tensor()


def _keep_best(columns: list[tf.Tensor], by: tf.Tensor, k: int) -> list[tf.Tensor]:
    """Keep the columns with the k largest values in `by`, if there are more."""
    if tf.shape(by)[1] > k:
        best = tf.math.top_k(by, k, sorted=False).indices
        return [tf.gather(values, best, batch_dims=1) for values in columns]
    return columns

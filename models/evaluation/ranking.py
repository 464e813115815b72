"""Full ranking: the rank of each example's target among all items, without sampled negatives."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import Context, Examples
from models.evaluation.metrics import summarize_ranks
from models.options import Progress
from models.recommender import Recommender

SCORES_AT_ONCE = 1 << 25  # 128 MiB of float32; with fewer rows the products took a quarter longer per row
CHUNKS_AT_ONCE = 2  # while one chunk is scored on all cores, the other chunk is ranked on one core


@dataclass(frozen=True)
class Ranking:
    """The outcome of a full ranking.

    Attributes:
        ranks: int32 [n], from 1; 0 = the model does not know the target, which is a miss.
        top: int32 [n, k], the first k items of each example, as the model's vocabulary indices; 0 = none.
        unit: int64 [n], each example's shopper, or its session if the shopper is unknown. Bootstrap intervals
            draw whole units (see SessionLog.units).
        n_items: the number of items that could be shown: the denominator of coverage.
    """

    ranks: NDArray[np.int32]
    top: NDArray[np.int32]
    unit: NDArray[np.int64]
    n_items: int

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.ranks)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Ranking:
        """Keep these examples, e.g. the examples of a slice."""
        return Ranking(self.ranks[rows], self.top[rows], self.unit[rows], self.n_items)


def rank_targets(
    model: Recommender,
    examples: Examples,
    k: int = 20,
    progress: Progress | None = None,
    *,
    exclude_seen: bool = False,
) -> Ranking:
    """Rank every example's target among all items of the model.

    Equal scores rank by vocabulary index, the lower index first, so that a rank agrees with the recommended
    list. For a prefix without a known item the items are ranked by popularity, as in `recommend`, unless the
    model knows the session by its context. To limit memory, the examples are sorted by length and ranked in
    chunks, CHUNKS_AT_ONCE at a time.

    Args:
        model: the model.
        examples: the targets.
        k: the length of the lists.
        progress: called from time to time.
        exclude_seen: leave the items of the prefix out of the list; a target among them is a miss.
    """
    encoded = examples.encode(model.vocabulary)
    n_items = len(model.vocabulary)
    ranks = np.zeros(len(examples), np.int32)
    top = np.zeros((len(examples), k), np.int32)
    longest = int((encoded.end - encoded.start).max(initial=0))
    is_known = encoded.end > encoded.start
    is_known |= model.known_by_context(Context(encoded.session_columns), len(examples))
    known = np.flatnonzero(is_known)
    order = known[np.argsort((encoded.end - encoded.start)[known], kind="stable")]
    chunk = max(1, min(1024, SCORES_AT_ONCE // max(1, n_items)))

    def rank(rows: NDArray[np.intp]) -> int:
        prefixes = encoded.prefixes(rows, model.options.max_length)
        context = encoded.context(rows, model.options.max_length)
        seen = encoded.prefixes(rows, longest) if exclude_seen else None
        ranks[rows], top[rows] = model.rank(prefixes, encoded.targets[rows], k, context, seen)
        return len(rows)

    chunks = [order[at : at + chunk] for at in range(0, len(order), chunk)]
    done = sum(map(rank, chunks[:1]))  # alone, because a model may first have to make its scorer
    with ThreadPoolExecutor(CHUNKS_AT_ONCE) as pool:
        for ranked in pool.map(rank, chunks[1:]):
            done += ranked
            if progress:
                progress(done / len(order), "ranking")
    empty = np.flatnonzero(~is_known)
    if len(empty):
        popular = model.vocabulary.popular(n_items)
        place = np.zeros(model.vocabulary.size, np.int32)
        place[popular] = np.arange(1, n_items + 1)
        ranks[empty], top[empty, : min(k, n_items)] = place[encoded.targets[empty]], popular[:k]
    return Ranking(ranks, top, examples.units, n_items)


def summarize(ranking: Ranking, ks: Sequence[int] = (1, 5, 10, 20)) -> dict[str, float]:
    """Return every metric at every k: {"recall@20": …, "coverage@20": …}; see models.evaluation.metrics."""
    return summarize_ranks(ranking.ranks, ranking.top, ranking.n_items, ks)

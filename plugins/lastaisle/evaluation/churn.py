"""Churn@k: how much of what shoppers are shown changes when one version takes over from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.data.vocabulary import Vocabulary
    from models.evaluation.ranking import Ranking


def churn_of(first: tuple[Ranking, Vocabulary], second: tuple[Ranking, Vocabulary]) -> NDArray[np.float64]:
    """Return the share of each list that changed, 1 - |first ∩ second| / k, whatever the order within.

    Args:
        first: lists of one model, and the vocabulary whose indices they are.
        second: those of the other, of the same examples.

    Returns:
        float64 [n_examples]: 0 where both lists have the same items, 1 where they share none. Where one
        model knows fewer than k items, the longer list's length is k.
    """
    import numpy as np

    (lists, names), (others, other_names) = first, second
    # Each of the second's indices as the first's; 0 stands for an item that the first does not know.
    translated = np.zeros(other_names.size, np.int32)
    translated[1:] = names.encode(other_names.decode(np.arange(1, other_names.size)))
    both = np.sort(np.concatenate([lists.top, translated[others.top]], axis=1), axis=1)
    shared = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] > 0)).sum(axis=1)
    k = max(lists.top.shape[1], others.top.shape[1], 1)
    changed: NDArray[np.float64] = 1.0 - shared / k
    return changed

"""Churn@k: the share of the recommendations that changes when one version replaces another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.vocabulary import Vocabulary
from models.evaluation.ranking import Ranking


def churn_of(first: tuple[Ranking, Vocabulary], second: tuple[Ranking, Vocabulary]) -> NDArray[np.float64]:
    """Return the share of each list that changed: `share_changed` of the lists of two rankings.

    Args:
        first: the lists of one model, and the vocabulary of their indices.
        second: the lists of the other model on the same examples, and their vocabulary.
    """
    return share_changed((first[0].top, first[1]), (second[0].top, second[1]))


def share_changed(
    first: tuple[NDArray[np.int32], Vocabulary], second: tuple[NDArray[np.int32], Vocabulary]
) -> NDArray[np.float64]:
    """Return the share of each list that changed: 1 - |first ∩ second| / k. The order within does not count.

    Args:
        first: the lists of one model, int32 [n, any], 0 after the last item, and the vocabulary of their
            indices.
        second: the lists of the other model for the same sessions, and their vocabulary.

    Returns:
        float64 [n]: 0 if both lists have the same items, 1 if they share no item. k is the length of the
        longer of both lists, which is shorter than asked for if a model knows few items. Two empty lists have
        not changed.
    """
    (lists, names), (others, other_names) = first, second
    # Translate the second's indices to the first's; 0 stands for an item that the first does not know.
    translated = np.zeros(other_names.size, np.int32)
    translated[1:] = names.encode(other_names.decode(np.arange(1, other_names.size)))
    both = np.sort(np.concatenate([lists, translated[others]], axis=1), axis=1)
    shared = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] > 0)).sum(axis=1)
    k = np.maximum((lists > 0).sum(axis=1), (others > 0).sum(axis=1))
    changed: NDArray[np.float64] = np.where(k > 0, 1.0 - shared / np.maximum(k, 1), 0.0)
    return changed

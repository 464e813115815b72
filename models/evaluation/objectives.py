"""The objectives: the next item, the next new item, the next item added to the cart, the next item bought.

A log may tell for each event whether its session adds or orders the item, at this event or later (`added` and
`purchased` of SessionLog.event_context). Training weighs targets by these columns, and evaluation measures
each kind of target separately.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import Examples, SessionLog
from models.options import TrainingOptions

OBJECTIVES = {"next_cart": "added", "next_purchase": "purchased"}
"""The objectives beside the next item, and the column that marks their targets."""

NEXT_ITEM = "next_item"
"""The objective of every target: the list may hold items that the session has seen."""

NEW_ITEM = "new_item"
"""The objective of targets that are new to their session: the list leaves out the items of the session."""


def target_weights(
    log: SessionLog, weights: NDArray[np.float32], options: TrainingOptions
) -> NDArray[np.float32]:
    """Return the weight of each event as a target: the weight of its session times that of its objective.

    A target that is bought weighs options.objective_purchase. Any other target that is added to the cart
    weighs options.objective_cart, and all others weigh options.objective_view. These weights are scaled to a
    mean of 1 over all events except the first of each session. In a log without both columns all weigh 1.

    Args:
        log: the sessions.
        weights: float32 [n_sessions].
        options: the options of the training.

    Returns:
        float32 [n_events].
    """
    by_event = np.repeat(weights, log.lengths)
    marked = [column for column in OBJECTIVES.values() if column in log.event_context]
    if not marked:
        return by_event
    objective = np.full(log.n_events, options.objective_view)
    for column, weight in zip(OBJECTIVES.values(), options.objectives[1:], strict=True):
        if column in marked:
            objective[log.event_context[column].astype(bool)] = weight
    is_target = np.ones(log.n_events, bool)
    is_target[log.offsets[:-1][log.lengths > 0]] = False
    total = objective[is_target].sum()
    scale = np.count_nonzero(is_target) / total if total else 0.0
    return np.asarray(by_event * objective * scale, np.float32)


def objectives_of(examples: Examples) -> dict[str, NDArray[np.bool_]]:
    """Return for each objective beside the next item which examples have such a target.

    Returns:
        each objective's name with bool [n_examples]; only objectives that have a target.
    """
    event = examples.log.offsets[examples.session] + examples.position
    masks = {
        name: examples.log.event_context[column][event].astype(bool)
        for name, column in OBJECTIVES.items()
        if column in examples.log.event_context
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def is_new(examples: Examples) -> NDArray[np.bool_]:
    """Tell which targets are new to their session, bool [n_examples]: no item before has the target's id."""
    log = examples.log
    items = log.session_of_event * max(1, len(log.catalogue)) + log.items
    first = np.zeros(log.n_events, bool)
    first[np.unique(items, return_index=True)[1]] = True
    return np.asarray(first[log.offsets[examples.session] + examples.position], bool)

"""What the next item shall be: any at all, one that goes into the cart, or one that is bought.

A log may tell of each event whether its session adds, or orders, that item then or later (`added` and
`purchased` of SessionLog.event_context). By that a target weighs more or less in training, and evaluation
looks at each kind of target by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import Examples, SessionLog
from models.options import TrainingOptions

OBJECTIVES = {"next_cart": "added", "next_purchase": "purchased"}
"""The objectives beside the next item, and the column that tells their targets."""


def target_weights(
    log: SessionLog, weights: NDArray[np.float32], options: TrainingOptions
) -> NDArray[np.float32]:
    """Return what each event counts as a target: its session's weight times its objective's.

    One that is bought weighs options.objective_purchase, else one that is added to the cart
    options.objective_cart, any other options.objective_view, scaled to a mean of 1 over all but the sessions'
    first events. In a log that tells neither all weigh 1.

    Args:
        log: sessions.
        weights: float32 [n_sessions].
        options: of the training.

    Returns:
        float32 [n_events].
    """
    by_event = np.repeat(weights, log.lengths)
    told = [column for column in OBJECTIVES.values() if column in log.event_context]
    if not told:
        return by_event
    counted = np.full(log.n_events, options.objective_view)
    for column, weight in zip(OBJECTIVES.values(), options.objectives[1:], strict=True):
        if column in told:
            counted[log.event_context[column].astype(bool)] = weight
    is_target = np.ones(log.n_events, bool)
    is_target[log.offsets[:-1][log.lengths > 0]] = False
    total = counted[is_target].sum()
    scale = np.count_nonzero(is_target) / total if total else 0.0
    return (by_event * counted * scale).astype(np.float32)


def objectives_of(examples: Examples) -> dict[str, NDArray[np.bool_]]:
    """Return which examples have a target of each objective beside the next item.

    Returns:
        name to bool [n_examples]; only objectives that have a target.
    """
    event = examples.log.offsets[examples.session] + examples.position
    masks = {
        name: examples.log.event_context[column][event].astype(bool)
        for name, column in OBJECTIVES.items()
        if column in examples.log.event_context
    }
    return {name: mask for name, mask in masks.items() if mask.any()}

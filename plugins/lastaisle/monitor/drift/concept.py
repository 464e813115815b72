"""Concept drift: the items stay the same, but other items follow them.

Concept drift shows in the live hit rate: the share of next items that are among the champion's first 20. It
is measured on sessions that the champion has not learned from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from river import drift

from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM, is_new

if TYPE_CHECKING:
    from models.serving.served import ServedModel

TOP = 20
MAX_SESSIONS = 5000
ADWIN = "adwin"


@dataclass(frozen=True)
class HitRateDrop:
    """The verdict of ADWIN on the newest window of a stream.

    Attributes:
        dropped: True = ADWIN cut the stream inside the window, and the hit rate is lower than before.
        before: mean hit rate of the windows before.
        after: mean hit rate of the newest window.
    """

    dropped: bool
    before: float
    after: float

    @property
    def drop(self) -> float:
        """By how much the hit rate fell; 0 if it rose."""
        return max(0.0, self.before - self.after)


def hits(champion: ServedModel, log: SessionLog, objective: str = NEXT_ITEM) -> NDArray[np.float32]:
    """Return each session's share of next items that are among the champion's first 20, in order of time.

    The champion answers as services get it: the packed model is asked, with the inputs that a service sends.

    Args:
        champion: the version that served these sessions.
        log: sessions that the champion has not learned from. Of more than 5,000 sessions with a next item,
            5,000 are taken, evenly spread.
        objective: next_item, or new_item: only items that are new to their session count, and the lists leave
            out the items of the session.

    Returns:
        float32 [n_sessions], 0 to 1; only sessions with an item that counts.
    """
    log = log.select(log.lengths >= 2)
    if len(log) > MAX_SESSIONS:
        log = log.select(np.linspace(0, len(log) - 1, MAX_SESSIONS).astype(np.int64))
    examples = next_item_examples(log)
    if objective == NEW_ITEM:
        examples = examples.select(is_new(examples))
    if not len(examples):
        return np.zeros(0, np.float32)
    ranks = champion.rank(examples, TOP, exclude_seen=objective == NEW_ITEM).ranks
    hit = (ranks > 0) & (ranks <= TOP)
    targets = np.bincount(examples.session, minlength=len(log))
    counted = targets > 0
    return (np.bincount(examples.session, hit, len(log))[counted] / targets[counted]).astype(np.float32)


def hit_rate_drop(
    history: Sequence[Iterable[float]], newest: NDArray[np.float32], false_alarms: float
) -> HitRateDrop:
    """Run ADWIN over the hits of all windows, oldest first, and say whether the newest window is a drop.

    ADWIN keeps a window of varying length. If two parts of the window differ in their means by more than
    chance allows, ADWIN cuts off the older part. So ADWIN needs no limit and no fixed length.
    Source: Bifet and Gavaldà, Learning from Time-Changing Data with Adaptive Windowing, SDM 2007.

    Args:
        history: the hits of each window before, as `hits` returns them.
        newest: the hits of the newest window.
        false_alarms: the chance of a cut if nothing changed; ADWIN's delta.
    """
    past = [np.asarray(list(window), np.float64) for window in history]
    before = float(np.concatenate(past).mean()) if sum(map(len, past)) else float("nan")
    after = float(newest.mean()) if len(newest) else float("nan")
    if np.isnan(before) or np.isnan(after):
        return HitRateDrop(False, before, after)
    detector = drift.ADWIN(delta=false_alarms)
    for value in np.concatenate(past).tolist():
        detector.update(value)
    cut = False
    for value in newest.tolist():
        detector.update(value)
        cut |= bool(detector.drift_detected)
    return HitRateDrop(cut and after < before, before, after)

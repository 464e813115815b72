"""Concept drift: the items may be the same as ever, and yet what follows what is not.

It shows in the live hit rate: whether the champion's first 20 items held the next item of sessions that it
had not learned from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.data.sequences import SessionLog
    from models.recommender import Recommender

TOP = 20
MOST_SESSIONS = 5000
ADWIN = "adwin"


@dataclass(frozen=True)
class HitRateDrop:
    """What ADWIN says of the newest window of a stream.

    Attributes:
        dropped: it cut the stream inside the window, and the hit rate is lower after than before.
        before: mean hit rate of the windows before.
        after: mean hit rate of the newest window.
    """

    dropped: bool
    before: float
    after: float

    @property
    def drop(self) -> float:
        """How far it fell; 0 where it rose."""
        return max(0.0, self.before - self.after)


def hits(champion: Recommender, log: SessionLog) -> NDArray[np.float32]:
    """Return the share of each session's next items that were among the first 20, in order of time.

    Args:
        champion: the version that served these sessions.
        log: sessions it has not learned from; of more than 5,000 with a next item so many, evenly spread.

    Returns:
        float32 [n_sessions], 0 to 1.
    """
    from models.data.sequences import next_item_examples
    from models.evaluation.ranking import rank_targets

    log = log.select(log.lengths >= 2)
    if len(log) > MOST_SESSIONS:
        log = log.select(np.linspace(0, len(log) - 1, MOST_SESSIONS).astype(np.int64))
    if not len(log):
        return np.zeros(0, np.float32)
    ranking = rank_targets(champion, next_item_examples(log), TOP)
    hit = (ranking.ranks > 0) & (ranking.ranks <= TOP)
    targets = np.bincount(ranking.session, minlength=len(log))
    return (np.bincount(ranking.session, hit, len(log)) / np.maximum(targets, 1)).astype(np.float32)


def hit_rate_drop(
    history: Sequence[Iterable[float]], newest: NDArray[np.float32], false_alarms: float
) -> HitRateDrop:
    """Run ADWIN over the hits of all windows, oldest first, and say whether the newest window is a drop.

    ADWIN keeps a window of varying length and cuts its older part off wherever two parts of it differ in
    their means by more than chance allows, so it needs neither a limit nor a length to compare with.
    Source: Bifet and Gavaldà, Learning from Time-Changing Data with Adaptive Windowing, SDM 2007.

    Args:
        history: the hits of each window before, as of `hits`.
        newest: the hits of the newest window.
        false_alarms: the chance of a cut where nothing changed; ADWIN's delta.
    """
    from river import drift

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

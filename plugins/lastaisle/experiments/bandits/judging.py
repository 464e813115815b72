"""The log on which a bandit's policy is judged: the policy of each hour has learned earlier lists only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.options import option
from lastaisle.experiments.bandits.policies import policy_of
from models.evaluation.off_policy.log import Log

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Bandit

_MOST_POLICIES: Final = 200  # are learned for one judgement; then each serves for more hours
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class JudgedLists:
    """The lists of a bandit whose rewards are known, and what the policy would have done with each.

    Attributes:
        log: the lists.
        policy: float64 [lists, arms], the policy's probability of each arm of the list.
        left_out: lists without a propensity, and lists of unknown arms.
    """

    log: Log
    policy: NDArray[np.float64]
    left_out: int

    def always(self, arm: str) -> NDArray[np.float64]:
        """Return the policy that always takes one arm; float64 [lists, arms]."""
        return np.tile(np.eye(self.log.arms)[self.log.names.index(arm)], (len(self.log), 1))


def judged_lists(bandit: Bandit, rows: pa.Table, *, since: datetime, now: datetime) -> JudgedLists:
    """Return the lists on which a bandit's policy is judged.

    The policy of an hour has learned the lists whose rewards were known before that hour. So no list is
    judged by a policy that has learned the list. After 200 hours a policy serves for two hours, and so on.

    Args:
        bandit: its posterior is not read.
        rows: all lists of the bandit, with the columns of LISTS_SCHEMA. Lists before `since` are learned,
            and not judged.
        since: the first moment whose lists are judged.
        now: the newest moment of the data. Lists whose horizon is not over are not judged.
    """
    arms = tuple(bandit.base)
    until = now - timedelta(hours=option(bandit, "horizon_hours"))
    moments = (pa.scalar(moment, rows["shown_at"].type) for moment in (since, until))
    first, end = moments
    due = rows.filter(pc.and_(pc.greater_equal(rows["shown_at"], first), pc.less(rows["shown_at"], end)))
    propensity = pc.fill_null(due["propensity"], 0.0)
    drawn = pc.and_(pc.greater(propensity, 0.0), pc.less_equal(propensity, 1.0))
    known = due.filter(pc.and_(drawn, pc.is_in(due["arm"], pa.array(arms)))).sort_by("shown_at")
    contexts = pc.fill_null(known["context"], "").to_pylist()
    blocks = _blocks(known["shown_at"].to_pylist(), since)
    log = Log.of(
        pc.index_in(known["arm"], pa.array(arms)).to_numpy(),
        known["propensity"].to_numpy(),
        known["reward"].to_numpy(),
        arms=arms,
        units=pc.coalesce(known["unit"], known["recommendation_id"]).to_pylist(),
        cells=contexts,
        batches=np.array(blocks, dtype=np.int64),
    )
    policy = np.empty((len(log), len(arms)))
    for block in sorted(set(blocks)):
        learned = msgspec.structs.replace(bandit, posterior=learn(bandit, rows, since + block * _HOUR))
        probabilities = policy_of(learned).probabilities
        for row in np.flatnonzero(log.batches == block):
            policy[row] = probabilities(contexts[row])
    return JudgedLists(log, policy, due.num_rows - known.num_rows)


def _blocks(moments: list[datetime], since: datetime) -> list[int]:
    """Return for each moment the hour, counted from `since`, until which its policy had learned."""
    hours = [(moment - since) // _HOUR for moment in moments]
    width = 1
    while hours and hours[-1] // width >= _MOST_POLICIES:
        width *= 2
    return [hour // width * width for hour in hours]

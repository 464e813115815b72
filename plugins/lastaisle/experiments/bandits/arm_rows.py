"""The rows of the table `bandit_arms`, which follow from a move: what a bandit knows of each arm."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.policies import policy_of, posterior_of
from lastaisle.feedback.metrics.intervals import share
from lastaisle.lake.tables import BANDIT_ARMS, BANDIT_ARMS_SCHEMA

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import TrafficMove
    from lastaisle.lake.lake import Lake


def arm_rows(move: TrafficMove) -> list[dict[str, Any]]:
    """Return one row an arm, with the columns of BANDIT_ARMS_SCHEMA.

    The estimated regret of an arm is the rewards that its lists would have brought more, if each list had
    brought the mean of the best arm.
    """
    bandit = bandit_of(move.trial)
    known = posterior_of(bandit)
    policy = policy_of(bandit)
    cells: dict[str, float] = {}
    for counts in known.counts.values():
        for cell, (lists, _) in counts.items():
            cells[cell] = cells.get(cell, 0.0) + lists
    cells = cells or {"": 1.0}
    chances = np.average([policy.probabilities(cell) for cell in cells], axis=0, weights=list(cells.values()))
    totals = {arm: known.totals.get(arm, (0, 0, None)) for arm in policy.arms}
    best = max((rewards / lists for lists, rewards, _ in totals.values() if lists), default=0.0)
    rows = []
    for arm, chance in zip(policy.arms, chances.tolist(), strict=True):
        lists, rewards, propensity = totals[arm]
        mean = share(rewards, lists)
        rows.append(
            {
                "move_id": move.move_id,
                "bandit": move.trial.name,
                "learned_until": datetime.fromisoformat(known.now) if known.now else None,
                "arm": arm,
                "lists": lists,
                "rewards": rewards,
                "mean": mean.value,
                "low": mean.low,
                "high": mean.high,
                "share": bandit.share,
                "policy_probability": chance,
                "probability": (1 - bandit.share) * bandit.base[arm] + bandit.share * chance,
                "mean_propensity": propensity,
                "estimated_regret": best * lists - rewards,
            }
        )
    return rows


def write_arm_rows(lake: Lake, move: TrafficMove) -> bool:
    """Write the rows of a move, once; False = they were written before."""
    table = pa.Table.from_pylist(arm_rows(move), schema=BANDIT_ARMS_SCHEMA)
    return lake.append(BANDIT_ARMS, table, key=move.move_id)

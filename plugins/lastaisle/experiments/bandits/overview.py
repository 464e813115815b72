"""All bandits at a glance: their states, and what is known of each arm."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lastaisle.experiments.bandits.arm_rows import arm_rows
from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.errors import BanditError
from lastaisle.experiments.bandits.update import checked
from lastaisle.experiments.traffic import TrafficLog, TrafficMove

BANDIT = "bandit"


def overview(log: TrafficLog, names: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return name, state, algorithm, share, reason and arms of each bandit, in the order of the names.

    Args:
        log: the table `traffic`.
        names: the bandits; all by default.

    Raises:
        BanditError: no bandit has one of the names.
    """
    moves = {name: move for name, move in sorted(log.newest().items()) if move.trial.kind == BANDIT}
    for name in names or ():
        if name not in moves:
            raise BanditError(f"no bandit is named {name!r}; there is {', '.join(moves) or 'none'}")
    return [_of(moves[name]) for name in sorted(names or moves)]


def _of(move: TrafficMove) -> dict[str, Any]:
    bandit = bandit_of(move.trial)
    shown: dict[str, Any] = {
        "name": move.trial.name,
        "state": move.state,
        "algorithm": bandit.algorithm,
        "share": bandit.share,
        "reason": move.reason,
        "moved_at": move.moved_at.isoformat(),
        "arms": [],
    }
    try:
        checked(move)
        rows = arm_rows(move)
    except (BanditError, ValueError) as error:
        return shown | {"reason": f"{move.reason}; {error}"}
    moments = {"learned_until": rows[0]["learned_until"]}
    keys = {"move_id", "bandit", "learned_until"}
    return shown | moments | {"arms": [{k: v for k, v in row.items() if k not in keys} for row in rows]}

"""Compute the state of a bandit again from outcomes, and compare it with the state that services follow."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.errors import BanditError
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.lists import read_lists
from lastaisle.experiments.bandits.policies import Posterior, posterior_of
from lastaisle.experiments.traffic import TrafficMove, read_traffic
from lastaisle.lake.errors import VersionGoneError

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake


@dataclass(frozen=True)
class Replay:
    """The comparison of a bandit's state with the state that follows from outcomes.

    Attributes:
        name: the bandit.
        move_id: the move of `traffic` whose state was compared.
        outcomes_version: the version of `outcomes` that was read.
        is_same_version: whether the state was made from this version; if not, that version is gone.
        is_equal: whether both states are equal.
        differences: one sentence for each count that differs.
    """

    name: str
    move_id: str
    outcomes_version: int
    is_same_version: bool
    is_equal: bool
    differences: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


def replay(lake: Lake, name: str) -> Replay:
    """Compute the newest state of a bandit again, from the version of `outcomes` that it was made from.

    Args:
        lake: where the tables are.
        name: the bandit; it may be stopped.

    Raises:
        BanditError: no bandit has this name, it has learned nothing yet, or its state cannot be read.
    """
    move = newest_move(lake, name)
    bandit = bandit_of(move.trial)
    if not bandit.posterior:
        raise BanditError(f"the bandit {name} has learned nothing yet: run lastaisle bandits update")
    try:
        stored = posterior_of(bandit)
    except ValueError as error:
        raise BanditError(
            f"the state of {name} in the table traffic, move {move.move_id}: {error}"
        ) from error
    try:
        lists = read_lists(lake, move.trial, stored.outcomes_version)
    except VersionGoneError:
        lists = read_lists(lake, move.trial)
    if lists.now is None:
        raise BanditError(f"the table outcomes has no rows: the state of {name} cannot be computed again")
    made = learn(bandit, lists.rows, lists.now, outcomes_version=lists.outcomes_version)
    found = _differences(stored, msgspec.convert(made, Posterior))
    is_same = lists.outcomes_version == stored.outcomes_version
    return Replay(name, move.move_id, lists.outcomes_version, is_same, not found, found)


def newest_move(lake: Lake, name: str) -> TrafficMove:
    """Return the newest move of a bandit, which may be stopped.

    Raises:
        BanditError: no bandit has this name.
    """
    moves = {key: move for key, move in read_traffic(lake).newest().items() if move.trial.kind == "bandit"}
    if name not in moves:
        raise BanditError(f"no bandit is named {name!r}; there is {', '.join(sorted(moves)) or 'none'}")
    return moves[name]


def _differences(stored: Posterior, made: Posterior) -> list[str]:
    found = []
    if stored.levels != made.levels:
        found.append(f"levels of context: {stored.levels} in traffic, {made.levels} by the outcomes")
    for arm in sorted(stored.totals | made.totals):
        old, new = stored.totals.get(arm), made.totals.get(arm)
        if old != new:
            found.append(f"{arm}: lists, rewards, mean propensity {old} in traffic, {new} by the outcomes")
    for arm in sorted(stored.counts | made.counts):
        old_cells, new_cells = stored.counts.get(arm, {}), made.counts.get(arm, {})
        for cell in sorted(old_cells | new_cells):
            if old_cells.get(cell) != new_cells.get(cell):
                pair = f"{old_cells.get(cell)} in traffic, {new_cells.get(cell)} by the outcomes"
                found.append(f"{arm} in context {cell!r}: lists, rewards {pair}")
    return found

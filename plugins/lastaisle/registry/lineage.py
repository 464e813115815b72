"""From which versions the next training may start: none that was refused or rolled back, and no descendant.

The table `training_runs` says from which version each training started. It knows the line of a version also
after the runs were deleted in MLflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.registry.ledger import (
    PROMOTE,
    REFUSE,
    REGISTER,
    RETIRE,
    WITHDRAW,
    Move,
    origin_of,
    returns,
    rolled_back_versions,
)

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader


class Lineage:
    """The versions that each version learned on from.

    Args:
        lake: where the trainings are.
        moves: all moves of the ledger, oldest first.
    """

    def __init__(self, lake: LakeReader, moves: Sequence[Move]) -> None:
        self._moves = moves
        self._rolled_back = rolled_back_versions(moves)
        self._starts: Mapping[str, str | None] = {}
        if lake.version(TRAINING_RUNS) is not None:
            runs = lake.scan(TRAINING_RUNS, ["run_id", "warm_start_version"]).to_pylist()
            self._starts = {run["run_id"]: run["warm_start_version"] for run in runs}

    def line(self, version: str) -> Iterator[str]:
        """Yield a version, the version that it started from, and so on."""
        seen, present = set[str](), version
        while present and present not in seen:
            yield present
            seen.add(present)
            origin = origin_of(self._moves, present)
            present = (origin and self._starts.get(origin.run_id)) or ""

    def rolled_back(self, version: str) -> tuple[str, Move] | None:
        """Return the version of the line that was rolled back, with the rollback; None if none was.

        A version that became champion after the rollback of an ancestor is in order again.
        """
        in_order_since = -1
        for ancestor in self.line(version):
            back = self._rolled_back.get(ancestor)
            if back is not None and self._moves.index(back) > in_order_since:
                return ancestor, back
            in_order_since = max(in_order_since, self._became_champion(ancestor))
        return None

    def _became_champion(self, version: str) -> int:
        """Return the place of the newest move that made a version champion; -1 if there is none."""
        moves = enumerate(self._moves)
        own = (place for place, move in moves if move.to_version == version and _promotes(move))
        return max(own, default=-1)

    def refused(self, version: str) -> tuple[str, Move] | None:
        """Return the version of the line that the gate refused, or that failed a step, with that move."""
        for ancestor in self.line(version):
            judged = [move for move in self._moves if move.to_version == ancestor and _judges(move)]
            if judged and judged[-1].action in (REFUSE, RETIRE, WITHDRAW):
                return ancestor, judged[-1]
        return None

    def unfit(self, version: str) -> str | None:
        """Say why no training may start from a version; None if one may."""
        found = self.rolled_back(version) or self.refused(version)
        if found is None:
            return None
        ancestor, move = found
        past = "was rolled back" if returns(move) else "was refused"
        past = "was withdrawn" if move.action == WITHDRAW else past
        descends = (
            "" if ancestor == version else f"version {version} learned on from version {ancestor}, and "
        )
        moment = f"{move.moved_at:%Y-%m-%d %H:%M} UTC"
        return f"{descends}version {ancestor} {past} on {moment} by {move.actor}: {move.reason}"


def _promotes(move: Move) -> bool:
    return move.action == PROMOTE or returns(move)


def _judges(move: Move) -> bool:
    return move.action in (REGISTER, PROMOTE, REFUSE, RETIRE, WITHDRAW)

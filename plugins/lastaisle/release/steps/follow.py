"""Let the table `traffic` follow the ledger: the shadow and the canary run, and no others.

The ledger alone decides which version is shadow and which is canary. After a kill between the two tables, the
next call writes the rows that `traffic` lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from lastaisle.baseline.hours import CANARY_ARM, CONTROL, trial_of
from lastaisle.experiments.assignment import ranges_of_phases
from lastaisle.experiments.traffic import (
    CANARY,
    RUNNING,
    SHADOW,
    Arm,
    Phase,
    State,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.feedback.clock import data_clock
from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.retries import ATTEMPTS, retry_overtaken
from lastaisle.registry.ledger import PROMOTE, Move, Standing
from lastaisle.release.gate import SHARE, Check, Decision

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

logger = logging.getLogger(__name__)


class _Step(NamedTuple):
    """A step that a version takes, or took.

    Attributes:
        began: the move of the ledger with which it began.
        ended: the move with which it ended; None = it goes on.
    """

    began: Move
    ended: Move | None


def share_check(share: float, of: str) -> Check:
    """Return the row of a decision table that holds the share of a step."""
    return Check(SHARE, passed=True, reason=f"The version gets {share:.1%} of the {of}.", value=share)


def shadow_trial(version: str) -> str:
    """Return the name of the trial of a shadow."""
    return f"shadow-{version}"


def sync_traffic(lake: Lake, moves: Sequence[Move]) -> None:
    """Write the rows that `traffic` lacks: a start for each step that goes on, an end for each that is over.

    A second call writes nothing. A trial that people stopped stays stopped.

    Args:
        lake: where the table is.
        moves: all moves of the ledger, oldest first.

    Raises:
        LakeConflictError: other writers won every attempt.
    """
    steps = _steps(moves)
    if not steps:
        return
    lost = f"other writers won {ATTEMPTS} attempts to write into the table traffic; run again"
    retry_overtaken(lost, LakeConflictError)(lambda: _sync(lake, steps))


def _sync(lake: Lake, steps: dict[str, _Step]) -> None:
    """Write the missing rows once.

    Raises:
        LakeConflictError: another writer came between.
    """
    for move in _missing(lake, steps):
        log = read_traffic(lake)
        if write_move(lake, move, log):
            logger.info("%s is %s: %s", move.trial.name, move.state, move.reason)


def _missing(lake: Lake, steps: dict[str, _Step]) -> Iterable[TrafficMove]:
    """Return the rows that `traffic` lacks."""
    log = read_traffic(lake)
    written, newest = {move.move_id for move in log.moves}, log.newest()
    for name, step in steps.items():
        held = newest.get(name)
        if step.ended is None:
            move_id = f"{step.began.move_id}/traffic"
            share = _share(step.began)
            if move_id not in written and share:  # a candidate that only waits has no share
                yield _move(move_id, RUNNING, _trial(name, step.began, share, _now(lake)), step.began)
        elif held is not None and held.state == RUNNING:
            state: State = "decided" if step.ended.action in (PROMOTE, CANARY) else "stopped"
            yield _move(f"{step.ended.move_id}/traffic/{name}", state, held.trial, step.ended)


def _move(move_id: str, state: State, trial: Trial, cause: Move) -> TrafficMove:
    return TrafficMove(move_id, datetime.now(UTC), state, trial, cause.reason, cause.actor)


def _steps(moves: Sequence[Move]) -> dict[str, _Step]:
    """Return the last step of each version, by the name of its trial."""
    steps: dict[str, _Step] = {}
    before = Standing()
    for move in moves:
        after = before.after(move)
        for name, was, now in (
            (shadow_trial, before.shadow, after.shadow),
            (trial_of, before.canary, after.canary),
        ):
            if was is not None and now != was:
                steps[name(was)] = _Step(steps[name(was)].began, move)
            if now is not None and now != was:
                steps[name(now)] = _Step(move, None)
        before = after
    return steps


def _now(lake: Lake) -> datetime:
    """Return the clock of the data: shoppers' logs may lie in the past."""
    now, newest = datetime.now(UTC), data_clock(lake)
    return now if newest is None else min(now, newest)


def _trial(name: str, began: Move, share: float, starts_at: datetime) -> Trial:
    """Return the trial of a step."""
    version = began.to_version
    if name == shadow_trial(version):
        arms = (Arm(name=SHADOW, version=version),)
        return Trial(name=name, kind="shadow", arms=arms, layer=SHADOW, share=share, starts_at=starts_at)
    ranges = ranges_of_phases([{CANARY_ARM: share, CONTROL: 1 - share}])[0]
    return Trial(
        name=name,
        kind="canary",
        arms=(Arm(name=CONTROL), Arm(name=CANARY_ARM, version=version)),
        layer=CANARY,
        starts_at=starts_at,
        phases=(Phase(starts_at=starts_at, ranges=ranges),),
    )


def _share(began: Move) -> float | None:
    """Return the share of a step, from the decision table of its move; None if it has none."""
    checks = Decision.from_json(began.decision).checks if began.decision else ()
    return next((check.value for check in checks if check.name == SHARE), None)

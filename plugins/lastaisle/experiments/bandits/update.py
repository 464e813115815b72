"""Bring bandits up to date: what each has learned follows from the table `outcomes` alone."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lastaisle.experiments.bandits.apprentice import ShareDecision, next_share
from lastaisle.experiments.bandits.arm_rows import arm_rows, write_arm_rows
from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.errors import BanditError
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.lists import Lists, read_lists
from lastaisle.experiments.bandits.options import problems_of
from lastaisle.experiments.bandits.policies import Posterior, posterior_of
from lastaisle.experiments.traffic import (
    RUNNING,
    Bandit,
    TrafficLog,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.lake.retries import retry_conflicts

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

ATTEMPTS: Final = 8
BANDIT: Final = "bandit"


@dataclass(frozen=True)
class BanditReport:
    """What an update did with one bandit.

    Attributes:
        name: the bandit.
        changed: whether it learned something, or its share moved.
        reason: what happened, in sentences.
        share: the share of lists that follow the policy now.
        lists: the lists of the window, also those that still wait for their rewards.
        left_out: for each reason the number of lists that cannot be learned from.
        arms: for each arm the rows of the table `bandit_arms`.
        decision: the rules about the share, with value, threshold and verdict.
        problem: why the bandit could not be brought up to date; empty if it was.
    """

    name: str
    changed: bool = False
    reason: str = ""
    share: float = 0.0
    lists: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    arms: list[dict[str, Any]] = field(default_factory=list)
    decision: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


def update_bandits(
    lake: Lake,
    names: Collection[str] | None = None,
    *,
    actor: str = "lastaisle",
    progress: Callable[[float, str], None] = lambda share, step: None,
) -> list[BanditReport]:
    """Let running bandits learn from the newest outcomes, and move their shares by the gate.

    Each bandit gets at most one row in `traffic`, and then its rows in `bandit_arms`. A killed update is run
    again; an update without news writes nothing. The problem of one bandit does not stop the others.

    Args:
        lake: where the tables are.
        names: the bandits; all running bandits by default.
        actor: the person or the DAG run.
        progress: called with the share of the work that is done, and the next bandit.

    Raises:
        BanditError: a name is no running bandit.
        LakeConflictError: other writers won every attempt; run again.
    """
    running = running_bandits(read_traffic(lake))
    for name in names or ():
        if name not in running:
            raise BanditError(f"no running bandit is named {name}: {', '.join(running) or 'no bandit'} runs")
    chosen = sorted(names or running)
    reports = []
    for number, name in enumerate(chosen):
        progress(number / len(chosen), name)
        try:
            reports.append(retry_conflicts(ATTEMPTS)(_update, lake, name, actor))
        except BanditError as error:
            reports.append(BanditReport(name, problem=str(error)))
    progress(1.0, "done")
    return reports


def running_bandits(log: TrafficLog) -> dict[str, TrafficMove]:
    """Return the newest move of each running bandit, by its name."""
    return {name: move for name, move in sorted(log.newest().items()) if _is_running_bandit(move)}


def is_same(one: Bandit, other: Bandit) -> bool:
    """Tell whether two states of a bandit say the same, from whichever version of `outcomes` they come."""
    return _said(one) == _said(other)


def _said(bandit: Bandit) -> tuple[Bandit, Posterior | None]:
    """Return a bandit without its posterior, and the posterior without its origin; None if unreadable."""
    try:
        known = msgspec.structs.replace(posterior_of(bandit), outcomes_version=-1, now="")
    except ValueError:
        known = None
    return msgspec.structs.replace(bandit, posterior={}), known


def _is_running_bandit(move: TrafficMove) -> bool:
    return move.state == RUNNING and move.trial.kind == BANDIT


def _update(lake: Lake, name: str, actor: str) -> BanditReport:
    log = read_traffic(lake)
    move = running_bandits(log).get(name)
    if move is None:
        return BanditReport(name, reason="It was stopped meanwhile.")
    before = checked(move)
    lists = read_lists(lake, move.trial)
    after, decision = before, None
    if lists.now is not None:
        posterior = learn(before, lists.rows, lists.now, outcomes_version=lists.outcomes_version)
        since = _share_since(log, move)
        decision = next_share(move.trial, lists.rows, since=since, now=lists.now)
        after = msgspec.structs.replace(before, posterior=posterior, share=decision.share)
    if is_same(before, after):
        if before.posterior:
            write_arm_rows(lake, move)  # a kill may have left them out
        return _report(move, lists, decision, changed=False)
    if before.posterior and _said(before)[1] is not None:
        write_arm_rows(lake, move)
    trial = msgspec.structs.replace(move.trial, bandit=after)
    made = TrafficMove(
        move_id=f"{name}-{_digest(move.move_id, trial)}",
        moved_at=datetime.now(UTC),
        state=RUNNING,
        trial=trial,
        reason=_reason(lists, decision),
        actor=actor,
    )
    write_move(lake, made, log)
    write_arm_rows(lake, made)
    return _report(made, lists, decision, changed=True)


def checked(move: TrafficMove) -> Bandit:
    """Return the bandit of a move.

    Raises:
        BanditError: it cannot run; the message says why.
    """
    bandit = bandit_of(move.trial)
    problems = problems_of(bandit, tuple(arm.name for arm in move.trial.arms))
    if problems:
        raise BanditError(
            f"the bandit {move.trial.name} in the table traffic cannot run: {'; '.join(problems)}. "
            "Correct its definition, and apply it"
        )
    return bandit


def _digest(move_id: str, trial: Trial) -> str:
    return hashlib.sha256(move_id.encode() + msgspec.json.encode(trial)).hexdigest()[:16]


def _share_since(log: TrafficLog, newest: TrafficMove) -> datetime:
    """Return since when a bandit has its share, by the clock of the data."""
    since = newest.trial.starts_at
    moves = [move for move in log.moves if move.trial.name == newest.trial.name and move.trial.bandit]
    for move, earlier in itertools.pairwise(reversed(moves)):
        if bandit_of(earlier.trial).share != bandit_of(newest.trial).share:
            moment = str(bandit_of(move.trial).posterior.get("now", ""))
            return max(since, datetime.fromisoformat(moment)) if moment else since
    return since


def _reason(lists: Lists, decision: ShareDecision | None) -> str:
    learned = f"{lists.rows.num_rows:,} lists until {lists.now} are known"
    return f"{learned}; {decision.reason}" if decision else learned


def _report(
    move: TrafficMove, lists: Lists, decision: ShareDecision | None, *, changed: bool
) -> BanditReport:
    return BanditReport(
        name=move.trial.name,
        changed=changed,
        reason=_reason(lists, decision),
        share=bandit_of(move.trial).share,
        lists=lists.rows.num_rows,
        left_out=lists.left_out,
        arms=arm_rows(move),
        decision=decision.to_dict()["table"] if decision else [],
    )

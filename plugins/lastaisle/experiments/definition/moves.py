"""Moves of experiments and bandits: found by name, numbered one after the other, and stopped by people."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.experiments.traffic import (
    RUNNING,
    State,
    TrafficLog,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.lake.retries import ATTEMPTS, retry_conflicts
from lastaisle.yaml_model import closest

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

Outcome = Literal["started", "changed", "stopped", "as before", "over", "without a file"]
DEFINED: Final = ("experiment", "bandit")
"""The kinds of trials that have a definition; the moves of a release make the others."""


class UnknownTrialError(LastaisleError):
    """There is no experiment or bandit of this name."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class Applied:
    """What became of one experiment or bandit.

    Attributes:
        name: its name.
        outcome: started, changed, stopped, as before, over (it ran once), or without a file.
        reason: the sentence of the move, or why there is none.
        notes: what may surprise.
    """

    name: str
    outcome: Outcome
    reason: str
    notes: tuple[str, ...] = ()


def newest_of(log: TrafficLog, name: str) -> TrafficMove:
    """Return the newest move of an experiment or a bandit.

    Raises:
        UnknownTrialError: there is none of this name.
    """
    newest = {key: move for key, move in log.newest().items() if move.trial.kind in DEFINED}
    if name not in newest:
        hint = closest(name, list(newest), "the names are") if newest else "none was ever applied"
        raise UnknownTrialError(f"there is no experiment or bandit {name[:60]!r}; {hint}")
    return newest[name]


def next_move(
    log: TrafficLog, trial: Trial, state: State, now: datetime, *, reason: str, actor: str
) -> TrafficMove:
    """Return the next move of the table; two that say the same of a trial have one id."""
    digest = hashlib.sha256(msgspec.json.encode([state, trial])).hexdigest()[:16]
    move_id = f"define/{trial.name}/{log.next_entry}-{digest}"
    return TrafficMove(move_id, now, state, trial, reason, actor)


def told_over(move: TrafficMove) -> str:
    """Say that a trial ran once, and what to do."""
    return (
        f"{move.state} since {move.moved_at:%Y-%m-%d %H:%M} UTC ({move.reason}). A name is used once: to run "
        "it again, give it a new name; else remove the file"
    )


def stop_trial(lake: Lake, name: str, reason: str, now: datetime, actor: str) -> Applied:
    """Stop an experiment or a bandit for good; services end it with their next look.

    Raises:
        UnknownTrialError: there is no experiment or bandit of this name.
    """

    def attempt() -> Applied:
        log = read_traffic(lake)
        newest = newest_of(log, name)
        if newest.state != RUNNING:
            return Applied(name, "over", told_over(newest))
        write_move(lake, next_move(log, newest.trial, "stopped", now, reason=reason, actor=actor), log)
        return Applied(name, "stopped", reason)

    return retry_conflicts(ATTEMPTS)(attempt)

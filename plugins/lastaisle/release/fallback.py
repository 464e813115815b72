"""Decide when a full training is due, because the gate keeps refusing warm starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lastaisle.registry.ledger import DECISIONS, REFUSE, Move, returns
from lastaisle.registry.plan import kind_of
from lastaisle.release.approval import APPROVAL
from lastaisle.release.decisions import stored_decision
from lastaisle.training.kinds import KINDS

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

REFUSALS = 2


def refused_in_a_row(moves: Iterable[Move], tells: Callable[[Move], bool]) -> tuple[Move, ...]:
    """Return the refusals of incremental candidates since the gate last passed a candidate, oldest first.

    A rollback begins a new row as well.

    Args:
        moves: all moves of the ledger, oldest first.
        tells: whether a refusal says anything of the model. A refusal for want of targets, or because the
            feed was broken, does not: a full training would be judged by the same data.
    """
    streak: list[Move] = []
    for move in moves:
        if move.action == REFUSE:
            if _falls_back(move.run_key) and tells(move):
                streak.append(move)
        elif move.action in DECISIONS or returns(move):
            streak.clear()
    return tuple(streak)


def _falls_back(run_key: str) -> bool:
    """Tell whether a refused candidate of this training counts towards a full training."""
    kind = KINDS.get(kind_of(run_key))
    return kind is not None and kind.falls_back


def tells_of_the_model(move: Move, registry: Registry) -> bool:
    """Tell whether a refusal is about the model, by the stored decision; without a decision, it is.

    A candidate that people rejected, or that nobody approved in time, says nothing of the model either.
    """
    decision = stored_decision(move, registry)
    if decision is None:
        return True
    rejected = any(check.name == APPROVAL and not check.passed for check in decision.checks)
    return decision.judged and not rejected


def full_training_due(moves: Iterable[Move], version: str, tells: Callable[[Move], bool]) -> str | None:
    """Return why a full training is due after the decision on this version; None = no training is due.

    A full training is due once in a row of refusals, after the second refusal. If the gate refuses the full
    training too, a third warm start shows nothing new, and people should look into it.

    Args:
        moves: all moves of the ledger, oldest first.
        version: the candidate's version.
        tells: see `refused_in_a_row`.
    """
    streak = refused_in_a_row(moves, tells)
    if len(streak) < REFUSALS or streak[REFUSALS - 1].to_version != version:
        return None
    refused = " and ".join(f"version {move.to_version}" for move in streak[:REFUSALS])
    return f"The gate refused {refused}, warm starts of version {streak[0].from_version}, in a row."

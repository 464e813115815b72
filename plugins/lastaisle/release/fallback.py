"""Decide when a full training is due, because the gate keeps refusing warm starts."""

from __future__ import annotations

from collections.abc import Iterable

from lastaisle.registry.ledger import PROMOTE, REFUSE, ROLLBACK, Move
from lastaisle.registry.plan import kind_of
from lastaisle.training.kinds import KINDS

REFUSALS = 2


def refused_in_a_row(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Return the refusals of incremental candidates since the champion last moved, oldest first."""
    streak: list[Move] = []
    for move in moves:
        if move.action in (PROMOTE, ROLLBACK):
            streak.clear()
        elif move.action == REFUSE and _falls_back(move.run_key):
            streak.append(move)
    return tuple(streak)


def _falls_back(run_key: str) -> bool:
    """Tell whether a refused candidate of this training counts towards a full training."""
    kind = KINDS.get(kind_of(run_key))
    return kind is not None and kind.falls_back


def full_training_due(moves: Iterable[Move], version: str) -> str | None:
    """Return why a full training is due after the decision on this version; None = no training is due.

    A full training is due once in a row of refusals, after the second refusal. If the gate refuses the full
    training too, a third warm start shows nothing new, and people should look into it.

    Args:
        moves: all moves of the ledger, oldest first.
        version: the candidate's version.
    """
    streak = refused_in_a_row(moves)
    if len(streak) < REFUSALS or streak[REFUSALS - 1].to_version != version:
        return None
    refused = " and ".join(f"version {move.to_version}" for move in streak[:REFUSALS])
    return f"The gate refused {refused}, warm starts of version {streak[0].from_version}, in a row."

"""When warm starts no longer lead anywhere: a full training instead."""

from __future__ import annotations

from collections.abc import Iterable

from lastaisle.registry.ledger import PROMOTE, REFUSE, ROLLBACK, Move

REFUSALS = 2


def refused_in_a_row(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Return the refusals of incremental candidates since champion moved last, oldest first."""
    streak: list[Move] = []
    for move in moves:
        if move.action in (PROMOTE, ROLLBACK):
            streak.clear()
        elif move.action == REFUSE and move.run_key.startswith("incremental-"):
            streak.append(move)
    return tuple(streak)


def full_training_due(moves: Iterable[Move], version: str) -> str | None:
    """Say why a full training is due after this version was decided on; None = it is not.

    It is due once in a streak, with its second refusal: if the full training is refused too, a third warm
    start tells nothing new, and people should look.

    Args:
        moves: the ledger's, oldest first.
        version: the candidate's.
    """
    streak = refused_in_a_row(moves)
    if len(streak) < REFUSALS or streak[REFUSALS - 1].to_version != version:
        return None
    refused = " and ".join(f"version {move.to_version}" for move in streak[:REFUSALS])
    return f"The gate refused {refused}, warm starts of version {streak[0].from_version}, in a row."

"""The moves of the ledger, read once for all pages, and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastaisle.lake.tables import RELEASES
from lastaisle.registry.ledger import (
    ADOPT,
    ANCHOR,
    CANARY,
    LOST,
    MOVED_BY_HAND,
    PROMOTE,
    PRUNE,
    REFUSE,
    REGISTER,
    RETIRE,
    ROLLBACK,
    SHADOW,
    WITHDRAW,
    Ledger,
    Move,
)

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source

_WITHOUT_OTHER: Final = {
    REGISTER: "Version {new} was registered",
    PROMOTE: "Version {new} became champion",
    REFUSE: "Version {new} was refused",
    ROLLBACK: "Version {new} became champion by a rollback",
    ANCHOR: "Version {new} became the anchor",
    SHADOW: "Version {new} became shadow",
    CANARY: "Version {new} became canary",
    RETIRE: "Version {new} is no longer {alias}",
    LOST: "Version {new} is gone from MLflow",
    PRUNE: "Version {new} was deleted, since nothing needs it",
    WITHDRAW: "Version {new} lost its aliases, since it learned from erased shoppers",
    MOVED_BY_HAND: "Somebody moved {alias} in MLflow to version {new}; it was put back",
    ADOPT: "Somebody moved {alias} in MLflow to version {new}; it stays there",
}
_WITH_OTHER: Final = {
    PROMOTE: ", after version {old}",
    REFUSE: "; version {old} stays champion",
    ROLLBACK: ", after version {old}",
    ANCHOR: ", after version {old}",
    SHADOW: ", in place of version {old}",
    CANARY: ", in place of version {old}",
}
TONES: Final = {PROMOTE: "good", REFUSE: "bad", ROLLBACK: "warn", LOST: "bad", MOVED_BY_HAND: "warn"}
"""The colour of the badge of an action; other actions have none."""


def read_moves(source: Source) -> tuple[Move, ...]:
    """Return all moves, oldest first; the table is read once for each of its versions."""
    ledger = Ledger(source.lake, source.settings.registry.model_name)
    return source.once("moves", [RELEASES], ledger.moves)


def sentence(move: Move) -> str:
    """Say what a move did, such as "Version 3 became champion, after version 1"."""
    text = _WITHOUT_OTHER.get(move.action, "{alias} moved to version {new}")
    if move.from_version is not None:
        text += _WITH_OTHER.get(move.action, "")
    if move.action == MOVED_BY_HAND and not move.to_version:
        text = "Somebody removed {alias} in MLflow; it was put back"
    return text.format(new=move.to_version, old=move.from_version, alias=move.alias) + "."


def tone(move: Move) -> str:
    """Return the class of the badge of a move; empty for none."""
    return TONES.get(move.action, "")

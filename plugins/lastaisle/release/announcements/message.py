"""What is announced: one message for each move that changes which version answers, and each trial's end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lastaisle.experiments.traffic import RUNNING, TrafficLog
from lastaisle.registry.ledger import (
    ADOPT,
    CANARY,
    LOST,
    MOVED_BY_HAND,
    PROMOTE,
    RETIRE,
    ROLLBACK,
    SHADOW,
    Move,
    Standing,
)

#: The type of the message for each action of the ledger; other actions change nothing for services.
TYPES: Final[Mapping[str, str]] = {
    PROMOTE: "release.promoted",
    ROLLBACK: "release.rolled_back",
    SHADOW: "release.shadow",
    CANARY: "release.canary",
    RETIRE: "release.retired",
    LOST: "release.lost",
    MOVED_BY_HAND: "release.moved_by_hand",
    ADOPT: "release.adopted",
}
TEST: Final = "webhook.test"
#: The kinds of trials whose end is announced. A shadow and a canary end by moves of the ledger.
_ANNOUNCED_TRIALS: Final = ("experiment", "bandit")
_LONGEST_REASON: Final = 2000  # characters; receivers often refuse bodies above 20 kB


@dataclass(frozen=True)
class Message:
    """One announcement.

    Attributes:
        id: names the move, so that a receiver knows a message that comes twice.
        type: such as release.promoted.
        at: when the move was decided (UTC).
        data: what receivers get to know of the move.
    """

    id: str
    type: str
    at: datetime
    data: dict[str, Any]

    def body(self) -> bytes:
        """Return the body, the same bytes at each try."""
        at = self.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return json.dumps({"id": self.id, "type": self.type, "timestamp": at, "data": self.data}).encode()


def messages_of_releases(moves: Sequence[tuple[int, Move]], after: int) -> list[Message]:
    """Return the messages of the ledger's moves after an entry, oldest first.

    Args:
        moves: all moves of a model with their entries, oldest first.
        after: the entry after which moves are announced.
    """
    stands, messages = Standing(), []
    for entry, move in moves:
        stands = stands.after(move)
        if entry > after and move.action in TYPES:
            data = {
                "entry": entry,
                "model": move.model_name,
                "version": move.to_version or None,
                "from_version": move.from_version,
                "champion": stands.champion,
                "reason": (move.reason or "")[:_LONGEST_REASON],
            }
            message_id = _id_of("releases", move.model_name, move.move_id)
            messages.append(Message(message_id, TYPES[move.action], move.moved_at, data))
    return messages


def messages_of_trials(log: TrafficLog, after: int) -> list[Message]:
    """Return the messages of experiments and bandits that ended after an entry of `traffic`, oldest first."""
    running, messages = set[str](), []
    for move in log.moves:
        name, kind = move.trial.name, move.trial.kind
        if move.state == RUNNING:
            running.add(name)
        elif name in running:
            running.discard(name)
            if move.entry > after and kind in _ANNOUNCED_TRIALS:
                data = {"name": name, "state": move.state, "reason": (move.reason or "")[:_LONGEST_REASON]}
                message_id = _id_of("traffic", name, move.move_id)
                messages.append(Message(message_id, f"{kind}.ended", move.moved_at, data))
    return messages


def _id_of(*names: str) -> str:
    """Return the id of a message. It is a digest, because ids of moves may hold names of people."""
    return f"msg_{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]}"

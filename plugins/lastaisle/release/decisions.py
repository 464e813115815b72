"""Read the gate's decision on a version, without the libraries that release a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastaisle.release.gate import Decision

if TYPE_CHECKING:
    from lastaisle.registry.ledger import Move
    from lastaisle.registry.registry import Registry

DECISION: Final = "release/decision.json"
"""The artifact of a run that holds the decision."""


def stored_decision(made: Move, registry: Registry) -> Decision | None:
    """Return a decision that the gate made; None if an older release made it, and its file is gone."""
    text = made.decision or registry.read_text(made.run_id, DECISION)
    return None if text is None else Decision.from_json(text)

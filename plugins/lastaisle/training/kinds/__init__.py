"""The kinds of training: one class each, which says what is read, how it is learned and who judges."""

from __future__ import annotations

from typing import Any

from lastaisle.registry.plan import TrainingPlan
from lastaisle.training.kinds.federated import Federated
from lastaisle.training.kinds.full import Full
from lastaisle.training.kinds.incremental import Incremental
from lastaisle.training.kinds.kind import TrainingKind, WindowKind
from lastaisle.training.kinds.refresh import Refresh

# The kinds that learn a window of hours before a moment; see lastaisle.training.planning.
WINDOW_KINDS: dict[str, WindowKind] = {kind.name: kind for kind in (Incremental(), Full(), Federated())}
KINDS: dict[str, TrainingKind[Any]] = {**WINDOW_KINDS, Refresh.name: Refresh()}


def kind_for(plan: TrainingPlan) -> TrainingKind[Any]:
    """Return the kind of a planned training."""
    return KINDS[plan.kind]

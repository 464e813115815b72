"""How many shoppers an experiment needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Trial
    from lastaisle.lake.lake import Lake


def planned_units(lake: Lake, trial: Trial) -> int | None:
    """Return how many shoppers an experiment needs."""
    return None

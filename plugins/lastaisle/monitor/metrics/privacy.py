"""Metrics of the privacy budget, composed from the table `privacy_spent`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lastaisle.lake.tables import PRIVACY_SPENT
from lastaisle.lake.tables import TRAINING_RUNS as RUNS_TABLE
from lastaisle.monitor.metrics.families import (
    PRIVACY_BUDGET,
    PRIVACY_EPSILON,
    PRIVACY_TRAININGS,
    Sample,
)
from lastaisle.privacy.budget.budget import budget_of

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader
    from lastaisle.settings.sections import PrivacySettings

PART: Final = "privacy"
READS: Final = (PRIVACY_SPENT, RUNS_TABLE)


def read_budget(lake: LakeReader, privacy: PrivacySettings, now: datetime) -> Iterator[Sample]:
    """Yield what was spent by unit, the budget if one is set, and the trainings with and without noise."""
    budget = budget_of(lake, privacy, now, with_pld=False)  # PLD takes seconds after many trainings
    for one in budget.units:
        yield Sample(PRIVACY_EPSILON, one.spent.epsilon, (one.unit,))
    if budget.limit:
        yield Sample(PRIVACY_BUDGET, budget.limit)
    yield Sample(PRIVACY_TRAININGS, len(budget.trainings), ("with",))
    yield Sample(PRIVACY_TRAININGS, len(budget.not_private), ("without",))

"""How strict guardrails are: a part of the file of release rules."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from lastaisle.baseline.measures import MEASURES, MeasureName
from lastaisle.yaml_model import Part, all_different

#: More promotions than so many a year make each of them stricter, so that the false rollbacks stay as few.
LEAST_PROMOTIONS_A_YEAR: Final = 52.0


class GuardrailLimits(Part):
    """How strict guardrails are."""

    roll_back: bool = Field(
        default=True, description="Whether a drop rolls back; otherwise it is only reported."
    )
    measures: Annotated[list[MeasureName], AfterValidator(all_different)] = Field(
        default=list(MEASURES), description="The measures that are watched."
    )
    false_rollbacks_a_year: float = Field(
        default=0.5,
        gt=0,
        le=50,
        description="How many rollbacks a year chance alone may cause, over all measures.",
    )
    smallest_drop: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="A drop of a smaller share of the level before does not roll back.",
    )
    watch_hours: float = Field(
        default=336.0,
        gt=0,
        le=8760,
        description="How long after its first list a champion is watched, in hours.",
    )
    cooldown_hours: float = Field(
        default=24.0, ge=0, le=8760, description="So many hours after a rollback, no version is rolled back."
    )
    maturity_hours: float = Field(
        default=2.0,
        ge=0,
        le=168,
        description="The newest hours that do not count: their sessions still go on.",
    )
    error_share: float = Field(
        default=0.01, ge=0, le=1, description="The share of a service's answers that may be errors."
    )
    empty_share: float = Field(
        default=0.05, ge=0, le=1, description="The share of the lists that may be empty."
    )
    latency_ratio: float = Field(
        default=2.0,
        ge=1,
        description="How many times slower than the version before a version may be, at p99.",
    )
    latency_seconds: float = Field(
        default=0.1, ge=0, description="A version whose p99 is below this many seconds is fast enough."
    )
    min_requests: int = Field(
        default=500, ge=1, description="With fewer requests, errors, empty lists and latency are not judged."
    )

    def alpha(self, promotions_a_year: float) -> float:
        """Return the alpha of each sequence, to both sides together; a rollback needs one side of it.

        Args:
            promotions_a_year: how often the champion moves.
        """
        sequences = max(promotions_a_year, LEAST_PROMOTIONS_A_YEAR) * max(len(self.measures), 1)
        return min(2 * self.false_rollbacks_a_year / sequences, 0.5)

"""The facts of a version that a model card is written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.release.privacy import VersionPrivacy, recorded_privacy

if TYPE_CHECKING:
    from lastaisle.evaluation.report import Evaluation, EvaluationReport
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.release.gate import Decision


@dataclass(frozen=True)
class Facts:
    """The records of a version. Every figure of its card comes from them.

    Attributes:
        version: its number in the registry.
        plan: the plan of its training.
        report: the report of its evaluation.
        decision: the gate's decision.
        tags: the tags of its MLflow run.
        measured: the metrics of its MLflow run.
        trained_at: when its training ended, UTC.
        forced: who made the version champion although the gate did not promote it, when and why; None = no
            person did.
    """

    version: str
    plan: TrainingPlan
    report: EvaluationReport
    decision: Decision
    tags: Mapping[str, str]
    measured: Mapping[str, float]
    trained_at: datetime
    forced: str | None = None

    @property
    def title(self) -> str:
        """The card's heading."""
        return f"Model card: {self.plan.model_name}, version {self.version}"

    @property
    def verdict(self) -> str:
        """The gate's decision in one word."""
        if not self.decision.promote:
            return "refused"
        return "passed the gate" if self.decision.takes_step else "promoted"

    @property
    def privacy(self) -> VersionPrivacy:
        """What the version spent of the privacy budget."""
        return recorded_privacy(self.tags, self.measured)

    @property
    def rival(self) -> str:
        """The model of the evaluation that the candidate is compared with: the champion, if there was one."""
        return "popularity" if self.report.champion is None else "champion"

    @property
    def rival_evaluation(self) -> Evaluation:
        """The evaluation of the rival."""
        return self.report.models[self.rival]

"""What an evaluation measured, as plain data: the gate reads it, MLflow keeps it as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CHURN = "churn@20"
PAIRED_LEVEL = 0.8  # of the intervals of differences between two models, on which the gate decides


@dataclass(frozen=True)
class Estimate:
    """A mean over evaluation targets with its bootstrap interval.

    Attributes:
        value: the mean.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """One model on one set of targets.

    Attributes:
        targets: how many next items were to be predicted.
        metrics: metric name ("recall@20") to its estimate; coverage has no interval, so low = value = high.
        against: name of another model to metric name to the paired difference (this model less the other, on
            the same targets); against the champion also churn@20, the mean share of its lists of 20
            that this model does not have.
    """

    targets: int
    metrics: Mapping[str, Estimate]
    against: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scores:
        """Read what `dataclasses.asdict` wrote."""
        return cls(
            targets=data["targets"],
            metrics={name: Estimate(**value) for name, value in data["metrics"].items()},
            against={
                other: {name: Estimate(**value) for name, value in metrics.items()}
                for other, metrics in data["against"].items()
            },
        )


@dataclass(frozen=True)
class Evaluation:
    """One model on the evaluation sessions.

    Attributes:
        name: its part in the comparison: candidate, champion, popularity or cooccurrence.
        version: its version in the registry, where it has one.
        overall: on all targets.
        slices: name of a slice to the scores on its targets.
    """

    name: str
    overall: Scores
    slices: Mapping[str, Scores] = field(default_factory=dict)
    version: str | None = None

    @property
    def objectives(self) -> dict[str, Scores]:
        """The scores on each objective: the next item of all, and those of which there were targets."""
        from models.evaluation.objectives import OBJECTIVES

        return {"next_item": self.overall} | {
            name: self.slices[name] for name in OBJECTIVES if name in self.slices
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read what `dataclasses.asdict` wrote."""
        return cls(
            name=data["name"],
            overall=Scores.from_dict(data["overall"]),
            slices={name: Scores.from_dict(value) for name, value in data["slices"].items()},
            version=data["version"],
        )


@dataclass(frozen=True)
class EvaluationReport:
    """Candidate, champion and baselines on the same sessions.

    Attributes:
        run_id: MLflow run of the candidate.
        run_key: the training it came from.
        evaluated_from: the first moment of the evaluation sessions (the window's end).
        evaluated_to: the moment after them.
        sessions: evaluation sessions with at least one target.
        targets: next items to be predicted.
        champion_version: version that was champion at that time; None for the first candidate.
        paired_level: level of the intervals of paired differences; the others are at 95 %.
        models: part (candidate, champion, popularity, cooccurrence) to its evaluation.
        left_out: reason (bots, without_consent) to the number of sessions of that time that do not evaluate.
        quarantined: share of the rows in quarantine, of those that came with these sessions; None where no
            batch tells, and in reports of old.
    """

    run_id: str
    run_key: str
    evaluated_from: datetime
    evaluated_to: datetime
    sessions: int
    targets: int
    champion_version: str | None
    paired_level: float
    models: Mapping[str, Evaluation]
    left_out: Mapping[str, int] = field(default_factory=dict)
    quarantined: float | None = None

    @property
    def candidate(self) -> Evaluation:
        """The candidate's evaluation."""
        return self.models["candidate"]

    @property
    def champion(self) -> Evaluation | None:
        """The champion's evaluation, unless there was none."""
        return self.models.get("champion")

    @property
    def churn(self) -> Estimate | None:
        """How much of the champion's lists changes; None without a champion, and in reports of old."""
        return self.candidate.overall.against.get("champion", {}).get(CHURN)

    def to_json(self) -> str:
        """Write as JSON, times in ISO 8601."""
        return json.dumps(dataclasses.asdict(self), default=datetime.isoformat, indent=1)

    @classmethod
    def from_json(cls, text: str) -> EvaluationReport:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        data["models"] = {name: Evaluation.from_dict(value) for name, value in data["models"].items()}
        for name in ("evaluated_from", "evaluated_to"):
            data[name] = datetime.fromisoformat(data[name])
        return cls(**data)

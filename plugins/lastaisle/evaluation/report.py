"""The report of an evaluation, as plain data: the gate reads it, and MLflow keeps it as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM, OBJECTIVES

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

REPORT = "evaluation/report.json"
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
        targets: number of next items to predict.
        metrics: metric name ("recall@20") to its estimate; coverage has no interval, so low = value = high.
        against: name of another model to metric name to the paired difference: this model less the other
            model, on the same targets. Against the champion it also has churn@20: the mean share of the
            champion's lists of 20 that this model does not have.
    """

    targets: int
    metrics: Mapping[str, Estimate]
    against: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """One model on the evaluation sessions.

    Attributes:
        name: the role of the model: candidate, champion, anchor, or a baseline (popularity, repeat,
            cooccurrence).
        version: the version of the model in the registry, if it has one.
        overall: the scores on all targets, with lists that may hold items of the session.
        slices: name of a slice to the scores on its targets. Slices are cut from the targets of the served
            objective and scored with its lists; see EvaluationReport.served.
        new_item: the scores on the targets that are new to their session, with lists that leave out the items
            of the session; None if there was no such target, and in reports of older releases.
    """

    name: str
    overall: Scores
    slices: Mapping[str, Scores] = field(default_factory=dict)
    version: str | None = None
    new_item: Scores | None = None

    @property
    def objectives(self) -> dict[str, Scores]:
        """The scores on each objective: the next item, and every other objective that had targets."""
        scores = {NEXT_ITEM: self.overall}
        if self.new_item is not None:
            scores[NEW_ITEM] = self.new_item
        return scores | {name: self.slices[name] for name in OBJECTIVES if name in self.slices}


@dataclass(frozen=True)
class EvaluationReport:
    """Candidate, champion and baselines on the same sessions.

    Attributes:
        run_id: MLflow run of the candidate.
        run_key: key of the candidate's training.
        evaluated_from: first moment of the evaluation sessions (the window's end).
        evaluated_to: the moment after the evaluation sessions.
        sessions: number of evaluation sessions with at least one target.
        targets: number of next items to predict.
        champion_version: version that was champion at that time; None for the first candidate.
        paired_level: level of the intervals of paired differences; all other intervals are at 95 %.
        models: role (see Evaluation) to the evaluation of the model.
        left_out: reason (bots, without_consent) to the number of sessions that were left out.
        quarantined: share of the rows in quarantine and in refused files among the rows that came with these
            sessions; None if no batch has the counts, and in reports of older releases.
        refused_files: the number of these refused files; 0 in reports of older releases.
        served: the objective whose lists services show, by LASTAISLE_EXCLUDE_SEEN: next_item or new_item.
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
    refused_files: int = 0
    served: str = NEXT_ITEM

    @property
    def candidate(self) -> Evaluation:
        """The candidate's evaluation."""
        return self.models["candidate"]

    @property
    def champion(self) -> Evaluation | None:
        """The champion's evaluation; None if there was no champion."""
        return self.models.get("champion")

    @property
    def anchor(self) -> Evaluation | None:
        """The anchor's evaluation; None if the champion is the anchor, and in reports of older releases."""
        return self.models.get("anchor")

    @property
    def churn(self) -> Estimate | None:
        """The share of the champion's lists that changes; None without a champion, and in older reports."""
        return self.served_scores("candidate").against.get("champion", {}).get(CHURN)

    def served_scores(self, role: str) -> Scores:
        """Return a model's scores on the objective whose lists services show.

        Without a target of that objective these are the scores on all targets.
        """
        evaluation = self.models[role]
        return evaluation.objectives.get(self.served, evaluation.overall)

    def to_json(self) -> str:
        """Write as JSON, times in ISO 8601."""
        return json.dumps(dataclasses.asdict(self), default=datetime.isoformat, indent=1)

    @classmethod
    def from_json(cls, text: str) -> EvaluationReport:
        """Read the JSON that `to_json` wrote."""
        return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[EvaluationReport]:
    return TypeAdapter(EvaluationReport)


def stored_report(run_id: str, registry: Registry) -> EvaluationReport | None:
    """Return the report that an evaluation logged to the run."""
    text = registry.read_text(run_id, REPORT)
    return None if text is None else EvaluationReport.from_json(text)

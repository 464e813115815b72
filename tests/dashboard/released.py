"""Moves of the ledger, and runs with evaluations, for tests of pages."""

from __future__ import annotations

from datetime import timedelta

from lastaisle.evaluation.report import REPORT, Estimate, Evaluation, EvaluationReport, Scores
from lastaisle.registry.ledger import REGISTER, Move
from tests.dashboard.conftest import NOW


def move(action, version, *, champion=None, reason="It is better. All rules hold.", number=0):
    """Return a move; `number` counts the minutes after the first."""
    alias = "challenger" if action == REGISTER else "champion"
    return Move(
        move_id=f"{action}-{version}-{number}",
        moved_at=NOW - timedelta(days=2) + timedelta(minutes=number),
        actor="anna",
        action=action,
        model_name="checkout-recommender",
        alias=alias,
        from_version=champion,
        to_version=version,
        reason=reason,
        run_id=f"run-{version}",
        run_key=f"key-{version}",
    )


def evaluation_of(run_id, value, new=None):
    """Return the JSON of an evaluation with one value for recall@20, and a tenth of it for recall@1."""

    def scores(found):
        metrics = {
            "recall@20": found,
            "recall@1": found / 10,
            "precision@20": found / 20,
            "precision@1": found / 10,
        }
        return Scores(10, {name: Estimate(one, one - 0.01, one + 0.01) for name, one in metrics.items()})

    new_item = None if new is None else scores(new)
    models = {"candidate": Evaluation("candidate", scores(value), new_item=new_item)}
    return EvaluationReport(run_id, run_id, NOW, NOW, 5, 10, None, 0.8, models).to_json()


class Runs:
    """Stands for the registry: its runs hold reports, or reading them fails.

    Attributes:
        stored: run to the text of its report.
        error: what reading raises; None = it works.
        read: the runs that were read.
    """

    uri = "sqlite:///mlflow.db"

    def __init__(self):
        self.stored = {}
        self.error = None
        self.read = []

    def has_run(self, run_id):
        return run_id in self.stored or self.error is not None

    def read_text(self, run_id, path):
        assert path == REPORT
        self.read.append(run_id)
        if self.error:
            raise self.error
        return self.stored[run_id]

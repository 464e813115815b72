"""The gate's decision as a table: in MLflow, in a log and in the ledger."""

import json

import pytest

from lastaisle.registry.ledger import Ledger
from lastaisle.release.decision_table import COLUMNS, TABLE, as_text, rows_of
from lastaisle.release.gate import Check, Decision

CHECKS = (
    Check("not_worse_than_champion", True, "It is as good.", -0.0123, "> -0.0200"),
    Check("enough_targets", False, "Too few.", 120, ">= 200"),
    Check("opens", True, "It opens."),
)


def test_the_text_has_one_line_a_rule():
    assert as_text(CHECKS).splitlines() == [
        "rule                     value    threshold  verdict",
        "not_worse_than_champion  -0.0123  > -0.0200  passed",
        "enough_targets           120      >= 200     broken",
        "opens                                        passed",
    ]


def test_a_decision_of_an_older_release_has_neither_values_nor_thresholds():
    old = {"promote": True, "checks": [{"name": "opens", "passed": True, "reason": "It opens."}]}
    decision = Decision.from_json(json.dumps(old))
    assert rows_of(decision.checks) == [("opens", None, None, "passed", "It opens.")]


@pytest.mark.training
def test_the_table_is_in_mlflow_and_in_the_ledger(home):
    home.released(1)
    run_id = home.train(2)
    home.evaluate(run_id)
    decision = home.release(run_id)
    table = json.loads(home.registry.read_text(run_id, TABLE))
    assert table["columns"] == list(COLUMNS)
    assert [row[:4] for row in table["data"]] == [list(row[:4]) for row in rows_of(decision.checks)]
    compared = [check.name for check in decision.checks if check.value is not None]
    assert {"not_worse_than_champion", "coverage", "churn", "enough_targets"} <= set(compared)
    assert all(check.threshold for check in decision.checks if check.name in compared)
    shown = json.loads(home.registry.tags(run_id)["mlflow.loggedArtifacts"])
    assert shown == [{"path": TABLE, "type": "table"}]
    *_, move = Ledger(home.lake, home.registry.model_name).moves()
    assert Decision.from_json(move.decision) == decision

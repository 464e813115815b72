"""Churn: the share of the lists that changes with a version is reported and bounded."""

import json

import numpy as np
import pytest

from lastaisle.evaluation.churn import churn_of
from lastaisle.evaluation.report import EvaluationReport, stored_report
from lastaisle.release.gate import GateRules
from models.data.vocabulary import Vocabulary
from models.evaluation.ranking import Ranking

pytestmark = pytest.mark.training


def lists(*top):
    top = np.array(top, np.int32)
    return Ranking(np.ones(len(top), np.int32), top, np.arange(len(top)), top.max())


def test_lists_are_compared_by_item_and_not_by_order_or_index():
    first = (lists([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]), Vocabulary("abcd"))
    # The same items with other indices: d c b a; then two of the items; then no shared item (e to h are new).
    second = (lists([1, 2, 3, 4], [1, 2, 5, 6], [5, 6, 7, 8]), Vocabulary("dcbaefgh"))
    np.testing.assert_allclose(churn_of(first, second), [0, 0.5, 1])
    np.testing.assert_allclose(churn_of(second, first), [0, 0.5, 1])


def test_churn_of_lists_of_two_lengths_counts_the_longer_list():
    both = Vocabulary("abcd")
    np.testing.assert_allclose(churn_of((lists([1, 2]), both), (lists([2, 3, 4, 1]), both)), [0.5])


def test_two_empty_lists_have_not_changed_and_one_empty_list_has():
    both = Vocabulary("abcd")
    np.testing.assert_allclose(churn_of((lists([0, 0], [1, 0]), both), (lists([0, 0], [0, 0]), both)), [0, 1])


@pytest.fixture
def two_days(home):
    home.day(1)
    run_id = home.train(2)
    return home, run_id, home.evaluate(run_id)


def test_the_gate_bounds_the_churn_of_a_warm_start(two_days):
    home, run_id, report = two_days
    assert 0 < report.churn.low <= report.churn.value <= report.churn.high < 1
    assert home.registry.metrics(run_id)["churn_at_20"] == pytest.approx(report.churn.value)
    decision = home.release(run_id, GateRules(max_churn=report.churn.value / 2))
    assert [check.name for check in decision.checks if not check.passed] == ["churn"]
    assert f"churn@20 {report.churn.value:.4f}" in decision.reasons[0]
    assert home.registry.aliases()["champion"] == "1"
    card = home.registry.read_text(run_id, "card/model_card.md")
    assert f"(churn@20) is {report.churn.value:.4f}" in card


def test_the_churn_of_a_training_from_scratch_is_reported_and_not_bounded(home):
    home.released(1)
    decision = home.day(2, GateRules(max_churn=0.0), kind="full")
    assert decision.promote
    assert "churn" not in [check.name for check in decision.checks]


def test_a_report_of_an_older_release_has_no_churn(two_days):
    home, run_id, report = two_days
    data = json.loads(report.to_json())
    del data["models"]["candidate"]["overall"]["against"]["champion"]["churn@20"]
    old = EvaluationReport.from_json(json.dumps(data))
    assert old.churn is None
    assert stored_report(run_id, home.registry).churn == report.churn

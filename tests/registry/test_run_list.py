"""The run list of the experiment has columns for decision, version and metrics, as MLflow reads them."""

import json
import shutil

import pytest

from lastaisle.registry.registry import Registry
from lastaisle.registry.run_list import KIND, NOTE, VIEW, columns, show_decisions, view
from lastaisle.settings import Settings
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM


@pytest.fixture
def registry(empty_store, tmp_path):
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_store, tmp_path / "mlflow")
    return Registry(Settings.of(home=tmp_path))


def test_the_decision_comes_first_and_the_metrics_are_those_of_the_served_lists():
    assert columns(NEXT_ITEM) == [
        *("tags.`decision`", "tags.`version`", "tags.`state`", "metrics.`recall_at_20`"),
        *("metrics.`precision_at_20`", "metrics.`mrr_at_20`", "metrics.`coverage_at_20`"),
        "metrics.`churn_at_20`",
    ]
    assert columns(NEW_ITEM)[3] == "metrics.`new_item.recall_at_20`"
    shown = json.loads(view(NEXT_ITEM))
    assert shown["selectedColumns"] == columns(NEXT_ITEM)
    assert [name for name in shown["columnOrder"] if name in columns(NEXT_ITEM)] == columns(NEXT_ITEM)
    assert set(shown["columnWidths"]) == set(shown["columnOrder"])


def test_the_experiment_gets_the_columns_and_a_link_to_them(registry):
    show_decisions(registry)
    tags = registry.experiment_tags()
    assert tags[VIEW] == view(NEXT_ITEM)
    assert tags[KIND] == "custom_model_development"
    assert f"(#/experiments/{registry.experiment_id}/runs?workflowType=machine_learning&view" in tags[NOTE]


def test_the_words_of_people_stay_and_older_columns_are_renewed(registry):
    for name, value in ((NOTE, "Ask Anna."), (KIND, "no_inferred_type"), (VIEW, "{}")):
        registry.set_experiment_tag(name, value)
    show_decisions(registry)
    tags = registry.experiment_tags()
    assert (tags[NOTE], tags[KIND], tags[VIEW]) == ("Ask Anna.", "no_inferred_type", view(NEXT_ITEM))

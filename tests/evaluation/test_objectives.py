"""Next items and new items: both are reported everywhere, and the served objective decides what is shown."""

import dataclasses
import json

import pytest

from lastaisle.evaluation.evaluate import _measure_all
from lastaisle.evaluation.plots import comparison
from lastaisle.evaluation.report import EvaluationReport
from lastaisle.release.gate import GateRules, decide
from models.by_name import create
from models.data.sequences import SessionLog, next_item_examples


def fitted(name, sessions):
    model = create(name)
    model.fit(SessionLog.from_lists(sessions))
    return model


def measured(models, sessions, served="next_item"):
    examples = next_item_examples(SessionLog.from_lists(sessions))
    versions = {"champion": "1"}
    return _measure_all(models, versions, examples, {}, served, level=0.8, progress=None)


def test_a_new_item_is_judged_by_lists_without_the_items_of_its_session():
    # Every session comes back to its item once, and then goes on to the popular item.
    sessions = [[f"i{n}", f"i{n}", "best"] for n in range(100)]
    models = measured(
        {"candidate": fitted("repeat", sessions), "popularity": fitted("popularity", sessions)}, sessions
    )
    candidate = models["candidate"]
    assert candidate.overall.targets == 200
    assert candidate.new_item.targets == 100
    assert candidate.overall.metrics["mrr@20"].value == pytest.approx(
        0.75
    )  # "best" is second, after the item
    assert candidate.new_item.metrics["mrr@20"].value == 1.0  # the item is left out, so "best" is first
    assert candidate.new_item.against["popularity"]["recall@20"].value == 0.0
    assert list(candidate.objectives) == ["next_item", "new_item"]


def test_without_a_new_target_there_is_no_such_objective():
    sessions = [["a", "a"], ["b", "b", "b"]]
    assert measured({"candidate": fitted("repeat", sessions)}, sessions)["candidate"].new_item is None


def test_a_launch_of_many_items_is_no_loss_of_coverage():
    old = [[f"i{n}", f"i{n + 1}"] for n in range(150)]
    launched = [[f"new{n}"] for n in range(400)]
    baseline = fitted("popularity", old)
    models = {
        "candidate": fitted("repeat", old + launched),
        "champion": fitted("repeat", old),
        "popularity": baseline,
    }
    evaluations = measured(models, old * 2)
    candidate, champion = evaluations["candidate"], evaluations["champion"]
    assert candidate.overall.metrics["coverage@1"] == champion.overall.metrics["coverage@1"]
    assert candidate.overall.metrics["coverage@1"].value == pytest.approx(150 / 551)
    decision = decide(candidate, champion, GateRules())
    assert [check.passed for check in decision.checks if check.name == "coverage"] == [True]


def test_coverage_still_falls_if_a_candidate_shows_fewer_items():
    old = [[f"i{n}", f"i{n + 1}"] for n in range(150)]
    models = {"candidate": fitted("popularity", old), "champion": fitted("repeat", old)}
    evaluations = measured(models | {"popularity": models["candidate"]}, old)
    checks = decide(evaluations["candidate"], evaluations["champion"], GateRules()).checks
    assert [check.passed for check in checks if check.name == "coverage"] == [False]


@pytest.fixture(scope="module")
def report():
    sessions = [[f"i{n % 7}", f"i{n % 7}", f"i{(n + 1) % 7}"] for n in range(60)]
    recommenders = {"candidate": fitted("repeat", sessions), "popularity": fitted("popularity", sessions)}
    models = measured(recommenders, sessions)
    text = json.dumps(
        {
            "run_id": "r",
            "run_key": "incremental-1",
            "evaluated_from": "2025-10-06T00:00:00+00:00",
            "evaluated_to": "2025-10-06T08:00:00+00:00",
            "sessions": 60,
            "targets": 120,
            "champion_version": None,
            "paired_level": 0.8,
            "models": {},
        }
    )
    return dataclasses.replace(EvaluationReport.from_json(text), models=models)


def test_the_report_reads_back_with_both_objectives(report):
    again = EvaluationReport.from_json(report.to_json())
    assert again == report
    assert again.served == "next_item"
    assert again.served_scores("candidate").targets == 120
    assert dataclasses.replace(again, served="new_item").served_scores("candidate").targets == 60


def test_the_report_of_an_older_release_has_only_next_items(report):
    data = json.loads(report.to_json())
    del data["served"]
    for model in data["models"].values():
        del model["new_item"]
    old = EvaluationReport.from_json(json.dumps(data))
    assert list(old.candidate.objectives) == ["next_item"]
    assert dataclasses.replace(old, served="new_item").served_scores("candidate").targets == 120
    assert len(comparison(old).axes[0].get_yticklabels()) == 3


def test_the_plot_shows_both_objectives(report):
    labels = [label.get_text() for label in comparison(report).axes[0].get_yticklabels()]
    assert "recall@20\nnext_item\n(120)" in labels
    assert "recall@20\nnew_item\n(60)" in labels


@pytest.mark.training
def test_what_is_served_is_what_is_shown_first(home):
    run_id = home.train(1)
    report = home.evaluate(run_id)
    assert set(report.models) == {"candidate", "popularity", "repeat", "cooccurrence"}
    assert report.served == "next_item"
    metrics = home.registry.metrics(run_id)
    assert metrics["new_item.recall_at_20"] > 0
    assert 0 < metrics["repeat.new_item.recall_at_20"] < 1
    # The setting changes: the run is evaluated again, and slices are those of new items.
    home.settings = home.settings.replace(exclude_seen=True)
    home._registry = None
    again = home.evaluate(run_id)
    assert again.served == "new_item"
    new = again.candidate.new_item.targets
    assert new < again.candidate.overall.targets
    parts = again.candidate.slices
    assert (
        parts["short_sessions"].targets + (parts["long_sessions"].targets if "long_sessions" in parts else 0)
        == new
    )
    decision = home.release(run_id)
    card = home.registry.read_text(run_id, "card/model_card.md")
    assert f"{new:,} next items that were new to their session" in card
    assert decision.promote


def test_the_packed_model_leaves_out_seen_items_if_the_setting_says_so():
    from models.serving.export import signature

    defaults = {param.name: param.default for param in signature(exclude_seen=True).params}
    assert defaults["exclude_seen"] is True
    assert {param.name: param.default for param in signature().params}["exclude_seen"] is False

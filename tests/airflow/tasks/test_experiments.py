"""The tasks of `analyze_experiments`, without a scheduler."""

import logging
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from msgspec.structs import replace

from lastaisle.experiments.analysis.errors import AnalysisError
from lastaisle.experiments.analysis.results import read_results
from lastaisle.experiments.definition.definition import DefinitionError
from lastaisle.experiments.traffic import read_traffic
from lastaisle.lake import Lake
from lastaisle_airflow.tasks import experiments
from tests.experiments.analysis.worlds import World, trial


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return World(Lake(tmp_path / "lake"))


def analyze(names=None):
    run = SimpleNamespace(run_id="run-1")
    return experiments.analyze.function(params={"experiments": names}, dag_run=run)


def test_without_experiments_the_task_is_skipped(world):
    with pytest.raises(AirflowSkipException, match="no experiment runs"):
        analyze()


def test_the_verdict_stands_in_the_log_and_names_the_run(world, caplog):
    world.start()
    world.crowd(2000, 5, {"control": 0.2, "new": 0.4})
    world.write(7)
    with caplog.at_level(logging.INFO):
        [found] = analyze(["demo"])
    assert found["state"] == "decided"
    assert f"demo: decided. {found['reason']}" in caplog.text
    assert read_traffic(world.lake).newest()["demo"].actor == "run-1"


def test_a_problem_is_an_error_after_the_others_were_analysed(world):
    world.trial = replace(world.trial, name="bad", analysis=None)
    world.move("bad")
    world.trial = replace(trial(), name="demo")
    world.move("demo")
    world.crowd(300, 2, {"control": 0.2, "new": 0.2})
    world.write(4)
    with pytest.raises(AnalysisError, match="bad: the experiment bad has no rules of analysis"):
        analyze()
    assert read_results(world.lake, "demo").num_rows == 4


def test_a_definition_that_cannot_be_used_is_an_error_that_names_the_file(world, tmp_path, monkeypatch):
    monkeypatch.setattr("lastaisle.registry.registry.Registry.__init__", lambda *_: None)
    run = SimpleNamespace(run_id="run-1")
    with pytest.raises(AirflowSkipException, match="no experiment is defined"):
        experiments.apply_definitions.function(dag_run=run)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "two-models.yaml").write_text("name: [")
    with pytest.raises(DefinitionError, match=r"two-models\.yaml"):
        experiments.apply_definitions.function(dag_run=run)

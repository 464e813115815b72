"""The tasks that plan and run a training."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.errors import NotEnoughDataError
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import Window
from lastaisle_airflow.tasks import training

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def test_empty_params_take_the_settings_and_moments_are_utc():
    params = training.given_params({"epochs": 3, "window_hours": None, "data_end": "2025-10-09T12:00:00"})
    assert params == {"epochs": 3, "data_end": datetime(2025, 10, 9, 12, tzinfo=UTC)}


def test_an_unknown_model_or_hyperparameter_is_refused_without_a_retry(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    moment = datetime(2025, 10, 9, tzinfo=UTC)
    for parameters, message in (
        ({"architecture": "oracle"}, "no such model: 'oracle'"),
        ({"hyperparameters": {"heads": 3}}, "no such hyperparameter: heads"),
        ({"hyperparameters": {"loss": "hinge"}}, "loss cannot be 'hinge'"),
    ):
        with pytest.raises(AirflowFailException, match=message):
            training.plan("full", data_end=moment, **parameters)


def test_abandonments_with_nothing_to_learn_from_count_as_done(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))

    def refuse(plan, lake, registry):
        raise NotEnoughDataError("all of them refuse")

    monkeypatch.setattr("lastaisle.training.train.train_candidate", refuse)
    monkeypatch.setattr("lastaisle.registry.registry.Registry", lambda settings: None)
    finished = []
    monkeypatch.setattr(
        "lastaisle.training.refresh.finish_refresh", lambda lake, plan: finished.extend(plan.bursts)
    )
    window = Window(NOON - timedelta(days=2), NOON, 24.0)
    plan = TrainingPlan(
        "refresh-v1-b1", "refresh", "shop", "attention", window, NOON, {}, {}, "1", bursts=("b1",)
    )
    with pytest.raises(AirflowFailException, match="all of them refuse"):
        training.train_and_evaluate.function(json.loads(plan.to_json()))
    assert finished == ["b1"]

"""The tasks of `refresh_on_abandonment`."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.privacy.budget.budget import BudgetSpentError
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import Window
from lastaisle.training.private import CannotBePrivateError
from lastaisle.training.refresh import NothingToRefreshError
from lastaisle_airflow.tasks import refresh

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def test_a_refresh_that_cannot_be_is_skipped_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: None)
    for error in (NothingToRefreshError, CannotBePrivateError, BudgetSpentError):

        def refuse(lake, settings, champion, error=error):
            raise error(f"no refresh by {error.__name__}")

        monkeypatch.setattr("lastaisle.training.refresh.plan_refresh", refuse)
        with pytest.raises(AirflowSkipException, match=error.__name__):
            refresh.plan_refresh.function()


def test_a_plan_reaches_the_last_task_as_json(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    window = Window(NOON - timedelta(hours=48), NOON, 24.0)
    plan = TrainingPlan("k", "refresh", "m", "attention", window, NOON, {"events": 3}, {}, "1", ("b1", "b2"))
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: None)
    monkeypatch.setattr("lastaisle.training.refresh.plan_refresh", lambda *_: plan)
    finished = []
    monkeypatch.setattr("lastaisle.training.refresh.finish_refresh", lambda lake, plan: finished.append(plan))
    refresh.finish_refresh.function(json.loads(json.dumps(refresh.plan_refresh.function())))
    assert [(plan.run_key, tuple(plan.bursts), plan.window) for plan in finished] == [
        ("k", ("b1", "b2"), window)
    ]

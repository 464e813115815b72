"""A training plan as JSON: the JSON of earlier releases can still be read."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import Window

END = datetime(2025, 10, 9, 16, tzinfo=UTC)
PLAN = TrainingPlan(
    run_key="refresh-v3-0123456789ab",
    kind="refresh",
    model_name="shop",
    architecture="attention",
    window=Window(END - timedelta(hours=48), END, 24.0),
    holdout_end=END + timedelta(hours=8, microseconds=1),
    lake_versions={"events": 7},
    options={"seed": 7, "learning_rate": 0.001, "trust_region": None},
    warm_start_version="3",
    bursts=("b1", "b2"),
    replay_hours=480.0,
    warm_start_run_id="r3",
    half_learned_until=END + timedelta(hours=8),
)


def test_a_plan_comes_back_from_its_json():
    again = TrainingPlan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()
    assert isinstance(again.options["seed"], int)


@pytest.mark.parametrize(
    ("kind", "end", "name"),
    [
        ("incremental", "2025-10-10T00:00:00+00:00", "2025-10-09"),
        ("incremental", "2025-10-10T02:00:00+02:00", "2025-10-09"),
        ("incremental", "2025-10-09T15:00:00+00:00", "2025-10-09T14"),
        ("full", "2025-11-01T00:00:00+00:00", "full to 2025-10-31"),
        ("full", "2025-10-09T23:59:59.5+00:00", "full to 2025-10-09T23:59"),
        ("refresh", "2025-10-09T14:23:07+00:00", "refresh 2025-10-09T14:23"),
    ],
)
def test_a_training_is_named_by_the_newest_partition_of_its_data(kind, end, name):
    plan = dataclasses.replace(PLAN, kind=kind, holdout_end=datetime.fromisoformat(end))
    assert plan.run_name == name


def test_a_plan_without_bursts_and_replay_can_be_read():
    old = json.loads(PLAN.to_json())
    del old["bursts"], old["replay_hours"]
    plan = TrainingPlan.from_json(json.dumps(old))
    assert (plan.bursts, plan.replay_hours) == ((), 0.0)


def test_a_refresh_of_an_earlier_release_has_learned_half_of_its_holdout():
    old = json.loads(PLAN.to_json())
    del old["warm_start_run_id"], old["half_learned_until"]
    plan = TrainingPlan.from_json(json.dumps(old))
    assert (plan.warm_start_run_id, plan.half_learned_until) == (None, PLAN.holdout_end)
    incremental = TrainingPlan.from_json(json.dumps({**old, "kind": "incremental"}))
    assert incremental.half_learned_until is None


@pytest.mark.parametrize("missing", ["run_key", "window", "lake_versions"])
def test_a_plan_that_lacks_a_field_is_refused_by_name(missing):
    broken = json.loads(PLAN.to_json())
    del broken[missing]
    with pytest.raises(ValueError, match=missing):
        TrainingPlan.from_json(json.dumps(broken))

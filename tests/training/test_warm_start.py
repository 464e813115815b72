"""The sessions of a warm start: the new ones of its window, and a sample of the older ones."""

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import Window, training_sessions
from lastaisle.training.warm_start import REPLAY, mini_batch

END = datetime(2025, 10, 31, tzinfo=UTC)
LEARNED = END - timedelta(hours=24)
PLAN = TrainingPlan(
    run_key="incremental-1",
    kind="incremental",
    model_name="checkout-recommender",
    architecture="attention",
    window=Window(END - timedelta(hours=48), END, half_life_hours=24),
    holdout_end=END + timedelta(hours=8),
    lake_versions={},
    options={},
    warm_start_version="1",
    replay_hours=480.0,
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("session_id", "user_id", "item_id", "event_type", "device_type")),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("sequence", pa.int64()),
        ("consent_personalization", pa.bool_()),
        ("event_date", pa.date32()),
    ]
)


def sessions(days, first=0, consent=True):
    """Make a session of two views every six minutes of each day before the end, oldest day first."""
    rows = []
    for number in range(first, first + 240 * days):
        begin = END - timedelta(days=days) + timedelta(minutes=6 * (number - first))
        for step, at in enumerate((begin, begin + timedelta(minutes=1))):
            rows.append(
                {
                    "session_id": f"s{number}",
                    "user_id": f"u{number}",
                    "item_id": f"i{number % 7 + step}",
                    "event_type": "item_viewed",
                    "device_type": "mobile",
                    "occurred_at": at,
                    "sequence": step,
                    "consent_personalization": consent,
                    "event_date": at.date(),
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    lake.append("events", sessions(days=25), key="all")
    return lake


def batch(lake, plan=PLAN, learned_until=LEARNED, seed=7):
    log = training_sessions(lake, plan.window, plan.holdout_end, None).log
    return mini_batch(plan, lake, log, learned_until, seed)


def test_all_new_sessions_are_learned_and_a_quarter_as_many_older_ones_replayed(lake):
    found = batch(lake)
    age = (END.timestamp() - found.log.ended_at) / 3600
    assert (age < 24).sum() == 240
    assert found.replayed == len(found.log) - 240 == pytest.approx(REPLAY * 240, abs=30)
    assert (np.diff(found.log.ended_at) > 0).all()
    old = age[: found.replayed]
    assert old.min() >= 24
    assert 480 < old.max() <= 48 + 480
    assert np.mean(old) == pytest.approx((24 + 528) / 2, abs=90), "each hour of the reach is as likely"
    assert set(found.log.context) >= {"device_type", "started_at"}


def test_a_replayed_session_weighs_as_much_as_new_ones_do_on_the_mean(lake):
    found = batch(lake)
    assert (found.weights[: found.replayed] == 1).all()
    fading = found.weights[found.replayed :]
    assert fading.mean() == pytest.approx(1, abs=1e-4)
    assert fading[-1] / fading[0] == pytest.approx(2, abs=0.01)


def test_the_seed_decides_which_sessions_are_replayed(lake):
    first, again, other = (batch(lake, seed=seed).log.ended_at.tolist() for seed in (7, 7, 8))
    assert first == again != other


def test_without_replay_hours_only_sessions_of_the_window_are_replayed(lake):
    found = batch(lake, dataclasses.replace(PLAN, replay_hours=0.0))
    age = (END.timestamp() - found.log.ended_at[: found.replayed]) / 3600
    assert len(age)
    assert age.max() <= 48


def test_without_older_sessions_all_are_new_and_keep_their_columns(lake):
    whole = dataclasses.replace(PLAN, window=Window(END - timedelta(days=26), END, 24), replay_hours=0.0)
    found = batch(lake, whole, learned_until=END - timedelta(days=30))
    assert (found.replayed, len(found.log)) == (0, 240 * 25)
    assert "device_type" in found.log.context


def test_sessions_before_the_window_are_only_replayed_even_if_an_old_champion_missed_them(lake):
    found = batch(lake, learned_until=END - timedelta(days=10))
    age = (END.timestamp() - found.log.ended_at) / 3600
    assert (age < 48).sum() == len(found.log) - found.replayed == 480


def test_shoppers_who_refused_are_not_replayed(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    lake.append("events", sessions(days=5), key="all")
    assert batch(lake).replayed
    withdrawn = sessions(days=5, consent=False).filter(
        pa.compute.field("event_date") < (END - timedelta(days=1)).date()
    )
    lake.append("events", withdrawn, key="withdrawal")
    assert batch(lake).replayed == 0

"""Which withdrawn consents make another training; a repeated training reads the consents of its plan."""

from datetime import UTC, datetime

import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import CONSENTS, EVENTS
from lastaisle.privacy.consents import Decision, record
from lastaisle.registry.plan import TrainingPlan
from lastaisle.sessions.windows import training_sessions
from lastaisle.settings import Settings
from lastaisle.training.planning import plan_window
from tests.shops.made_up_shop import end_of, events

ANNA, STRANGER = "a" * 32, "f" * 32


@pytest.fixture
def lake(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    made = events(days=2, sessions=60)
    shoppers = made["session_id"].to_pylist()
    first = shoppers[0]
    names = [ANNA if each == first else None for each in shoppers]
    column = made.schema.get_field_index("user_id")
    typed = made.schema.field("user_id")
    lake.append(EVENTS, made.set_column(column, typed, [names]), key="made-up")
    return lake


def plan(lake):
    return plan_window(lake, Settings.of(home=lake.url), end_of(2), architecture="cooccurrence")


def decide(lake, who, *, granted=False, purpose="personalization"):
    record(lake, [Decision(who, None, purpose, granted, datetime.now(UTC), "request")], 1)


def sessions(lake, given):
    return training_sessions(lake, given.window, given.holdout_end, given.lake_versions)


def test_a_shopper_of_the_window_who_withdraws_makes_another_training_and_others_do_not(lake):
    first = plan(lake)
    assert set(first.lake_versions) == {EVENTS}
    decide(lake, STRANGER)
    decide(lake, ANNA, purpose="sale")
    assert plan(lake).run_key == first.run_key
    decide(lake, ANNA)
    assert plan(lake).run_key != first.run_key
    assert plan(lake).run_key == plan(lake).run_key
    decide(lake, ANNA, granted=True)
    assert plan(lake).run_key == first.run_key


def test_a_repeated_training_reads_the_consents_that_its_plan_names(lake):
    first = plan(lake)
    everyone = len(sessions(lake, first).log)
    decide(lake, ANNA)
    second = plan(lake)
    assert second.lake_versions == lake.versions([EVENTS, CONSENTS])
    decide(lake, ANNA, granted=True)
    again = TrainingPlan.from_json(second.to_json())
    assert len(sessions(lake, again).log) == everyone - 1
    assert sessions(lake, again).left_out["without_consent"] == 1
    assert len(sessions(lake, TrainingPlan.from_json(first.to_json())).log) == everyone

"""What trainings spend together: composition by two accountants, the year, the forecast and the refusal."""

import dataclasses
import math
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant

from lastaisle.errors import ExitCode
from lastaisle.lake import Lake, tables
from lastaisle.privacy.budget import composing
from lastaisle.privacy.budget.budget import (
    BudgetSpentError,
    budget_of,
    forecast,
    planned_spending,
    require_room,
)
from lastaisle.privacy.budget.composing import how_many_more, most_spent, rounded
from lastaisle.privacy.budget.spent import read_spendings, record
from lastaisle.settings import Settings
from models.private.accounting import epsilon_of
from models.private.mechanism import Release

from .made import DAY0, MECHANISM, NOW, WEAK, spending
from .test_presence import visits

DAY = timedelta(days=1)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def settings(**given):
    return Settings.of(**given).privacy


def rows_of(*texts):
    return np.array([[mark == "1" for mark in text] for text in texts])


# composition


def test_the_quick_bound_is_that_of_dp_accounting():
    with_counts = dataclasses.replace(MECHANISM, releases=(Release("counts", 5.0, 1e-8),))
    accountant = RdpAccountant()
    accountant.compose(PoissonSampledDpEvent(0.02, GaussianDpEvent(1.0)), 600)
    accountant.compose(GaussianDpEvent(5.0))
    found = most_spent(rows_of("11"), [MECHANISM, with_counts], 1e-6, with_pld=False)
    assert found.spent.rdp == pytest.approx(accountant.get_epsilon(1e-6 - 1e-8), rel=1e-9)
    assert math.isinf(found.spent.pld)


def test_disjoint_windows_spend_in_parallel():
    trainings = [WEAK, WEAK, WEAK]
    apart = most_spent(rows_of("100", "010", "001"), trainings, 1e-6)
    together = most_spent(rows_of("111"), trainings, 1e-6)
    assert apart.spent == epsilon_of([WEAK], 1e-6)
    assert together.spent == epsilon_of(trainings, 1e-6)
    assert apart.spent.pld < apart.spent.rdp and together.spent.epsilon > 1.5 * apart.spent.epsilon


def test_the_worst_shopper_is_the_one_who_spends_most_and_not_who_is_in_most_windows():
    strong = dataclasses.replace(WEAK, noise_multiplier=40.0)
    trainings = [strong, strong, strong, WEAK]
    worst = most_spent(rows_of("1110", "0001"), trainings, 1e-6)
    assert worst.present.tolist() == [False, False, False, True]
    assert worst.spent == epsilon_of([WEAK], 1e-6)


def test_the_maximum_is_that_of_all_sets_composed_one_by_one():
    random = np.random.default_rng(5)
    trainings = [dataclasses.replace(WEAK, noise_multiplier=noise) for noise in (2.0, 3.0, 4.0, 6.0, 9.0)]
    patterns = np.unique(random.random((12, 5)) < 0.5, axis=0)
    by_hand = max(
        epsilon_of([one for one, is_in in zip(trainings, row, strict=True) if is_in], 1e-6).epsilon
        for row in patterns
    )
    assert most_spent(patterns, trainings, 1e-6).spent.epsilon == by_hand


def test_too_many_sets_for_pld_are_bounded_by_rdp(monkeypatch):
    monkeypatch.setattr(composing, "MOST_LOOKS", 1)
    trainings = [dataclasses.replace(WEAK, noise_multiplier=noise) for noise in (4.0, 4.001)]
    found = most_spent(rows_of("10", "01"), trainings, 1e-6)
    exact = max(epsilon_of([one], 1e-6).epsilon for one in trainings)
    assert found.spent.epsilon >= exact and math.isinf(found.spent.pld)


def test_many_different_noises_are_rounded_towards_a_larger_epsilon():
    random = np.random.default_rng(1)
    noises = 1.0 + 0.1 * random.random(200)
    trainings = [
        dataclasses.replace(MECHANISM, noise_multiplier=float(noise), sampling_rate=float(0.02 / noise))
        for noise in noises
    ]
    few = rounded(trainings)
    assert len({(one.noise_multiplier, one.sampling_rate) for one in few}) <= composing.MOST_DISTINCT
    for one, exact in zip(few, trainings, strict=True):
        assert 0.9 * exact.noise_multiplier < one.noise_multiplier <= exact.noise_multiplier
        assert exact.sampling_rate <= one.sampling_rate < 1.1 * exact.sampling_rate
    assert rounded(trainings[:3]) == trainings[:3]


def test_a_delta_that_the_releases_spend_leaves_no_bound():
    counts = dataclasses.replace(WEAK, releases=(Release("counts", 10.0, 6e-7),))
    assert math.isfinite(most_spent(rows_of("10", "01"), [counts] * 2, 1e-6).spent.epsilon)
    assert math.isinf(most_spent(rows_of("11"), [counts] * 2, 1e-6).spent.epsilon)


def test_how_many_more_is_the_last_number_that_fits():
    present = np.array([True, False, True])
    more = how_many_more(present, [WEAK] * 3, WEAK, epsilon=5.0, delta=1e-6)
    assert (
        epsilon_of([WEAK] * (2 + more), 1e-6).epsilon <= 5.0 < epsilon_of([WEAK] * (3 + more), 1e-6).epsilon
    )
    assert how_many_more(present, [WEAK] * 3, WEAK, epsilon=0.1, delta=1e-6) == 0


# the table


def test_a_run_spends_once(lake):
    assert record(lake, spending("a")) and not record(lake, spending("a"))
    assert record(lake, spending("b", run_key="incremental-a")), "a training that was repeated"
    assert read_spendings(lake) == [spending("a"), spending("b", run_key="incremental-a")]
    assert read_spendings(lake, DAY0 + 2 * DAY) == []


def test_what_was_spent_counts_for_a_year(lake):
    record(lake, spending("a", mechanism=WEAK))
    spent = budget_of(lake, settings(privacy_epsilon=8), NOW)
    assert spent.epsilon == epsilon_of([WEAK], 1e-6).epsilon and spent.units[0].in_windows == 1
    assert spent.left == 8 - spent.epsilon and spent.share == spent.epsilon / 8
    later = budget_of(lake, settings(privacy_epsilon=8), DAY0 + 367 * DAY)
    assert later.units == () and later.epsilon == 0 and later.to_dict()["epsilon"] is None
    assert budget_of(lake, settings(), NOW).left is None


def test_the_budget_is_that_of_the_worst_shopper_by_the_events(lake):
    visits(lake, ("anna", "s1", 0.0), ("ben", "s2", 1.5), ("ben", "s3", 2.5))
    for day in range(3):
        record(lake, spending(f"r{day}", day, day + 1, mechanism=WEAK))
    (unit,) = budget_of(lake, settings(), NOW).units
    assert unit.present.tolist() == [False, True, True]
    assert unit.spent == epsilon_of([WEAK] * 2, 1e-6)


def test_trainings_without_noise_are_counted_and_never_shown_as_zero(lake):
    record(lake, spending("a", mechanism=WEAK))
    runs = pa.table(
        {
            "run_id": ["a", "b", "old"],
            "finished_at": pa.array([DAY0, DAY0, DAY0 - 400 * DAY], pa.timestamp("us", "UTC")),
        }
    )
    lake.append(tables.TRAINING_RUNS, runs, key="runs")
    assert budget_of(lake, settings(), NOW).not_private == ("b",)


def test_units_are_composed_apart(lake):
    record(lake, spending("a", mechanism=WEAK))
    record(lake, spending("b", mechanism=dataclasses.replace(WEAK, unit="session", noise_multiplier=2.0)))
    found = budget_of(lake, settings(), NOW)
    assert [one.unit for one in found.units] == ["shopper", "session"]
    assert found.worst.unit == "session" and len(found.trainings) == 2


# the refusal


def test_a_training_that_fits_may_start_and_one_that_does_not_is_refused(lake):
    one = epsilon_of([WEAK], 1e-6).epsilon
    record(lake, spending("a", mechanism=WEAK))
    two = epsilon_of([WEAK] * 2, 1e-6).epsilon
    following = spending("b", 0, 2, mechanism=WEAK, epsilon=one)
    require_room(lake, settings(privacy_epsilon=two), following)
    require_room(lake, settings(), following)
    with pytest.raises(
        BudgetSpentError, match=r"incremental-b.*2 private trainings.*allows 1\.\d+"
    ) as caught:
        require_room(lake, settings(privacy_epsilon=two - 0.01), following)
    assert caught.value.exit_code == ExitCode.BUDGET_SPENT
    require_room(lake, settings(privacy_epsilon=one + 0.01), spending("a", mechanism=WEAK))  # spent already


def test_a_training_on_other_shoppers_fits(lake):
    visits(lake, ("anna", "s1", 0.0), ("ben", "s2", 1.5))
    record(lake, spending("a", 0, 1, mechanism=WEAK))
    limit = epsilon_of([WEAK], 1e-6).epsilon
    require_room(lake, settings(privacy_epsilon=limit), spending("b", 1, 2, mechanism=WEAK))
    with pytest.raises(BudgetSpentError):
        require_room(lake, settings(privacy_epsilon=limit), spending("c", 0, 2, mechanism=WEAK))


def test_a_planned_training_spends_what_it_may():
    planned = planned_spending(
        run_key="k", epsilon=2.0, delta=1e-6, window=(DAY0, NOW), unit="shopper", now=NOW
    )
    assert epsilon_of([planned.mechanism], 1e-6).epsilon == pytest.approx(2.0, rel=1e-3)


def test_the_forecast_counts_trainings_and_days(lake):
    assert forecast(budget_of(lake, settings(privacy_epsilon=3), NOW)) is None
    for day in range(3):
        record(lake, spending(f"r{day}", 0, day + 1, mechanism=WEAK))
    assert forecast(budget_of(lake, settings(), NOW)) is None
    found = forecast(budget_of(lake, settings(privacy_epsilon=6), NOW))
    assert epsilon_of([WEAK] * (3 + found.more), 1e-6).epsilon <= 6
    assert epsilon_of([WEAK] * (4 + found.more), 1e-6).epsilon > 6
    assert found.a_day == 0.1 and found.days == pytest.approx(found.more / 0.1)
    record(lake, spending("far", 0, 4, mechanism=dataclasses.replace(WEAK, noise_multiplier=2000.0)))
    rare = forecast(budget_of(lake, settings(privacy_epsilon=6), NOW))
    assert rare.more > 1000 and rare.days is None


def test_orders_that_cannot_be_computed_bound_no_other_set_and_are_not_told_of(caplog):
    large = dataclasses.replace(MECHANISM, sampling_rate=0.223881, noise_multiplier=1.109602, steps=12)
    found = most_spent(rows_of("10", "01"), [large, WEAK], 1e-6)
    assert found.spent == epsilon_of([large], 1e-6) and found.present.tolist() == [True, False]
    quick = most_spent(rows_of("01"), [large, WEAK], 1e-6, with_pld=False).spent
    assert quick.rdp == pytest.approx(epsilon_of([WEAK], 1e-6).rdp)
    caplog.clear()
    most_spent(rows_of("11"), [large, WEAK], 1e-6)
    assert caplog.text == ""

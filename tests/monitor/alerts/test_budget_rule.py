"""The rule budget: a warning when the budget is nearly spent, critical when nothing fits any more."""

import dataclasses

import pytest

from lastaisle.privacy.budget.spent import record
from models.private.accounting import epsilon_of
from tests.privacy.budget.made import WEAK, spending

from .conftest import DAY, NOW


def spend(world, *names, mechanism=WEAK):
    for number, name in enumerate(names):
        record(world.lake, spending(name, mechanism=mechanism, finished=NOW - DAY * (len(names) - number)))


def limited(world, epsilon):
    world.settings = world.settings.replace(privacy_epsilon=epsilon)
    return world


def test_nothing_is_found_without_a_budget_or_a_private_training(world):
    assert limited(world, 1.0).check("budget") == {}
    spend(world, "a")
    assert limited(world, 0.0).check("budget") == {}


def test_there_is_a_warning_near_the_limit_and_it_says_what_fits(world):
    spend(world, "a", "b")
    spent, more = (epsilon_of([WEAK] * number, 1e-6).epsilon for number in (2, 3))
    assert limited(world, spent / 0.79).check("budget") == {}
    (found,) = limited(world, more + 0.01).check("budget", warning_share=0.5).values()
    assert found.severity == "warning" and found.scope == {"unit": "shopper"}
    assert "1 more training fits, which are 15 days at the present rate" in found.summary
    assert f"epsilon {spent:.3g} at delta 1e-06" in found.summary and found.since == NOW - DAY
    assert found.evidence[1].query == "lastaisle privacy budget"
    assert "user" not in found.summary


def test_it_is_critical_when_no_training_fits(world):
    spend(world, "a", "b")
    spent = epsilon_of([WEAK] * 2, 1e-6).epsilon
    (found,) = limited(world, spent + 0.01).check("budget").values()
    assert found.severity == "critical" and "no more trainings fit" in found.summary
    world.now += 400 * DAY
    assert world.check("budget") == {}, "after a year it counts no more"


def test_trainings_whose_releases_spend_all_of_the_delta_are_critical(world):
    from models.private.mechanism import Release

    counts = dataclasses.replace(WEAK, releases=(Release("counts", 10.0, 6e-7),))
    spend(world, "a", "b", mechanism=counts)
    (found,) = limited(world, 100.0).check("budget").values()
    assert found.severity == "critical" and "all of its delta" in found.summary
    with pytest.raises(ValueError, match="spent"):
        epsilon_of([counts] * 2, 1e-6)

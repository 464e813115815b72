"""The gate on simulated weeks whose truth is known: small losses do not add up, and good candidates pass."""

import pytest

from benchmarks.gate import World, simulate

QUICK = {"days": 30, "runs": 12, "targets": 1000}


@pytest.fixture(scope="module")
def equal():
    return simulate(World(0.0), **QUICK)


def test_small_daily_losses_do_not_add_up():
    held = simulate(World(0.005), **QUICK)
    assert held["lost"] <= 0.01
    assert held["lost_median"] <= 0.01
    alone = simulate(World(0.005), **QUICK, without=frozenset({"not_worse_than_anchor"}))
    assert alone["lost"] > 0.04, "without the anchor they would"


def test_equal_candidates_still_pass(equal):
    assert equal["lost"] == 0
    assert 0.2 < equal["promoted_share"] < 0.5


def test_better_candidates_pass_and_the_anchor_follows_them():
    better = simulate(World(-0.005), **QUICK)
    assert better["promoted_share"] > 0.65
    assert better["lost"] < -0.08
    assert better["anchor_moves"] >= 1


def test_each_gated_objective_refuses_few_equal_candidates(equal):
    for objective in ("objective_next_cart", "objective_next_purchase"):
        assert equal["refused_by"].get(objective, 0) < 0.06


def test_a_shop_that_changes_promotes_new_versions_although_the_anchor_is_old():
    changing = simulate(World(0.0, drift=0.005), **QUICK)
    assert changing["promoted_share"] > 0.65
    assert changing["lost"] < 0.03, "a version that is not replaced would lose 0.15"

"""What counts for a shopper: what followed the first exposure within the horizon, and what was before it."""

from __future__ import annotations

import pytest

from lastaisle.experiments.analysis.counts import Clock, Counted, count_units
from lastaisle.experiments.metrics import METRICS

from .worlds import START, World, at, rules, trial


def count(world: World, until: float = 10.0, **changes) -> Counted:
    """Write the world, and count its shoppers by some metrics."""
    given = {"primary": "conversion", "guardrails": tuple(name for name in METRICS if name != "conversion")}
    analysis = rules(**{**given, **changes})
    world.write(until)
    counted = count_units(world.lake, world.settings, world.trial, analysis, Clock.of(world.lake))
    assert counted is not None
    return counted


def value(counted: Counted, metric: str, before: bool = False) -> float:
    """Return the sum of a metric's numerator over all shoppers whose horizon is over."""
    return float(counted.metrics[metric].sums[..., 2 if before else 0].sum())


def below(counted: Counted, metric: str) -> float:
    """Return the sum of a metric's denominator."""
    return float(counted.metrics[metric].sums[..., 1].sum())


def test_only_what_follows_within_the_horizon_counts(world):
    world.shown("anna", 1.0)
    for hour in (0.5, 1.0, 1.9, 2.0):
        world.order("anna", hour, price=hour)
    counted = count(world)
    assert value(counted, "orders_per_shopper") == 2
    assert value(counted, "revenue_per_shopper") == pytest.approx(1.0 + 1.9)
    assert value(counted, "conversion") == 1
    assert value(counted, "conversion", before=True) == 1
    assert value(counted, "revenue_per_shopper", before=True) == 0.5


def test_a_shopper_enters_when_the_horizon_is_over(world):
    for hour in (0.0, 0.5, 8.5):
        world.shown(f"unit{hour}", hour)
    counted = count(world, until=9.0)
    entered = counted.metrics["conversion"].count.sum((1, 2))
    assert entered.tolist() == [1.0, 1.0] + [0.0] * 7, "the third is not over yet"
    assert counted.seen.sum((1, 2)).tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert counted.ends()[0] == at(1)


def test_a_shopper_belongs_to_the_arm_of_the_first_exposure(world):
    world.shown("anna", 1.0, "new")
    world.shown("anna", 1.2, "control")
    world.shown("anna", 3.2, "control")
    counted = count(world)
    assert counted.seen.sum((0, 1)).tolist() == [0, 1]
    assert counted.switched.tolist() == [0, 1, *[0] * 8]
    assert below(counted, "ctr") == 2, "both exposures within the horizon"


def test_a_shopper_whose_hash_says_otherwise_is_counted_and_named(world):
    units = [f"u{number}" for number in range(20)]
    for unit in units:
        world.shown(unit, 1.0, "new")
    counted = count(world)
    assert counted.differs.sum() == sum(world.arm_of(unit) == "control" for unit in units) > 0
    assert counted.seen.sum((0, 1)).tolist() == [0, 20]


def test_exposures_that_cannot_count_are_named(world):
    world.shown("anna", 1.0)
    world.shown(None, 1.0, "new", session_id=None)
    world.shown("bert", 1.0, "third")
    world.shown("carl", 1.0, None)
    world.shown("dora", -1.0, "new")
    world.shown("emil", 1.0, "new", experiment="another")
    counted = count(world)
    assert counted.seen.sum() == 1
    assert counted.left_out == {
        "exposures of the unknown arm third": 1,
        "exposures without arm": 1,
        "exposures without shopper and visit": 1,
    }


def test_a_visit_is_the_unit_where_the_shopper_is_unknown(world):
    world.shown(None, 1.0, "new", session_id="visit")
    world.order("anna", 1.5, session_id="visit")
    counted = count(world)
    assert counted.seen.sum() == 1
    assert value(counted, "conversion") == 1, "the shopper logged in to order"


def test_an_order_of_another_visit_counts_for_the_shopper(world):
    world.shown("anna", 1.0)
    world.order("anna", 1.5, session_id="phone")
    world.order(None, 1.6, session_id="visit-anna")
    world.order("anna", 1.7, session_id="phone")
    counted = count(world)
    assert value(counted, "orders_per_shopper") == 3
    assert value(counted, "sessions_per_shopper") == 2
    assert value(counted, "session_conversion") == 2


def test_an_order_that_was_sent_twice_is_paid_once(world):
    world.shown("anna", 1.0)
    for item in ("i1", "i1", "i2"):
        world.order("anna", 1.5, order_id="o", item_id=item, quantity=2)
    counted = count(world)
    assert value(counted, "orders_per_shopper") == 1
    assert value(counted, "revenue_per_order") == 40


def test_revenue_is_in_the_currency_that_the_shop_had_before(world):
    world.order("zoe", -5.0, currency="EUR")
    world.shown("anna", 1.0)
    world.order("anna", 1.2, price=100.0, currency="USD")
    world.order("anna", 1.3, price=100.0, currency="USD")
    world.order("anna", 1.5, price=7.0)
    counted = count(world)
    assert counted.currency == "EUR"
    assert value(counted, "revenue_per_shopper") == 7
    assert counted.left_out == {"order lines in USD": 2}


def test_the_rates_of_exposures_count_what_followed_within_the_horizon(world):
    world.shown("anna", 1.0, clicked_at=at(1.1), viewed_at=at(1.1), added_at=at(1.2), ordered_at=at(2.5))
    world.shown("anna", 1.1, clicked_at=at(2.1))
    world.shown("anna", 2.1, clicked_at=at(2.2))
    counted = count(world)
    metrics = ("ctr", "view_rate", "add_to_cart_rate", "order_rate", "shopper_ctr", "shopper_add_rate")
    assert [value(counted, name) for name in metrics] == [1, 1, 1, 0, 1, 1]
    assert [below(counted, name) for name in metrics] == [2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("steps", "checkouts", "abandoned"),
    [
        ([], 0, 0),
        ([(0.9, "checkout_started")], 1, 1),
        ([(0.9, "checkout_started"), (1.2, "order_completed")], 1, 0),
        ([(0.9, "checkout_started"), (0.95, "order_completed")], 0, 0),
        ([(1.1, "checkout_started")], 1, 1),
        ([(1.6, "checkout_started")], 1, 0),
        ([(1.1, "checkout_abandoned")], 1, 1),
        ([(1.1, "checkout_abandoned"), (1.3, "order_completed")], 1, 0),
        ([(1.2, "order_completed"), (1.4, "checkout_started")], 1, 1),
        ([(0.2, "checkout_started"), (0.3, "checkout_abandoned")], 0, 0),
    ],
)
def test_a_checkout_is_abandoned_as_its_newest_step_says(world, steps, checkouts, abandoned):
    world.shown("anna", 1.0)
    for hour, kind in steps:
        world.event("anna", hour, kind)
    counted = count(world)
    assert (below(counted, "abandonment"), value(counted, "abandonment")) == (checkouts, abandoned)


def test_the_time_before_has_only_earlier_data(world):
    world.shown("anna", -40.0, experiment=None, clicked_at=at(-39.9))
    world.shown("anna", -2.0, experiment=None, clicked_at=at(1.5))
    world.shown("anna", -60.0, experiment=None, clicked_at=at(-59.9))
    world.event("anna", -3.0, "checkout_started")
    world.shown("anna", 1.0)
    counted = count(world)
    assert value(counted, "ctr", before=True) == 1
    assert float(counted.metrics["ctr"].sums[..., 3].sum()) == 2
    assert value(counted, "abandonment", before=True) == 1


def test_new_shoppers_of_buckets_that_took_part_before_are_a_stratum(world):
    shares = [{"control": 0.05, "new": 0.05}, {"control": 0.5, "new": 0.5}]
    world.trial = trial(shares=shares, phase_starts=[START, at(5)])
    for number in range(300):
        unit = f"u{number}"
        if world.arm_of(unit, 0.0):
            world.shown(unit, 1.0)
        world.shown(unit, 6.0)
    counted = count(world)
    assert counted.shares.tolist() == [[0.5, 0.5]] * 3
    in_first = sum(world.arm_of(f"u{number}", 0.0) is not None for number in range(300))
    assert counted.seen.sum((0, 2)).tolist() == [in_first, 300 - in_first, 0]
    assert counted.differs.sum() == 0


def test_shares_of_a_stratum_are_those_of_its_buckets(world):
    shares = [{"control": 0.2, "new": 0.1}, {"control": 0.5, "new": 0.5}]
    world.trial = trial(shares=shares, phase_starts=[START, at(5)])
    world.shown("anna", 6.0)
    counted = count(world)
    assert counted.shares[0].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert counted.shares[1].tolist() == pytest.approx([3 / 7, 4 / 7])
    assert counted.shares[2].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_before_the_end_of_the_first_hour_there_is_nothing(world):
    world.shown("anna", 0.1)
    world.write(0.5)
    assert count_units(world.lake, world.settings, world.trial, rules(), Clock.of(world.lake)) is None

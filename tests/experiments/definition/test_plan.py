"""Plans: the shop's past is measured as an analysis would, and sizes follow from it."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from lastaisle.experiments.definition.past import Past, read_past
from lastaisle.experiments.definition.plan import plan_definitions
from lastaisle.experiments.definition.sizes import planned_units, size_of
from lastaisle.experiments.statistics.fixed import required_units, required_units_with_looks
from lastaisle.experiments.traffic import Trial
from tests.experiments.analysis.worlds import EVENTS_SCHEMA, START, World, at, rules, trial

from .defining import NOW, Shop, experiment

DAY = timedelta(days=1)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def world_of(shop: Shop) -> World:
    """Return two days of a shop: 240 shoppers, each tenth orders."""
    world = World(shop.lake)
    for number in range(240):
        given = {"arm": None, "experiment": None, "placement": "cart" if number % 4 else "home"}
        world.shown(f"u{number}", number / 5, **given)
        world.shown(f"u{number}", number / 5 + 0.1, **given)
        device = "mobile" if number % 2 else "desktop"
        world.event(f"u{number}", number / 5 + 0.1, "item_viewed", device_type=device)
        if number % 10 == 0:
            world.order(f"u{number}", number / 5 + 0.2)
        world.order(f"u{number}", number / 5 + 3)  # after the horizon
    return world


def past_of(shop: Shop, **changes) -> Past | None:
    found: Trial = trial(**changes)
    return read_past(shop.lake, shop.settings, found, found.analysis)


def test_the_past_is_measured_as_an_analysis_would(shop):
    world_of(shop).write(until=60)
    past = past_of(shop)
    assert (past.since, past.until) == (START, at(60) + timedelta(seconds=1))
    assert (len(past.arrived), past.judged, past.share) == (240, 240, 1.0)
    assert past.baseline == pytest.approx(0.1)
    assert past.variance == pytest.approx(np.var([1] * 24 + [0] * 216, ddof=1))
    assert past.units_in(1.0) == 121
    assert past.units_a_day() == pytest.approx(240 / past.days)


def test_of_a_ratio_the_variance_is_that_of_the_delta_method(shop):
    world = World(shop.lake)
    shown, clicked = [3, 1, 4, 1, 5], [1, 0, 2, 1, 0]
    for number, (lists, clicks) in enumerate(zip(shown, clicked, strict=True)):
        for at_list in range(lists):
            moment = at(number + 0.05) if at_list < clicks else None
            world.shown(f"u{number}", number + at_list / 100, None, experiment=None, clicked_at=moment)
    world.write(until=60)
    past = past_of(shop, analysis=rules(primary="ctr"))
    ratio = sum(clicked) / sum(shown)
    linear = (np.array(clicked) - ratio * np.array(shown)) / np.mean(shown)
    assert past.baseline == pytest.approx(ratio)
    assert past.variance == pytest.approx(np.var(linear, ddof=1))


def test_the_past_counts_those_who_would_take_part(shop):
    world = world_of(shop)
    for row in world.event_rows:
        row.setdefault("device_type", None)
    schema_of_devices(world)
    world.write(until=60)
    assert len(past_of(shop, placements=("home",)).arrived) == 60
    assert len(past_of(shop, placements=("home", "cart")).arrived) == 240
    assert past_of(shop, placements=("typo",)) is None
    assert len(past_of(shop, targeting={"device_type": ("mobile",)}).arrived) == 120
    assert past_of(shop, targeting={"country": ("DE",)}) is None
    half = past_of(shop, buckets=(0, 5000), shares=[{"control": 0.2, "new": 0.2}])
    assert half.share == pytest.approx(0.2)
    assert half.units_in(half.days) == pytest.approx(48)


def schema_of_devices(world: World) -> None:
    """Write the events with a column of devices, which the schema of the world lacks."""
    schema = EVENTS_SCHEMA.append(pa.field("device_type", pa.string()))
    rows = [dict.fromkeys(schema.names) | row for row in world.event_rows]
    world.lake.append("events", pa.Table.from_pylist(rows, schema), key="devices")
    world.event_rows.clear()


def made_up(arrived: list[float], **changes) -> Past:
    given = {"judged": 100, "baseline": 0.03, "variance": 0.03 * 0.97, "share": 1.0}
    days = np.array(arrived, float)
    return Past(START, START + 10 * DAY, days, **{**given, **changes})


def test_shoppers_come_as_they_came_and_later_as_in_the_second_half():
    past = made_up([0, 1, 2, 3, 4, 6, 8])
    assert past.units_in(2.5) == 3
    assert past.units_in(10) == 7
    assert past.units_in(20) == pytest.approx(7 + 10 * 2 / 5)
    assert past.days_for(3) == 2
    assert past.days_for(9) == pytest.approx(10 + 2 / (2 / 5))
    assert past.days_for(past.units_in(33.0)) == pytest.approx(33.0)
    assert made_up([0, 1, 2]).days_for(9) is None


def test_two_equal_arms_need_what_the_statistics_say():
    found = trial(stops_at=None)
    past = made_up(list(np.linspace(0, 10, 50_000)))
    size = size_of(found, found.analysis, past)
    assert size.units == required_units_with_looks(0.03, 0.03 * 0.97, 0.1)
    assert size.units_of_one_look == required_units(0.03, 0.03 * 0.97, 0.1)
    assert size.by_arm == {"control": math.ceil(size.units / 2), "new": math.ceil(size.units / 2)}
    assert size.days == pytest.approx(past.days_for(size.units) + 1 / 24)
    assert size.least_effect is None
    assert planned_units(found, found.analysis, past) == size.units
    assert planned_units(found, found.analysis, None) is None


def test_each_arm_of_several_has_enough_beside_the_control():
    shares = {"control": 0.5, "a": 0.25, "b": 0.05}
    found = trial(shares=[shares])
    size = size_of(found, found.analysis, made_up([0.0]))
    pair = required_units(0.03, 0.03 * 0.97, 0.1, alpha=0.025, shares=(0.5 / 0.55, 0.05 / 0.55))
    assert size.units_of_one_look == math.ceil(pair * 0.8 / 0.55)


def test_by_its_stop_it_finds_larger_effects_only():
    past = made_up(list(np.linspace(0, 10, 1000)))
    short = trial(stops_at=START + 5 * DAY + timedelta(hours=1))
    size = size_of(short, short.analysis, past)
    assert size.least_effect == pytest.approx(0.1 * math.sqrt(size.units / past.units_in(5)))
    none = trial(stops_at=START + timedelta(minutes=5))
    assert size_of(none, none.analysis, past).least_effect == math.inf


@pytest.mark.parametrize("changes", [{"baseline": 0.0}, {"variance": 0.0}])
def test_a_metric_that_never_varies_tells_no_size(changes):
    found = trial()
    assert size_of(found, found.analysis, made_up([0.0], **changes)) is None


def plan(shop: Shop, place=None):
    return plan_definitions(shop.lake, shop.settings, shop.registry, NOW + 20 * DAY, place)


def test_a_plan_says_sizes_and_warns_and_writes_nothing(shop):
    world_of(shop).write(until=60)
    text = experiment("demo", "placements: [cart, typo]", "stop: 2026-04-01T00:00:00Z")
    shop.write(text.replace("0.03", "0.03, horizon_hours: 1"))
    [one] = plan(shop).planned
    assert (one.name, one.state) == ("demo", "starts")
    assert one.size.units > 1000
    assert one.ends_at > at(60)
    assert one.past.baseline == pytest.approx(18 / 180, abs=0.05)
    warnings = "\n".join(one.warnings)
    assert "no list was shown at typo; lists were shown at cart, home" in warnings
    assert "the past is only 2.5 days long" in warnings
    assert "it stops too early to find an effect of 3.0%" in warnings
    assert shop.moves() == []
    assert one.to_dict()["size"]["units"] == one.size.units


def test_without_outcomes_a_plan_says_so(shop):
    shop.write(experiment().replace("popular, policy: popular", "same"))
    [one] = plan(shop).planned
    warnings = "\n".join(one.warnings)
    assert one.size is None
    assert "the lake has no outcomes of such lists" in warnings
    assert "all arms show the same lists" in warnings
    assert "it has no stop" in warnings


def test_a_plan_names_what_apply_would_do_and_refuse(shop):
    shop.write(experiment("one", "placements: [cart]"), "one.yaml")
    shop.write(experiment("two", "placements: [home]", "layer: home"), "two.yaml")
    shop.apply()
    shop.write(experiment("one", "placements: [cart]", "stop: 2027-01-01T00:00:00Z"), "one.yaml")
    shop.write(experiment("three"), "three.yaml")
    shop.write("notes", "notes.txt")
    report = plan(shop)
    assert {one.name: one.state for one in report.planned} == {"one": "changes", "two": "as before"}
    assert "overlap with" in str(report.to_dict()["refused"])
    assert [path.name for path in report.skipped] == ["notes.txt"]


def test_the_plan_of_the_start_is_kept_in_the_trial(shop):
    world_of(shop).write(until=60)
    shop.write(experiment().replace("0.03", "0.03, horizon_hours: 1"))
    [one] = plan(shop).planned
    shop.apply(NOW + 20 * DAY)
    units = shop.newest().trial.analysis.planned_units
    assert units == one.size.units
    more = World(shop.lake)
    more.crowd(50, 10, {"control": 0.9, "new": 0.9}, first=61)
    shop.apply(NOW + 21 * DAY)
    assert shop.newest().trial.analysis.planned_units == units

"""The true chance of a click, number by number."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from lastaisle.simulate import ShopOptionsError
from lastaisle.simulate.affinity import NEARNESS
from lastaisle.simulate.live import Moment, Reactions, Taste
from lastaisle.simulate.live.fatigue import Fatigue
from lastaisle.simulate.live.reactions import SHARES

FLAT = Reactions(position_bias=0.0, attraction=0.5, price_pull=0.5)
#: Items 0 to 3 stand on shelf 0, 4 on shelf 1; item 2 has another style, item 3 lies far away.
TASTE = Taste(
    FLAT,
    shelf=np.array([0, 0, 0, 0, 1]),
    style=np.array([1, 1, 2, 1, 1]),
    position=np.array([[0.0, 0, 0], [NEARNESS, 0, 0], [NEARNESS, 0, 0], [9, 0, 0], [0, 0, 0]]),
    price=np.array([10.0, 10.0, 10.0, 10.0, 40.0]),
)
MOMENT = Moment(
    session=0,
    placement="cart",
    arm="model",
    consents=True,
    style=1,
    items=(0,),
    cart=(0,),
    on_screen=4,
    shown_before={},
)


def chance(item, moment=MOMENT, taste=TASTE):
    return taste.chances(moment, [f"sim-{item:05d}"])[0]


def test_nearness_shelf_and_style_attract():
    near = np.exp(-0.5)
    assert chance(1) == pytest.approx(0.5 * (FLAT.on_shelf + (1 - FLAT.on_shelf) * near))
    assert chance(2) == pytest.approx(chance(1) * FLAT.off_style)
    assert chance(3) == pytest.approx(0.5 * FLAT.on_shelf)
    assert chance(4, replace(MOMENT, cart=())) == pytest.approx(0.5 * FLAT.off_shelf)


def test_the_nearest_of_the_sessions_items_counts():
    moment = replace(MOMENT, items=(3, 4, 1))
    assert TASTE.affinity(moment, np.array([1]))[0] == 1.0
    assert TASTE.affinity(replace(MOMENT, items=()), np.array([1]))[0] == FLAT.off_shelf


def test_only_a_dearer_item_loses_by_its_price():
    assert chance(4) == pytest.approx(0.5 * FLAT.off_shelf * 4**-0.5)
    cheap = replace(TASTE, price=np.array([10.0, 1.0, 10.0, 10.0, 40.0]))
    assert chance(1, taste=cheap) == chance(1)


def test_a_shopper_tires_of_what_was_shown_before():
    moment = replace(MOMENT, shown_before={1: 2.0, 3: 9.0})
    assert chance(1, moment) == pytest.approx(chance(1) * FLAT.fatigue**2)


def test_positions_are_looked_at_less_and_less():
    taste = replace(TASTE, reactions=replace(FLAT, position_bias=0.6))
    ids = ["sim-00001"] * 4
    assert taste.chances(MOMENT, ids) == pytest.approx(chance(1) * np.array([1, 2, 3, 4]) ** -0.6)


def test_only_the_screen_counts_and_an_item_in_the_cart_is_not_clicked():
    ids = ["sim-00000", "unknown", "sim-00001", "sim-00003", "sim-00001"]
    chances = TASTE.chances(MOMENT, ids)
    assert chances[:2].tolist() == [0.0, 0.0]
    assert chances[2:] == pytest.approx([chance(1), chance(3)])
    assert TASTE.chances(MOMENT, []).size == 0


def test_the_best_list_has_the_highest_chances():
    best = TASTE.best(MOMENT, 4)
    assert best == ["sim-00001", "sim-00003", "sim-00002", "sim-00004"]
    assert sorted(TASTE.chances(MOMENT, best), reverse=True) == TASTE.chances(MOMENT, best).tolist()


@pytest.mark.parametrize("name", [field.name for field in fields(Reactions)])
def test_a_number_out_of_range_is_refused_by_its_name(name):
    for wrong in (-1, float("nan"), float("inf"), *([1.01] if name in SHARES else [])):
        with pytest.raises(ShopOptionsError, match=f"{name} should be"):
            Reactions(**{name: wrong})


def test_shoppers_forget_from_day_to_day():
    fatigue = Fatigue(0.5)
    fatigue.show(1, [7, 7, 8])
    assert (fatigue.of(1), fatigue.of(2)) == ({7: 2.0, 8: 1.0}, {})
    fatigue.move_to(2)
    fatigue.move_to(2)
    assert fatigue.of(1) == {7: 0.5, 8: 0.25}
    fatigue.move_to(20)
    assert fatigue.of(1) == {}

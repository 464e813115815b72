"""The half-life of a bandit follows from the lists: rewards that move are forgotten, quiet ones are kept."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from lastaisle.experiments.bandits.fading import HALF_LIVES, Hour, best_half_life
from lastaisle.experiments.bandits.learning import learn
from tests.experiments.bandits.conftest import START, bandit, lists


def hours(rates, seed: int = 1) -> list[Hour]:
    """Return an hour of 200 lists of each arm for each row of rates."""
    chance = np.random.default_rng(seed)
    return [
        Hour(hour, f"arm-{arm}", "", 200, int(chance.binomial(200, rate)))
        for hour, row in enumerate(rates)
        for arm, rate in enumerate(row)
    ]


def test_rates_that_stay_are_kept_for_ever():
    assert [best_half_life(hours([(0.05, 0.1, 0.2)] * 150, seed)) for seed in range(8)] == [0.0] * 8
    assert best_half_life([]) == 0.0


def test_rates_that_change_places_are_forgotten():
    moving = [(0.05, 0.1, 0.2)] * 100 + [(0.2, 0.05, 0.1)] * 20
    assert best_half_life(hours(moving)) in HALF_LIVES[3:]


def test_a_half_life_of_the_definition_is_kept_and_the_state_names_it():
    rows = pa.concat_tables(
        [
            lists([("new", "", 100, 20 if hour < 60 else 80)], START + timedelta(hours=hour))
            for hour in range(70)
        ]
    )
    now = START + timedelta(hours=72)
    assert learn(bandit(), rows, now)["half_life_hours"] == 12.0
    assert learn(bandit(options={"half_life_hours": 0}), rows, now)["half_life_hours"] == 0.0
    assert learn(bandit(options={"half_life_hours": 7}), rows, now)["half_life_hours"] == 7.0

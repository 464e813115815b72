"""The ordinary test and its sample size: the same as tea-tasting's, and as simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics import Mean

from lastaisle.experiments.metrics import MEASURES, METRICS
from lastaisle.experiments.statistics.fixed import (
    p_value,
    power_of_test,
    required_units,
    required_units_with_looks,
    z_value,
)

SHARE = 0.03


def test_every_metric_is_made_of_known_measures():
    for name, metric in METRICS.items():
        assert name == metric.name
        assert metric.numerator in MEASURES
        assert metric.denominator in (None, *MEASURES)
    assert METRICS["abandonment"].better == "down"


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2), (0.1, 0.3)])
def test_the_sample_size_is_that_of_tea_tasting(shares):
    variance = SHARE * (1 - SHARE)
    units = required_units(SHARE, variance, 0.05, alpha=0.05, power=0.8, shares=shares)
    theirs = Mean("y", rel_effect_size=0.05, use_t=False, equal_var=True, ratio=shares[1] / shares[0])
    data = Aggregates(count_=10_000, mean_={"y": SHARE}, var_={"y": variance})
    assert units == pytest.approx(theirs.solve_power_from_aggregates(data, "n_obs")[0].n_obs, abs=2)
    assert power_of_test(units, SHARE, variance, 0.05, shares=shares) == pytest.approx(0.8, abs=1e-4)


def test_half_of_the_effect_needs_four_times_the_units():
    wide, narrow = (required_units(SHARE, 0.0291, effect) for effect in (0.1, 0.05))
    assert narrow == pytest.approx(4 * wide, rel=1e-4)
    assert required_units(SHARE, 0.0291, -0.1) == wide


def test_looking_all_the_time_needs_more_units():
    once = required_units(SHARE, 0.0291, 0.1)
    assert 1.5 * once < required_units_with_looks(SHARE, 0.0291, 0.1) < 2.5 * once


@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline": 0.0},
        {"baseline": math.nan},
        {"variance": 0.0},
        {"variance": math.inf},
        {"relative_effect": 0.0},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"power": 1.0},
        {"power": 0.01},
        {"shares": (1.0, 0.0)},
    ],
)
@pytest.mark.parametrize("needed", [required_units, required_units_with_looks])
def test_numbers_out_of_range_are_refused(needed, wrong):
    right = {"baseline": SHARE, "variance": 0.0291, "relative_effect": 0.1}
    with pytest.raises(ValueError, match="received"):
        needed(**{**right, **wrong})


def test_a_p_value_of_alpha_lies_at_the_end_of_the_interval():
    assert p_value(z_value(0.05), 1.0) == pytest.approx(0.05)
    assert p_value(np.array([0.0, 1.0]), np.array([0.0, 0.0])).tolist() == [1.0, 1.0]

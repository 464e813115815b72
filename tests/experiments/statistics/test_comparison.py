"""The difference between two arms: the same as tea-tasting's, stratum by stratum, with few units unknown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tea_tasting import Experiment
from tea_tasting.metrics import Mean, RatioOfMeans

from lastaisle.experiments.statistics.comparison import Comparison, compare
from lastaisle.experiments.statistics.fixed import p_value, z_value
from lastaisle.experiments.statistics.moments import Moments

UNITS = 3000
KNOWN = {"use_t": False, "equal_var": False}


def shop(seed: int = 1) -> pa.Table:
    """Return shoppers of two arms, who order more if they ordered before."""
    draw = np.random.default_rng(seed)
    taste = draw.gamma(1.0, 1.0, UNITS)
    variant = draw.integers(0, 2, UNITS)
    sessions, sessions_before = 1 + draw.poisson(taste), draw.poisson(2 * taste)
    return pa.table(
        {
            "variant": variant,
            "sessions": sessions,
            "sessions_before": sessions_before,
            "revenue": draw.poisson(20 * taste * (1 + 0.1 * variant)) * 1.37,
            "revenue_before": draw.poisson(30 * taste) * 1.37,
            "bought": (draw.random(UNITS) < 0.1 * taste).astype(int),
        }
    )


def moments(data: pa.Table, arm: int, *columns: str | None) -> Moments:
    """Return the moments of an arm as one stratum."""
    chosen = data.filter(pa.compute.equal(data["variant"], arm))
    values = [None if column is None else chosen[column].to_numpy()[None, :] for column in columns]
    return Moments.of_units(*values)


@pytest.mark.parametrize(
    ("metric", "columns"),
    [
        (Mean("revenue", **KNOWN), ("revenue",)),
        (Mean("bought", **KNOWN), ("bought",)),
        (Mean("revenue", covariate="revenue_before", **KNOWN), ("revenue", None, "revenue_before")),
        (RatioOfMeans("revenue", "sessions", **KNOWN), ("revenue", "sessions")),
        (
            RatioOfMeans("revenue", "sessions", "revenue_before", "sessions_before", **KNOWN),
            ("revenue", "sessions", "revenue_before", "sessions_before"),
        ),
    ],
    ids=["mean", "share", "mean with CUPED", "ratio", "ratio with CUPED"],
)
def test_the_comparison_is_that_of_tea_tasting(metric, columns):
    data = shop()
    theirs = Experiment({"metric": metric}).analyze(data)["metric"]
    ours = compare(moments(data, 0, *columns), moments(data, 1, *columns))
    low, high = ours.interval(z_value(0.05))
    found = [ours.control, ours.arm, ours.difference, low, high, p_value(ours.difference, ours.variance)]
    expected = [
        *(theirs.control, theirs.treatment, theirs.effect_size),
        *(theirs.effect_size_ci_lower, theirs.effect_size_ci_upper, theirs.pvalue),
    ]
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-9, atol=1e-12)


def test_successes_have_the_moments_of_their_units():
    data = shop()
    units = moments(data, 1, "bought")
    sums = Moments.of_successes(units.count, units.sums[..., 0])
    np.testing.assert_allclose(sums.products, units.products)
    np.testing.assert_allclose(sums.sums, units.sums)


def test_hours_one_by_one_give_the_moments_of_all():
    data = shop()
    whole = moments(data, 1, "revenue", "sessions", "revenue_before", "sessions_before")
    columns = ("revenue", "sessions", "revenue_before", "sessions_before")
    parts = [moments(data.slice(at, 100), 1, *columns) for at in range(0, UNITS, 100)]
    stacked = Moments(
        *(np.stack([getattr(part, name) for part in parts]) for name in ("count", "sums", "products"))
    )
    last = stacked.running(0)[-1]
    for name in ("count", "sums", "products"):
        np.testing.assert_allclose(getattr(last, name), getattr(whole, name))
    np.testing.assert_allclose(
        last.covariances(),
        np.cov(np.stack([data.filter(pa.compute.equal(data["variant"], 1))[column] for column in columns]))[
            None
        ],
        rtol=1e-9,
    )


def test_cuped_narrows_the_interval_and_keeps_the_difference():
    plain, adjusted = [], []
    for seed in range(40):
        data = shop(seed)
        without = compare(moments(data, 0, "revenue"), moments(data, 1, "revenue"))
        columns = ("revenue", None, "revenue_before")
        with_before = compare(moments(data, 0, *columns), moments(data, 1, *columns))
        assert with_before.variance < with_before.plain_variance
        np.testing.assert_allclose(with_before.plain_variance, without.variance)
        plain.append(float(without.difference))
        adjusted.append(float(with_before.difference))
    truth = 20 * 0.1 * 1.37
    assert abs(np.mean(adjusted) - truth) < 4 * np.std(adjusted) / np.sqrt(40)
    assert np.std(adjusted) < 0.5 * np.std(plain)


def arms(counts: list[tuple[int, int]], rates: list[tuple[float, float]]) -> tuple[Moments, Moments]:
    """Return control and arm, with units and the share of successes of each stratum."""
    units, shares = np.array(counts, float).T, np.array(rates).T
    both = Moments.of_successes(units, units * shares)
    return both[0], both[1]


def test_a_changed_allocation_does_not_bias_the_difference():
    """Shoppers of the second phase order three times as often, and most of them are in the new arm."""
    control, arm = arms([(9000, 1000), (1000, 9000)], [(0.1, 0.1), (0.3, 0.3)])
    assert compare(control, arm).difference == pytest.approx(0.0, abs=1e-12)
    pooled = Moments.of_successes(10_000.0, np.array([1200.0, 2800.0]))
    naive = compare(pooled[0:1], pooled[1:2])
    assert naive.difference == pytest.approx(0.16)


def test_a_stratum_with_few_units_does_not_count_yet():
    control, arm = arms([(1000, 1000), (99, 1000)], [(0.1, 0.2), (0.9, 0.1)])
    found = compare(control, arm)
    assert found.difference == pytest.approx(0.1)
    assert found.units == 2000


@pytest.mark.parametrize(
    ("counts", "rates"),
    [([(50, 50)], [(0.1, 0.2)]), ([(0, 0)], [(0.0, 0.0)]), ([(1000, 1000)], [(0.0, 0.0)])],
    ids=["few units", "no units", "nobody ordered"],
)
def test_while_nothing_is_known_the_interval_is_infinite(counts, rates):
    found: Comparison = compare(*arms(counts, rates))
    assert np.isinf(found.variance)
    assert np.isnan(found.difference)
    assert [*map(float, found.interval(3.0))] == [-np.inf, np.inf]


def test_a_ratio_without_a_denominator_is_unknown():
    none = Moments.of_units(np.zeros((1, 500)), np.zeros((1, 500)))
    assert [*map(float, compare(none, none).interval(3.0))] == [-np.inf, np.inf]


def test_a_ratio_that_nobody_had_before_is_compared_without_cuped():
    data = shop()
    columns = [moments(data, arm, "revenue", "sessions") for arm in (0, 1)]
    zeros = np.zeros((1, UNITS))
    given = []
    for arm in (0, 1):
        chosen = data.filter(pa.compute.equal(data["variant"], arm))
        top, bottom = (chosen[name].to_numpy()[None, :] for name in ("revenue", "sessions"))
        nothing = zeros[:, : chosen.num_rows]
        given.append(Moments.of_units(top, bottom, nothing, nothing))
    np.testing.assert_allclose(compare(*given).variance, compare(*columns).variance)
    np.testing.assert_allclose(compare(*given).difference, compare(*columns).difference)

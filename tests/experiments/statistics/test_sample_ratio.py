"""The sequential test of the sample ratio: it finds a wrong ratio, and seldom alarms without one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.integrate import quad
from scipy.stats import beta, binom
from tea_tasting import Experiment
from tea_tasting.metrics import SampleRatio

from lastaisle.experiments.statistics.sample_ratio import ALPHA, always_valid_p, log_evidence

ALARM = -np.log(ALPHA)


def test_the_evidence_is_the_bayes_factor():
    """Integrate the likelihood over the shares that the test holds possible."""
    counts, shares, concentration = [60, 40], [0.5, 0.5], 30.0
    mixed, _ = quad(lambda p: binom.pmf(60, 100, p) * beta.pdf(p, 15, 15), 0, 1)
    expected = np.log(mixed / binom.pmf(60, 100, 0.5))
    assert log_evidence(counts, shares, concentration=concentration) == pytest.approx(expected, abs=1e-9)


def test_it_alarms_where_tea_tasting_is_far_below_the_limit():
    """With one look tea-tasting's test is sharper, so an alarm here is one there."""
    for units in range(5000, 6001, 50):
        counts = [units, 5000]
        evidence = float(log_evidence(counts, [0.5, 0.5]))
        variant = np.repeat([0, 1], counts)
        theirs = Experiment({"ratio": SampleRatio()}).analyze(pa.table({"variant": variant}))["ratio"].pvalue
        if evidence > ALARM:
            assert theirs < ALPHA
        if theirs < 1e-8:
            assert evidence > ALARM


def test_of_right_ratios_hardly_one_alarms_at_any_look():
    draw = np.random.default_rng(11)
    counts = draw.multinomial(500, [0.5, 0.3, 0.2], (2000, 200)).cumsum(1)
    evidence = log_evidence(counts, [0.5, 0.3, 0.2])
    assert (evidence > ALARM).any(1).mean() <= 3 * ALPHA


def test_a_ratio_that_is_off_by_a_hundredth_is_found():
    draw = np.random.default_rng(12)
    counts = draw.multinomial(500, [0.51, 0.49], (50, 400)).cumsum(1)
    evidence = log_evidence(counts, [0.5, 0.5])
    assert (evidence > ALARM).any(1).mean() > 0.95


def test_the_p_value_never_rises():
    evidence = np.array([[-1.0, 2.0, 1.0, 9.0, 0.0]])
    np.testing.assert_allclose(always_valid_p(evidence), [[1.0, *np.exp([-2.0, -2.0, -9.0, -9.0])]])

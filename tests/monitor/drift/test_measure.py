"""Scores of arrays whose values are known."""

from datetime import date, timedelta

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from lastaisle.monitor.drift.counts import CRAWLER, MISSING, Counts, Series
from lastaisle.monitor.drift.measure import jensen_shannon, merge_bins, psi, score_day, smoothed_shares
from lastaisle.monitor.drift.sentences import describe_change

FIRST = date(2025, 10, 6)


def test_psi_follows_its_formula():
    # 600 and 400 visits of 1,000 against 500 and 500, with half a visit more in each bin.
    p, q = np.array([600.5, 400.5]) / 1001, np.array([500.5, 500.5]) / 1001
    expected = ((p - q) * np.log(p / q)).sum()
    assert psi(np.array([500.0, 500]), np.array([600.0, 400])) == pytest.approx(expected)
    assert psi(np.array([500.0, 500]), np.array([600.0, 400])) == pytest.approx(0.0405, abs=5e-4)


def test_jensen_shannon_is_one_bit_without_a_shared_bin_and_agrees_with_scipy():
    apart = jensen_shannon(np.array([1e9, 0.0]), np.array([0.0, 1e9]))
    assert apart == pytest.approx(1.0, abs=1e-6)
    one, other = np.array([5.0, 30, 65]), np.array([20.0, 20, 60])
    expected = jensenshannon(smoothed_shares(one), smoothed_shares(other), base=2) ** 2
    assert jensen_shannon(one, other) == pytest.approx(expected)


def test_equal_shares_score_zero_and_an_empty_bin_has_a_finite_score():
    counts = np.array([300.0, 600, 900])
    assert psi(counts, counts) == 0.0
    assert jensen_shannon(counts, counts) == 0.0
    assert 0 < psi(np.array([100.0, 0]), np.array([90.0, 10])) < 1
    assert psi(np.ones((4, 3)), np.ones((4, 3))).shape == (4,)


def test_psi_of_two_samples_of_one_distribution_has_the_mean_of_the_theory():
    generator = np.random.default_rng(3)
    chances = np.full(11, 1 / 11)
    reference, counts = (generator.multinomial(n, chances, 4000).astype(float) for n in (20_000, 4_000))
    assert psi(reference, counts).mean() == pytest.approx(10 * (1 / 20_000 + 1 / 4_000), rel=0.05)


def test_ordered_bins_become_tenths_of_the_reference_and_missing_values_stay_apart():
    bins = np.array([str(number) for number in [*range(100), MISSING]], dtype=object)
    reference = np.r_[np.full(100, 10.0), 50]
    now = np.r_[np.zeros(50), np.full(50, 20.0), 500]
    before, after = merge_bins("price", bins, reference, now)
    assert before.tolist() == [100.0] * 10 + [50.0]
    assert after.tolist() == [0.0] * 5 + [200.0] * 5 + [500.0]


def test_the_largest_bins_stay_and_all_others_become_one():
    bins = np.array([str(number) for number in range(50)], dtype=object)
    reference = np.arange(50, 0, -1.0)
    before, after = merge_bins("brand", bins, reference, np.ones(50))
    assert before.tolist() == [*np.arange(50, 20, -1.0), np.arange(1, 21).sum()]
    assert after[-1] == 20


def counts_of(**series):
    """Return counts of eight days, of which seven are equal; `series` has name to bins to (before, last)."""
    days = tuple(FIRST + timedelta(days=number) for number in range(8))
    built = {}
    for name, bins in {"session_length": {"2": (500, 500)}, **series}.items():
        values = np.array([[before] * 7 + [last] for before, last in bins.values()], float).T
        built[name, "all"] = Series(np.array(list(bins), dtype=object), values)
    return Counts(days, built)


def test_new_items_is_the_share_of_visits_to_items_that_the_week_before_did_not_have():
    found = score_day(counts_of(items={"a": (300, 300), "b": (0, 100)}), FIRST + timedelta(days=7))
    by_feature = {each.feature: each for each in found}
    assert by_feature["new_items"].score == 0.25
    assert by_feature["new_items"].measure == "share"
    assert (by_feature["items"].visits, by_feature["items"].reference_visits) == (400, 2100)


def test_a_day_without_enough_visits_or_days_before_is_not_compared():
    counts = counts_of(country={"AT": (100, 100)})
    assert {each.feature for each in score_day(counts, FIRST + timedelta(days=7))} == {"session_length"}
    assert score_day(counts, FIRST + timedelta(days=2)) == []
    assert score_day(counts, FIRST) == []


CHANGES = {
    "prices of category shoes rose by 30 %": ("price", "category=shoes", {"40": (500, 0), "43": (0, 500)}),
    "prices are missing in 50.0 %, 0.0 % before": (
        *("price", "all"),
        {"40": (500, 250), str(MISSING): (0, 250)},
    ),
    "category b on mobile rose from 10.0 % to 20.0 %": (
        *("category", "device=mobile"),
        {"a": (900, 800), "b": (100, 200)},
    ),
    "category c rose from 1.0 % to 2.0 %": (
        *("category_share", "category=c"),
        {"a": (590, 480), "b": (400, 500), "c": (10, 20)},
    ),
    "5.0 % of the sessions are crawlers, 0.1 % before": (
        *("session_length", "all"),
        {"2": (999, 950), str(CRAWLER): (1, 50)},
    ),
    "sessions have 4.00 items on average, 3.00 before": (
        *("session_length", "all"),
        {"2": (500, 0), "4": (500, 1000)},
    ),
    "10.0 % of the events repeat another event exactly, 0.0 % before": (
        *("repeated", "all"),
        {"first": (1000, 900), "again": (0, 100)},
    ),
}


def test_one_category_is_scored_against_all_others():
    found = score_day(
        counts_of(category={"a": (900, 800), "b": (100, 200), "c": (10, 10)}), FIRST + timedelta(days=7)
    )
    by_segment = {each.segment: each for each in found if each.feature == "category_share"}
    assert set(by_segment) == {"category=a", "category=b"}, "c is too small to be judged"
    expected = psi(np.array([700.0, 6370]), np.array([200.0, 810]))
    assert by_segment["category=b"].score == pytest.approx(float(expected))


@pytest.mark.parametrize("sentence", CHANGES)
def test_the_sentence_names_the_change_its_place_and_its_size(sentence):
    feature, segment, bins = CHANGES[sentence]
    reference, now = np.array(list(bins.values()), float).T
    series = Series(np.array(list(bins), dtype=object), np.zeros((0, len(bins))))
    assert describe_change(feature, segment, series, reference, now) == sentence


def test_the_title_of_an_item_stands_beside_its_id():
    series = Series(np.array(["7", "8"], dtype=object), np.zeros((0, 2)))
    counts = np.array([500.0, 500.0]), np.array([900.0, 100.0])
    told = describe_change("items", "all", series, *counts, titles={"8": "Lamp\nof glass"})
    assert told == "item 8 (Lamp\\nof glass) fell from 50.0 % to 10.0 %"
    assert describe_change("items", "all", series, *counts, titles={}).startswith("item 8 fell")

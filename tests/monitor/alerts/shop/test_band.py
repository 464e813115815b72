"""The band in which a measure usually lies: the hours and days of a quiet shop, and those of a drop."""

import numpy as np
import pytest

from lastaisle.baseline.fit import DAY, WEEK
from lastaisle.baseline.hours import read_hours
from lastaisle.lake import Lake
from lastaisle.monitor.alerts.shop.band import bands_of
from lastaisle.monitor.alerts.shop.judge import HOURS_READ, judge_shop
from lastaisle.monitor.alerts.shop.limits import ShopDropOptions
from tests.baseline.shop import CHAMPION, CONVERSION, OPENED, dropped, hours_of, steady, write_figures

HOURS = 7 * WEEK
START = HOURS - 3 * DAY
OPTIONS = ShopDropOptions(maturity_hours=0)


def shop_of(folder, rates, hours=HOURS):
    lake = Lake(str(folder))
    write_figures(lake, hours_of(rates, {**CHAMPION, "model_version": "1"}, 0, hours))
    return read_hours(lake, 0, HOURS_READ, by=("placement", "segment"))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    return shop_of(tmp_path_factory.mktemp("quiet"), steady)


@pytest.fixture(scope="module")
def fallen(tmp_path_factory):
    return shop_of(tmp_path_factory.mktemp("fallen"), dropped(START, 0.4))


def band(shop, length, measure="conversion", options=OPTIONS):
    return bands_of(shop, [measure], options, [length]).get(("checkout", measure, length))


def rates(shop, found, length, measure="sessions_ordered", whole="sessions"):
    """Return the rate of each period of a band."""
    period = shop.hours // length * length
    sums = [
        [shop.rows[name].to_numpy()[period == start].sum() for start in found.starts]
        for name in (measure, whole)
    ]
    return np.array(sums[0]) / np.array(sums[1])


@pytest.mark.parametrize("length", [1, DAY])
def test_the_periods_of_a_quiet_shop_lie_in_the_band(quiet, length):
    found = band(quiet, length)
    rate = rates(quiet, found, length)
    assert len(found.starts) >= 4 * WEEK // length
    assert np.mean((found.low <= rate) & (rate <= found.high)) > 0.9
    assert np.all((found.low < found.usual) & (found.usual < found.high))
    assert found.usual.mean() == pytest.approx(CONVERSION, rel=0.1)


def test_the_band_of_a_day_is_narrower_than_that_of_its_hours(quiet):
    hours, days = band(quiet, 1), band(quiet, DAY)
    assert (days.high - days.low).max() < (hours.high - hours.low).min()


def test_the_band_follows_the_hours_of_the_day(quiet):
    found = band(quiet, 1)
    evening = found.starts % DAY > 17
    assert found.usual[evening].mean() > 1.05 * found.usual[~evening].mean()


def test_a_drop_lies_below_the_band_and_teaches_it_nothing(fallen):
    found = band(fallen, DAY)
    rate = rates(fallen, found, DAY)
    fell = found.starts >= OPENED + START
    assert fell.sum() == 3
    assert np.all(rate[fell] < found.low[fell])
    assert np.all(rate[~fell] > found.low[~fell])
    assert found.usual[fell].mean() == pytest.approx(found.usual[~fell].mean(), rel=0.03)


def test_the_band_of_a_drop_is_the_level_that_its_alert_names(fallen):
    (judged,) = judge_shop(fallen, ["conversion"], OPTIONS)
    assert judged.state == "dropped"
    found = band(fallen, 1)
    fell = found.starts >= judged.drop.since
    units = fallen.rows["sessions"].to_numpy()
    weights = [units[fallen.hours == start].sum() for start in found.starts[fell]]
    assert np.average(found.usual[fell], weights=weights) == pytest.approx(judged.usual[0], rel=0.05)


def test_money_has_a_band_too(quiet):
    found = band(quiet, DAY, "revenue_per_session")
    rate = rates(quiet, found, DAY, "revenue")
    assert np.mean((found.low <= rate) & (rate <= found.high)) > 0.9


def test_hours_that_do_not_count_yet_have_no_band(tmp_path):
    shop = shop_of(tmp_path, steady, 5 * WEEK + 30)
    assert band(shop, 1).starts.max() == OPENED + 5 * WEEK + 29
    assert band(shop, DAY).starts.max() == OPENED + 5 * WEEK, "the last day is not whole"


def test_without_two_weeks_of_history_there_is_no_band(tmp_path):
    assert band(shop_of(tmp_path, steady, 13 * DAY), 1) is None

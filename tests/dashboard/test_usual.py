"""The usual bands in the charts of the page Shop."""

import re

import pytest

from lastaisle.baseline.fit import WEEK
from lastaisle.baseline.hours import moment_of, read_hours, sum_hours
from lastaisle.dashboard.figures import usual as usuals
from lastaisle.dashboard.figures.cube import read_cube
from lastaisle.dashboard.figures.shop import PERIODS, shop_figures
from lastaisle.dashboard.source import Source
from lastaisle.monitor.alerts.shop.judge import HOURS_READ
from lastaisle.settings import Settings
from tests.baseline.shop import CHAMPION, OPENED, dropped, hours_of, steady, write_figures
from tests.dashboard.test_shop import charts

ONE = {**CHAMPION, "model_version": "1"}
HOURS = 5 * WEEK
START = HOURS - 48
JUDGED = ["ctr", "conversion", "add_to_cart_rate", "revenue", "abandonment"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a home with a lake; conversion dropped two days ago at one of two placements."""
    home = tmp_path_factory.mktemp("home")
    rows = hours_of(dropped(START, 0.4), ONE, 0, HOURS)
    rows += hours_of(steady, {**ONE, "placement": "basket"}, 0, HOURS, seed=1)
    write_figures(Source(Settings.of(home=home)).lake, rows)
    return home


@pytest.fixture
def source(home):
    return Source(Settings.of(home=home))


def names(chart):
    return [line["name"] for line in chart["series"]]


def test_the_sums_are_those_that_alerts_judge(source):
    cube = read_cube(source.lake)
    by = ("placement", "segment")
    expected = read_hours(source.lake, 2, HOURS_READ, by=by)
    found = sum_hours(source.lake, cube.watched, 2, by)
    assert found.complete_until == expected.complete_until
    assert found.currency == expected.currency
    one, other = (
        shop.rows.sort_by([("hour", "ascending"), ("placement", "ascending")]) for shop in (found, expected)
    )
    assert one.num_rows == 2 * HOURS
    assert one.drop(["revenue"]).equals(other.drop(["revenue"]))
    assert one["revenue"].to_pylist() == pytest.approx(other["revenue"].to_pylist())


def test_each_judged_figure_has_its_band_behind_its_line(reader):
    text = reader.get("/shop", params={"period": "7-hour", "placement": "checkout"}).text
    drawn = charts(text)
    assert all(names(drawn[name])[0] == "usual" for name in JUDGED)
    assert all("usual" not in names(drawn[name]) for name in ("seconds", "depth"))
    assert "Grey: what is usual" in text
    band, line = drawn["conversion"]["series"]
    assert band["style"] == "usual"
    assert band["low"][-1] is None, "its sessions still go on"
    at = drawn["conversion"]["x"].index(moment_of(OPENED + START + 12).timestamp())
    assert line["values"][at] < band["low"][at] < band["values"][at] < band["high"][at]
    before = drawn["conversion"]["x"].index(moment_of(OPENED + START - 12).timestamp())
    assert band["low"][before] < line["values"][before] < band["high"][before]


def test_the_whole_shop_and_days_have_a_band(reader):
    drawn = charts(reader.get("/shop", params={"period": "28-day"}).text)
    band, line = drawn["conversion"]["series"]
    assert (band["name"], line["name"]) == ("usual", "all")
    assert line["values"][-3] > band["low"][-3]
    assert line["values"][-2] < band["low"][-2]
    assert band["low"][-1] is None, "the last day is not complete"


@pytest.mark.parametrize("asked", [{"by": "version"}, {"by": "placement"}, {"period": "364-week"}])
def test_groups_and_weeks_have_no_band(reader, asked):
    drawn = charts(reader.get("/shop", params=asked).text)
    assert drawn
    assert all("usual" not in names(chart) for chart in drawn.values())


def test_bands_are_computed_once_for_all_visitors(reader, monkeypatch):
    count = []
    bands_of = usuals.bands_of
    monkeypatch.setattr(usuals, "bands_of", lambda *given: count.append(1) or bands_of(*given))
    for params in ({"period": "7-hour"}, {"period": "1-hour"}, {"placement": "basket"}):
        assert "Grey" in reader.get("/shop", params=params).text
    assert len(count) == 2, "one for each of the two rules"


def test_a_shop_with_one_placement_has_the_band_of_the_whole_shop(tmp_path):
    source = Source(Settings.of(home=tmp_path))
    write_figures(source.lake, hours_of(steady, ONE, 0, 3 * WEEK + 24))
    found = usuals.find_usual(source)
    assert {placement for placement, _, _ in found.bands} == {"checkout"}
    metric = next(one for one in metrics_in(source) if one.name == "ctr")
    assert found.of(metric, None, "hour") == found.of(metric, "checkout", "hour") != {}


def metrics_in(source):
    return shop_figures(read_cube(source.lake), PERIODS["7-hour"], (), None).metrics


def test_a_rule_that_is_off_draws_no_band(home, tmp_path):
    file = tmp_path / "alerts.yaml"
    file.write_text("rules:\n  ctr_drop:\n    off: true\n")
    settings = Settings.of(home=home)
    alerts = settings.alerts.model_copy(update={"file": str(file)})
    found = usuals.find_usual(Source(settings.model_copy(update={"alerts": alerts})))
    assert {measure for _, measure, _ in found.bands} == {"conversion", "revenue_per_session", "abandonment"}


def test_little_history_is_said(tmp_path, reader_of):
    source = Source(Settings.of(home=tmp_path))
    write_figures(source.lake, hours_of(steady, ONE, 0, 3 * 24))
    text = reader_of(source).get("/shop").text
    assert "No usual range is drawn: it needs 14 days of figures" in re.sub(r"\s+", " ", text)
    assert all("usual" not in names(chart) for chart in charts(text).values())


def test_a_configuration_of_alerts_that_cannot_be_used_hides_no_figure(home, tmp_path, reader_of):
    file = tmp_path / "alerts.yaml"
    file.write_text("rules: 7\n")
    settings = Settings.of(home=home)
    alerts = settings.alerts.model_copy(update={"file": str(file)})
    text = reader_of(Source(settings.model_copy(update={"alerts": alerts}))).get("/shop").text
    assert str(file) in text
    assert "conversion" in charts(text)

"""The page Shop: figures by period, group and placement, and how two versions differ."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.dashboard.figures.cube import read_cube
from lastaisle.dashboard.figures.shop import MOST_GROUPS, MOST_LINES, PERIODS, shop_figures
from lastaisle.dashboard.figures.versions import compare
from tests.dashboard.shop_rows import hour_rows, write_rows

START = datetime(2026, 11, 1, tzinfo=UTC)  # a Sunday
HOUR = timedelta(hours=1)


@pytest.fixture
def lake(source):
    """Ten days; version 2 takes over on the sixth, and sells more."""
    rows = []
    for day in range(10):
        version, orders = ("1", 3) if day < 5 else ("2", 9)
        for hour in (8, 20):
            moment = START + timedelta(days=day, hours=hour)
            rows += hour_rows(moment, version=version, orders=orders)
            rows += hour_rows(moment, version=version, orders=1, placement="product", sessions=50)
    write_rows(source.lake, rows, "rows")
    return source.lake


def charts(text):
    figure = r'<figure class="chart" id="chart-([^"]+)">(?:(?!</figure>).)*?<script[^>]*>(.*?)</script>'
    return {name: json.loads(data) for name, data in re.findall(figure, text, re.S)}


def test_the_page_says_how_the_conversion_of_two_versions_differs(reader, lake):
    text = reader.get("/shop", params={"one": "2", "other": "1", "placement": "checkout"}).text
    assert "Conversion is 9.00 % with version 2 and 3.00 % with version 1: +6.00 percentage points" in text
    assert "Version 2 converts better." in text
    assert "0 days in common" in text


def test_a_difference_within_chance_is_not_called_one(source, reader):
    rows = hour_rows(START, version="1", orders=3) + hour_rows(START, version="2", orders=4)
    write_rows(source.lake, rows, "rows")
    text = reader.get("/shop").text
    assert "The interval holds 0: the figures show no difference." in text
    assert "1 day in common" in text


def test_more_abandonment_is_worse(source):
    rows = [
        {**row, "sessions_abandoned": count} if row.get("sessions") else row
        for version, count in (("1", 20), ("2", 180))
        for row in hour_rows(START, version=version, sessions=1000, orders=100)
    ]
    write_rows(source.lake, rows, "rows")
    found = compare(read_cube(source.lake), "2", "1", None)
    assert found.of("abandonment").verdict == "worse"
    assert found.of("ctr").verdict == "open"
    assert found.of("dwell").verdict == "unknown"


def test_versions_that_never_met_at_a_placement_are_not_compared(source, reader):
    rows = hour_rows(START, version="1") + hour_rows(START, version="2", placement="product")
    write_rows(source.lake, rows, "rows")
    text = reader.get("/shop", params={"placement": "product"}).text
    assert "made no lists at this placement" in text


def test_all_charts_have_the_lines_of_the_split(reader, lake):
    text = reader.get("/shop", params={"by": "placement", "period": "28-day"}).text
    drawn = charts(text)
    assert set(drawn) == {
        "ctr",
        "conversion",
        "add_to_cart_rate",
        "revenue",
        "abandonment",
        "seconds",
        "depth",
        "dwell",
    }
    assert {line["name"] for line in drawn["ctr"]["series"]} == {"checkout", "product"}
    assert drawn["conversion"]["byDay"]
    assert len(drawn["conversion"]["x"]) == 10
    (checkout,) = (line for line in drawn["conversion"]["series"] if line["name"] == "checkout")
    assert checkout["values"][:1] == [0.03]
    assert checkout["values"][-1:] == [0.09]
    assert checkout["low"][0] < 0.03 < checkout["high"][0]


def test_the_hour_in_which_a_version_began_to_serve_is_marked(reader, lake):
    drawn = charts(reader.get("/shop", params={"period": "28-day"}).text)
    began = (START + timedelta(days=5, hours=8)).timestamp()
    assert [began, "version 2"] in drawn["ctr"]["marks"]


@pytest.mark.parametrize(
    ("period", "by"),
    [
        *((period, "version") for period in PERIODS),
        *(("28-day", by) for by in ("", "arm", "segment", "policy")),
    ],
)
def test_every_choice_gives_a_page(reader, lake, period, by):
    answer = reader.get("/shop", params={"period": period, "by": by})
    assert answer.status_code == 200
    assert "cannot be read" not in answer.text
    assert "The whole period" in answer.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"period": "3-moons"},
        {"by": "item_id"},
        {"by": "position; DROP"},
        {"placement": "<script>"},
        {"one": "77"},
        {"other": "-1"},
    ],
)
def test_a_wrong_choice_is_refused_in_words(reader, lake, wrong):
    answer = reader.get("/shop", params=wrong)
    assert answer.status_code == 422
    assert "is one of" in answer.text
    assert "<script>" not in answer.text.replace('<script src="/static', "")
    assert "Traceback" not in answer.text


def test_weeks_begin_on_mondays(lake):
    figures = shop_figures(read_cube(lake), PERIODS["364-week"], (), None)
    assert {moment.weekday() for moment in figures.moments} == {0}
    assert figures.since.weekday() == 0


def test_a_period_without_figures_of_a_group_leaves_a_gap(source):
    rows = hour_rows(START) + hour_rows(START + timedelta(days=3))
    write_rows(source.lake, rows, "rows")
    figures = shop_figures(read_cube(source.lake), PERIODS["28-day"], (), None)
    assert len(figures.moments) == 4
    assert len(figures.lines[0][1]) == 2


def test_many_groups_are_bounded_and_counted(source, reader):
    rows = [
        row for number in range(60) for row in hour_rows(START, segment=f"s{number}", sessions=100 + number)
    ]
    write_rows(source.lake, rows, "rows")
    figures = shop_figures(read_cube(source.lake), PERIODS["28-day"], ("segment",), None)
    assert len(figures.lines) == MOST_LINES
    assert "s59" in dict(figures.lines)
    assert figures.left_out == 60 - MOST_GROUPS
    assert "20 more groups are left out" in reader.get("/shop", params={"by": "segment"}).text


def test_names_of_groups_are_no_markup(source, reader):
    write_rows(source.lake, hour_rows(START, segment="</script><b>"), "rows")
    text = reader.get("/shop", params={"by": "segment"}).text
    assert "<b>" not in text


def test_the_page_names_the_command_that_gives_its_figures(reader, lake):
    text = reader.get("/shop", params={"by": "version", "placement": "checkout", "period": "28-day"}).text
    assert "lastaisle metrics --every day --by version --since 2026-10-14T00:00 --placement checkout" in text


def test_one_version_alone_is_compared_with_none(source, reader):
    write_rows(source.lake, hour_rows(START), "rows")
    text = reader.get("/shop").text
    assert "Two versions beside each other" not in text
    assert "The whole period" in text

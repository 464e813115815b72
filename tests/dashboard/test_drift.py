"""The page Drift: what moved, in words and beside its limit, and which trainings it started."""

from datetime import date, timedelta

import pytest

from lastaisle.dashboard.figures.drift import feature_map, level_of, read_drift
from lastaisle.monitor.drift.history import reports_since, store_report
from lastaisle.monitor.drift.report import DriftReport, Finding
from tests.dashboard.reading import lines_of, text_of

NEWEST = date(2026, 11, 23)


def finding(score, limit=0.1, feature="price", segment="all", **more):
    alarmed = limit is not None and score > limit
    change = "prices rose by 31 %" if alarmed else ""
    return Finding(feature, segment, "psi", score, None, limit, alarmed, change, 1000, 7000, **more)


def add_day(source, ago, *findings, retrain=False, contents="c"):
    day = NEWEST - timedelta(days=ago)
    reason = "A full training is started." if retrain else "No training is started: there is no alarm."
    store_report(source.lake, DriftReport(day, findings, retrain, reason), contents)


@pytest.fixture
def drifted(source):
    """Three days: a quiet one, one without a measurement, and one on which prices rose."""
    add_day(source, 2, finding(0.02), finding(0.01, feature="brand"))
    add_day(source, 0, finding(0.34), finding(0.2, segment="device=mobile"), retrain=True)
    return source


def test_the_page_says_what_moved(reader, drifted):
    told = text_of(reader.get("/drift"))
    assert "The newest day, 2026-11-23 (UTC) 2 alarms" in told
    assert "prices rose by 31 %: PSI 0.34, limit 0.1" in told
    assert "Trainings that drift started 1 in the last 56 days, by the drift of 2026-11-23" in told
    assert "2026-11-23 price all 0.3400 0.1000 prices rose by 31 %" in told
    assert "SELECT * FROM events WHERE event_date = DATE '2026-11-23'" in told


def test_a_chosen_day_is_shown(reader, drifted):
    told = text_of(reader.get("/drift", params={"day": "2026-11-21"}))
    assert "2026-11-21 (UTC) Nothing drifted" in told
    assert "DATE '2026-11-21'" in told


def test_the_heat_map_has_the_segment_that_moved_most(drifted):
    shown = feature_map(read_drift(drifted))
    assert (shown.rows, shown.columns) == (["brand", "price"], ["11-21", "11-22", "11-23"])
    assert [[cell.value for cell in row] for row in shown.cells] == [[0.01, None, None], [0.02, None, 0.34]]
    assert [cell.marked for cell in shown.cells[1]] == [False, False, True]
    assert "price of all: PSI 0.34, limit 0.1. prices rose by 31 %" in shown.cells[1][2].text


@pytest.mark.parametrize(
    ("score", "limit", "level"),
    [(0.04, 0.1, 0), (0.1, 0.1, 1), (0.11, 0.1, 2), (0.2, 0.1, 3), (0.4, 0.1, 4), (9.0, None, 0)],
)
def test_a_cell_tells_how_far_a_score_is_from_its_limit(score, limit, level):
    assert level_of(finding(score, limit)) == level


def test_the_score_of_a_feature_is_drawn_beside_its_limit(reader, drifted):
    answer = reader.get("/drift", params={"feature": "price", "segment": "device=mobile"})
    assert lines_of(answer, "course") == {
        "PSI": [None, None, 0.2],
        "limit": [None, None, 0.1],
        "alarm": [None, None, 0.2],
    }


def test_of_two_measurements_of_a_day_the_newer_counts(drifted):
    add_day(drifted, 0, finding(0.05), contents="other")
    report = reports_since(drifted.lake, NEWEST)[0]
    assert {(one.segment, one.score) for one in report.findings} == {("all", 0.05), ("device=mobile", 0.2)}


@pytest.mark.parametrize(
    ("choice", "status"),
    [
        ({"day": "2026-01-01"}, 404),
        ({"day": "yesterday"}, 404),
        ({"feature": "x"}, 422),
        ({"feature": "price", "segment": "x"}, 422),
        ({"feature": "price'", "segment": "<b>"}, 422),
    ],
)
def test_a_wrong_choice_is_refused_in_words(reader, drifted, choice, status):
    answer = reader.get("/drift", params=choice)
    assert answer.status_code == status
    assert "There is no such page" in answer.text
    assert "<b>" not in answer.text


def test_a_name_with_a_quote_gives_sound_sql(reader, source):
    add_day(source, 0, finding(0.02, segment="category=kids' shoes"))
    assert "segment = 'category=kids'' shoes'" in text_of(reader.get("/drift"))

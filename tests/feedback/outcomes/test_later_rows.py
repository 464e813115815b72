"""What later rows and further runs change in the outcomes, and what stays as it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow.compute as pc
import pytest

from lastaisle.errors import ReconciliationError
from lastaisle.feedback.outcomes.attribute import attribute, is_stale
from lastaisle.feedback.outcomes.report import AttributionReport
from lastaisle.lake.maintenance import MaintenancePolicy, maintain, tables_of
from lastaisle.lake.query import Query
from lastaisle.lake.tables import EVENTS, EXPOSURES, OUTCOMES, UNATTRIBUTED
from lastaisle.lake.workspace import open_workspace
from lastaisle.settings import Settings

from .shop import NOON, counts, event, feedback, outcomes, put, reasons, versions

SETTINGS = Settings.of()


def test_late_rows_correct_the_outcomes_in_place(lake):
    first, click = feedback("shown", "a", 0), feedback("clicked", "a", 10, recommendation_id="late")
    put(lake, first, click, event("item_viewed", "a", 10))
    attribute(lake, SETTINGS)
    assert counts(lake, first) == (1, 1, 0, 0), "the list is unknown yet, so the session decides"
    late = feedback("shown", "a", 5, recommendation_id="late")
    put(lake, late)
    attribute(lake, SETTINGS)
    assert counts(lake, first) == (0, 0, 0, 0) and counts(lake, late) == (1, 1, 0, 0)
    put(lake, event("order_completed", "a", 12, price=1.0, currency="EUR"))
    report = attribute(lake, SETTINGS)
    assert counts(lake, late) == (1, 1, 0, 1)
    assert report.changed_days == [NOON.date()]


def test_feedback_ahead_of_its_list_is_attributed_when_the_list_arrives(lake):
    click = feedback("clicked", "a", 1)
    put(lake, click)
    attribute(lake, SETTINGS)
    assert reasons(lake) == {click["exposure_id"]: "no_such_list"}
    shown = feedback("shown", "a", 0)
    put(lake, shown)
    attribute(lake, SETTINGS)
    assert reasons(lake) == {} and counts(lake, shown)[0] == 1


def test_a_run_without_news_writes_nothing(lake):
    put(lake, feedback("shown", "a", 0), event("item_viewed", "a", 1), feedback("clicked", "b", 1))
    first = attribute(lake, SETTINGS)
    before = versions(lake)
    again = attribute(lake, SETTINGS)
    assert versions(lake) == before
    assert (again.days, again.changed_days) == ([], [])
    assert (again.exposures, again.unattributed_by_reason) == (first.exposures, first.unattributed_by_reason)
    attribute(lake, SETTINGS, every_day=True)
    assert versions(lake) == before, "the same rows are not written again"


def test_outcomes_are_stale_until_the_news_are_attributed(lake):
    put(lake, event("item_viewed", "a", 1))
    assert not is_stale(lake, SETTINGS)
    put(lake, feedback("shown", "a", 0))
    for news in (None, event("page_viewed", None, 1), feedback("clicked", "a", 1)):
        if news:
            put(lake, news)
        assert is_stale(lake, SETTINGS)
        attribute(lake, SETTINGS)
        assert not is_stale(lake, SETTINGS)
    assert is_stale(lake, Settings.of(attribution_hours=1))


def test_news_without_effect_are_read_once(lake):
    put(lake, feedback("shown", "a", 0), event("item_viewed", "a", 1))
    attribute(lake, SETTINGS)
    rows, files = lake.scan(OUTCOMES), lake.table(OUTCOMES).file_uris()
    put(lake, event("page_viewed", None, 2, session_id="other"))
    assert attribute(lake, SETTINGS).changed_days == []
    assert lake.table(OUTCOMES).file_uris() == files
    assert lake.scan(OUTCOMES) == rows
    before = versions(lake)
    attribute(lake, SETTINGS)
    assert versions(lake) == before


def test_only_the_days_near_the_news_are_attributed(lake):
    for day in range(-40, 1):
        put(lake, feedback("shown", "a", 60 * 24 * day))
    attribute(lake, SETTINGS)
    put(lake, event("item_viewed", "a", 1))
    assert [(day - NOON.date()).days for day in attribute(lake, SETTINGS).days] == [-1, 0]
    put(lake, feedback("shown", "b", -60 * 24 * 20))
    assert [(day - NOON.date()).days for day in attribute(lake, SETTINGS).days] == [-21, -20, -19]


def test_two_runs_at_once_agree(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, event("item_viewed", "a", 1), feedback("clicked", "a", 1))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: attribute(lake, SETTINGS), range(2)))
    assert counts(lake, shown) == (1, 1, 0, 0)
    assert lake.scan(OUTCOMES).num_rows == 1
    put(lake, event("item_viewed", "a", 2), feedback("clicked", "a", 3))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: attribute(lake, SETTINGS), range(2)))
    assert counts(lake, shown) == (2, 2, 0, 0)


def replaced(lake, name, schema, day, rows="SELECT * FROM kept WHERE false"):
    with open_workspace(writes_to=lake.url) as connection:
        connection.register("kept", lake.dataset(name))
        lake.replace_days(name, Query(connection, rows, schema, [day]), if_version=lake.version(name))


@pytest.mark.parametrize("name", [OUTCOMES, UNATTRIBUTED])
def test_rows_that_vanished_are_an_error_until_all_days_are_attributed_again(lake, name):
    put(lake, feedback("shown", "a", 0), feedback("clicked", "a", 1), feedback("clicked", "z", 1))
    attribute(lake, SETTINGS)
    rows = lake.scan(name)
    replaced(lake, name, rows.schema, NOON.date())
    before = versions(lake)
    with pytest.raises(ReconciliationError, match=r"attribute --all"):
        attribute(lake, SETTINGS)
    put(lake, feedback("shown", "a", NOON + timedelta(days=9)))
    with pytest.raises(ReconciliationError, match=r"Nothing was committed"):
        attribute(lake, SETTINGS)
    assert versions(lake) == before
    attribute(lake, SETTINGS, every_day=True)
    assert lake.scan(name, where=pc.field("event_date") == NOON.date()) == rows


def test_a_day_that_is_gone_from_the_exposures_goes_from_the_outcomes(lake):
    today, before = feedback("shown", "a", 0), feedback("shown", "a", -60 * 24 * 9)
    put(lake, today, before, feedback("clicked", "z", 0), event("item_viewed", "a", 1))
    attribute(lake, SETTINGS)
    replaced(lake, EXPOSURES, lake.scan(EXPOSURES).schema, NOON.date())
    report = attribute(lake, SETTINGS)
    assert outcomes(lake).keys() == {before["exposure_id"]}
    assert reasons(lake) == {} and report.changed_days == [NOON.date()]


def test_a_day_that_is_gone_from_the_events_counts_no_more(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, event("item_viewed", "a", 1), event("item_viewed", "a", 60 * 24 * 3))
    attribute(lake, SETTINGS)
    replaced(lake, EVENTS, lake.scan(EVENTS).schema, NOON.date())
    attribute(lake, SETTINGS)
    assert counts(lake, shown) == (0, 0, 0, 0)


def test_maintenance_of_all_tables_changes_no_outcome(lake):
    rows = [feedback("shown", "a", minute) for minute in range(6)]
    for number, row in enumerate(rows):
        put(lake, row, event("item_viewed", "a", number), feedback("clicked", "z", number))
        attribute(lake, SETTINGS)
    before = outcomes(lake), reasons(lake), lake.table(OUTCOMES).file_uris()
    for name in tables_of(lake):
        maintain(lake, name, MaintenancePolicy(small_files=1))
    assert attribute(lake, SETTINGS).changed_days == []
    assert (outcomes(lake), reasons(lake), lake.table(OUTCOMES).file_uris()) == before
    assert not is_stale(lake, SETTINGS)


def test_an_empty_lake_stays_empty(lake):
    assert attribute(lake, SETTINGS) == AttributionReport()
    put(lake, event("item_viewed", "a"))
    assert attribute(lake, SETTINGS) == AttributionReport()
    assert versions(lake) == {}


def test_exposures_without_events_have_outcomes(lake):
    shown = feedback("shown", "a", 0)
    put(lake, shown, feedback("clicked", "a", 1))
    attribute(lake, SETTINGS)
    found = outcomes(lake)[shown["exposure_id"]]
    assert (found["clicks"], found["segment"], found["session_abandoned_at"]) == (1, "unknown", None)
    put(lake, event("item_viewed", "a", 1, device_type="tv"))
    attribute(lake, SETTINGS)
    assert (counts(lake, shown), outcomes(lake)[shown["exposure_id"]]["segment"]) == ((1, 1, 0, 0), "tv")


def test_a_table_of_sources_that_was_made_anew_is_read_as_a_whole(lake, tmp_path):
    shown = feedback("shown", "a", 0)
    put(lake, shown, event("item_viewed", "a", 1))
    put(lake, event("item_viewed", "a", 2))
    attribute(lake, SETTINGS)
    (tmp_path / "lake" / EVENTS).rename(tmp_path / "old")
    attribute(lake, SETTINGS)
    assert counts(lake, shown) == (0, 0, 0, 0)
    put(lake, event("item_viewed", "a", 3))
    put(lake, event("page_viewed", None, 60 * 24 * 5))
    attribute(lake, SETTINGS)
    assert counts(lake, shown) == (0, 1, 0, 0)

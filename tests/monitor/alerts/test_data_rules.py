"""The rules about arrivals: each raises for what went wrong, not for what is usual, and resolves."""

from datetime import timedelta

import pytest

from lastaisle.lake import tables
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.log import read_alerts, report
from lastaisle.monitor.alerts.model import Finding

from .conftest import DAY, HOUR, NOW

LATE = (("source", "canonical /logs/{time}"),)


def days(count, before=NOW, step=DAY):
    return [before - step * number for number in range(count, 0, -1)]


def runs(world, finding):
    """Run the SQL queries of a finding's evidence; return the number of rows of each."""
    counts = []
    for one in finding.evidence:
        if one.table is not None and one.query and not one.query.startswith("lastaisle"):
            with open_tables(**{one.table: world.lake.dataset(one.table)}) as connection:
                counts.append(len(connection.execute(one.query).fetchall()))
    return counts


# late_data


def test_a_source_is_late_after_its_usual_pause_and_in_time_with_its_next_rows(world):
    world.bring(*days(10))
    world.now = NOW + 12 * HOUR - timedelta(minutes=1)
    assert world.check("late_data") == {}
    world.now = NOW + 13 * HOUR
    found = world.check("late_data")[LATE]
    assert found.since == NOW - DAY and "2026-11-23 12:00 UTC" in found.summary
    assert "24 hours" in found.summary and "36 hours" in found.summary
    assert runs(world, found) == [1]
    world.bring(world.now)
    assert world.check("late_data") == {}


def test_a_quiet_night_and_an_earlier_outage_change_nothing(world):
    arrivals = [
        day - HOUR * number for day in days(12) for number in range(12) if day != NOW - 5 * DAY
    ]  # by day only, and one day without any
    world.bring(*sorted(arrivals))
    world.now = NOW - 6 * HOUR
    assert world.check("late_data") == {}
    world.now = NOW
    assert list(world.check("late_data")) == [LATE], "13 hours of pause are usual, and 24 are not"


def test_a_backfill_in_one_go_promises_no_further_rows(world):
    world.bring(*[NOW - timedelta(minutes=number) for number in range(100, 0, -1)])
    world.now = NOW + 5 * DAY
    assert world.check("late_data") == {}


def test_one_source_by_hand_is_one_source_whatever_its_day(world):
    for number, day in enumerate(days(6)):
        world.bring(day, source=f"canonical /logs/2026-10-0{number + 1}")
    assert world.check("late_data") == {}, "each day has a place of its own"
    world.now = NOW + 2 * DAY
    assert list(world.check("late_data")) == [LATE]


def test_exposures_have_a_clock_of_their_own(world):
    world.bring(*days(6), source="canonical kafka topic shown", table=tables.EXPOSURE_BATCHES)
    world.now = NOW + DAY
    found = world.check("late_data")
    assert [scope[0][1] for scope in found] == ["canonical kafka topic shown"]


# missing_data


def daily(world, *dates, late=2 * HOUR):
    for day in dates:
        midnight = day.replace(hour=0)
        world.bring(
            midnight + DAY + late, hours=[f"{midnight + HOUR * hour:%Y-%m-%dT%H}" for hour in (9, 10)]
        )


def test_a_day_without_logs_is_missed_after_the_grace_and_found_when_its_logs_come(world):
    daily(world, *days(7, NOW - DAY))
    world.now = NOW.replace(hour=2)
    assert world.check("missing_data") == {}, "the grace has not passed"
    world.now = NOW.replace(hour=4)
    found = world.check("missing_data")
    assert list(found) == [(("partition", "2026-11-23"),)]
    one = found[(("partition", "2026-11-23"),)]
    assert "2026-11-23" in one.summary and one.since == NOW.replace(hour=0)
    assert runs(world, one) == [0]
    world.run("missing_data")
    daily(world, NOW - DAY, late=5 * HOUR)
    world.now = NOW.replace(hour=6)
    assert world.check("missing_data") == {}


def test_a_gap_between_days_is_missed(world):
    daily(world, *[day for day in days(7) if day != NOW - 3 * DAY])
    world.now = NOW.replace(hour=5)
    assert list(world.check("missing_data")) == [(("partition", "2026-11-21"),)]


@pytest.mark.parametrize("years", [3, -3], ids=["past", "future"])
def test_a_shop_of_another_time_expects_nothing(world, years):
    for number, day in enumerate(days(10)):
        of_event = day - 365 * years * DAY
        world.bring(day, hours=[f"{of_event:%Y-%m-%dT%H}"], newest=of_event, source_file=f"{number}")
    world.now = NOW + 3 * DAY
    assert world.check("missing_data") == {}


def test_a_backfill_of_the_last_days_in_one_go_expects_nothing(world):
    for day in days(9):
        world.bring(NOW, hours=[f"{day:%Y-%m-%dT%H}"])
    world.now = NOW + 3 * DAY
    assert world.check("missing_data") == {}


def test_a_shop_that_is_closed_on_sundays_misses_no_sunday(world):
    daily(world, *[day for day in days(29, NOW) if day.weekday() != 6])
    assert world.check("missing_data") == {}
    world.now = NOW + DAY
    assert list(world.check("missing_data")) == [(("partition", "2026-11-24"),)]


def test_hours_are_missed_where_the_same_hour_usually_has_logs(world):
    world.settings = world.settings.replace(partition="hour")
    hours = [NOW - HOUR * number for number in range(24 * 6, 0, -1)]
    open_hours = [hour for hour in hours if 6 <= (hour - HOUR).hour < 23 and hour != NOW - 5 * HOUR]
    world.bring(*open_hours)
    assert list(world.check("missing_data")) == [(("partition", "2026-11-24T06"),)]


def test_an_alert_that_airflow_reported_stays_until_the_logs_come(world):
    scope = {"partition": "2014-04-03"}
    report(world.lake, Finding("missing_data", "warning", scope, "no logs for 2014-04-03", NOW), now=NOW)
    for _ in range(3):
        world.now += HOUR
        assert [alert.scope for alert in world.run("missing_data").open] == [scope]
    world.bring(world.now, hours=["2014-04-03T10"])
    world.run("missing_data")
    world.now += HOUR
    assert [alert.scope for alert in world.run("missing_data").resolved] == [scope]


# quarantine


def test_many_broken_rows_are_found_and_sound_rows_end_the_alert(world):
    world.bring(*days(10), rows_quarantined=10)
    assert world.check("quarantine") == {}
    world.bring(NOW, rows_quarantined=300)
    world.now += HOUR
    (found,) = world.check("quarantine").values()
    assert "300 of 1,000 rows" in found.summary and "30 %" in found.summary and "5 %" in found.summary
    assert found.since == NOW
    world.now += 30 * DAY / 60
    assert len(world.check("quarantine")) == 1, "no sound rows came"
    world.bring(NOW + DAY, rows_quarantined=2)
    world.now = NOW + DAY + HOUR
    assert world.check("quarantine") == {}


@pytest.mark.parametrize(("rows", "broken", "is_found"), [(20, 20, False), (100, 9, False), (100, 40, True)])
def test_small_samples_do_not_shout(world, rows, broken, is_found):
    world.bring(*days(5))
    world.bring(NOW, rows_in=rows, rows_quarantined=broken)
    assert bool(world.check("quarantine")) == is_found


def test_a_source_that_always_had_broken_rows_is_judged_by_its_own_past(world):
    world.bring(*days(10), rows_quarantined=200)
    world.bring(NOW, rows_quarantined=300)
    assert world.check("quarantine") == {}
    world.bring(NOW + HOUR, source="canonical other", rows_quarantined=300)
    world.now += HOUR
    assert [scope[0][1] for scope in world.check("quarantine")] == ["canonical other"]


# personal_data


def test_sources_that_send_personal_data_are_found_by_field_and_kind(world):
    world.bring(NOW - 3 * DAY, personal_data='{"brand_holds_email": 9}')
    world.bring(NOW - HOUR, personal_data='{"brand_holds_email": 3, "category_holds_iban": 1}')
    world.bring(NOW, personal_data='{"brand_holds_email": 2}')
    world.bring(NOW, source="canonical other", personal_data="{}")
    world.bring(NOW, source="canonical old", personal_data=None)
    world.now += HOUR
    (found,) = world.check("personal_data").values()
    assert "brand_holds_email 5, category_holds_iban 1" in found.summary
    assert found.since == NOW - HOUR
    assert runs(world, found) == [2]
    world.now += 2 * DAY
    assert world.check("personal_data") == {}


# unreadable_source


def refused(world, url, at, **values):
    row = {"url": url, "format": "canonical", "source": "canonical /logs", "reason": "SourceError"}
    world.add(tables.REFUSED_FILES, {**row, "refused_at": at, "began_at": at, **values})


def test_refused_files_are_found_until_they_are_ingested_or_given_up(world):
    refused(world, "/logs/a", NOW - HOUR)
    refused(world, "/logs/b", NOW - 2 * HOUR)
    refused(world, "/logs/old", NOW - 8 * DAY)
    (found,) = world.check("unreadable_source").values()
    assert found.summary.startswith("2 files of source canonical /logs") and found.since == NOW - 2 * HOUR
    assert runs(world, found) == [2]
    taken = {"url": "/logs/a", "format": "canonical", "taken_in_at": NOW}
    world.add(tables.FILES, taken, {**taken, "url": "/logs/b", "taken_in_at": NOW - 3 * HOUR})
    (found,) = world.check("unreadable_source").values()
    assert found.summary.startswith("1 file of"), "b was refused again after it was taken in"
    world.add(tables.FILES, {**taken, "url": "/logs/b"})
    assert world.check("unreadable_source") == {}


# lag


def test_a_topic_that_is_read_too_late_is_found(world):
    topic = {"source": "canonical kafka topic clicks"}
    for at in days(20, step=HOUR):
        world.bring(at, newest=at - timedelta(minutes=5), **topic)
    assert world.check("lag") == {}
    world.bring(NOW, newest=NOW - 2 * HOUR, **topic)
    (found,) = world.check("lag").values()
    assert "2 hours old" in found.summary and found.since == NOW and min(runs(world, found)) == 21
    world.bring(NOW + HOUR, newest=NOW + HOUR, **topic)
    world.now += HOUR
    assert world.check("lag") == {}


def test_a_topic_of_the_past_and_files_do_not_lag(world):
    for number, at in enumerate(days(20, step=HOUR)):
        world.bring(at, newest=at - 900 * DAY + HOUR * number, source="canonical kafka topic old")
        world.bring(at, newest=at - timedelta(minutes=5), source="canonical /logs/{day}")
    world.bring(NOW, newest=NOW - 2 * DAY)
    assert world.check("lag") == {}


def test_lost_messages_are_critical_for_a_week(world):
    gap = {"cluster": "c", "topic": "clicks", "topic_id": "t", "partition": 0, "noticed_at": NOW - HOUR}
    world.add(tables.GAPS, {**gap, "start_offset": 5, "end_offset": 25})
    (found,) = world.check("lag").values()
    assert found.severity == "critical" and "20 messages of topic clicks" in found.summary
    assert runs(world, found) == [1]
    world.now += 8 * DAY
    assert world.check("lag") == {}


def test_a_lake_without_tables_has_no_findings(world):
    for name in ("late_data", "missing_data", "quarantine", "unreadable_source", "lag", "drift"):
        assert world.check(name) == {}
    assert read_alerts(world.lake).version == -1

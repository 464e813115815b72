"""Drift in a small lake is detected, described, stored once, and followed by one training."""

import dataclasses
import json
import shutil
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode, NotEnoughDataError
from lastaisle.lake import Lake
from lastaisle.monitor.drift.counts import count_events
from lastaisle.monitor.drift.detect import detect
from lastaisle.monitor.drift.serving import ServingVersion, ServingVersions
from lastaisle.settings import Settings
from lastaisle_airflow.tasks.drift import measure_drift
from models.by_name import create
from models.data.sequences import SessionLog
from tests.airflow.runs import DagRun
from tests.monitor.drift.test_versions import Answering

FIRST = date(2025, 9, 1)
DAYS, VISITS = 26, 500
LAST = FIRST + timedelta(days=DAYS - 1)
SHELVES = np.array(["books", "shoes", "toys", "lamps"])
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("session_id", "user_id", "item_id", "event_type")),
        ("occurred_at", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in ("device_type", "country", "category", "brand", "batch_id")),
        ("price", pa.float64()),
        ("dwell_ms", pa.int64()),
        ("sequence", pa.int64()),
        ("consent_personalization", pa.bool_()),
        ("event_date", pa.date32()),
    ]
)


def day_of_events(day, prices=1.0, shoes=0.25, batch=None):
    """Return a day's events: each visit has one to four views of items of one shelf."""
    generator = np.random.default_rng(day.toordinal())
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = []
    rest = (1 - shoes) / 3
    for visit in range(VISITS):
        shelf = int(generator.choice(4, p=[rest, shoes, rest, rest]))
        begin = midnight + timedelta(seconds=int(generator.integers(80_000)))
        device = str(generator.choice(["mobile", "desktop"]))
        for step in range(int(generator.integers(1, 5))):
            item = shelf * 10 + int(generator.integers(10))
            rows.append(
                {
                    "session_id": f"{day}-{visit}",
                    "user_id": f"u{generator.integers(2000)}" if step == 0 else None,
                    "item_id": f"i{item}",
                    "event_type": "item_viewed",
                    "occurred_at": begin + timedelta(seconds=60 * step),
                    "device_type": device,
                    "country": "AT",
                    "category": str(SHELVES[shelf]),
                    "brand": f"b{item % 5}",
                    "batch_id": batch or str(day),
                    "price": (10.0 + 3 * item) * (prices if shelf == 1 else 1.0),
                    "dwell_ms": int(generator.lognormal(10, 1)),
                    "sequence": step,
                    "consent_personalization": True,
                    "event_date": day,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A lake with quiet days, on which drift detection has run."""
    home = tmp_path_factory.mktemp("drift")
    lake, settings = Lake(home / "lake"), Settings.of(home=home)
    days = [FIRST + timedelta(days=number) for number in range(DAYS - 1)]
    lake.append("events", pa.concat_tables([day_of_events(day) for day in days]), key="quiet")
    report = detect(lake, settings, days[-1])
    assert report.alarms == ()
    return lake


@pytest.fixture
def lake(quiet, tmp_path):
    shutil.copytree(quiet.url, tmp_path / "home" / "lake")
    return Lake(tmp_path / "home" / "lake")


def detect_on(lake, day=LAST, **settings):
    return detect(lake, Settings.of(home=lake.url.rpartition("/")[0], **settings), day)


def test_a_quiet_day_raises_no_alarm_and_the_first_detection_has_limits(lake):
    lake.append("events", day_of_events(LAST), key="last")
    report = detect_on(lake)
    assert report.alarms == ()
    assert not report.retrain
    assert all(each.limit is not None for each in report.findings)
    found = {(each.feature, each.segment) for each in report.findings}
    assert {("category", "device=mobile"), ("price_level", "category=shoes"), ("weekday", "all")} <= found
    assert {feature for feature, _ in found} >= {"hour", "dwell", "session_length", "items", "new_items"}


def test_higher_prices_of_shoes_raise_an_alarm_with_a_sentence_and_start_a_training(lake):
    lake.append("events", day_of_events(LAST, prices=1.3), key="last")
    report = detect_on(lake)
    assert report.retrain
    first = report.alarms[0]
    assert (first.feature, first.segment) == ("price_level", "category=shoes")
    assert first.sentence == "prices of category shoes rose by 30 %: change 0.3, limit 0.02"
    assert first.sentence in report.summary
    assert json.loads(report.to_json())["alarmed"] == len(report.alarms)


def test_a_category_whose_share_doubles_raises_an_alarm(lake):
    lake.append("events", day_of_events(LAST, shoes=0.5), key="last")
    report = detect_on(lake)
    assert {"category"} <= {each.feature for each in report.alarms}
    assert "category shoes" in report.summary


def test_an_hour_that_arrives_twice_raises_an_alarm(lake):
    events = day_of_events(LAST)
    again = events.filter(pc.equal(pc.hour(events["occurred_at"]), 9))
    lake.append("events", pa.concat_tables([events, again]), key="last")
    assert detect_on(lake).alarms[0].feature == "repeated"


def test_a_crawler_counts_only_as_one_long_session(lake):
    events = day_of_events(LAST)
    view = events.slice(0, 1).to_pylist()[0]
    views = [{**view, "session_id": "crawler", "item_id": f"x{number}"} for number in range(300)]
    crawler = pa.Table.from_pylist(views, schema=SCHEMA)
    lake.append("events", pa.concat_tables([events, crawler]), key="last")
    assert detect_on(lake).alarms == ()
    counts = count_events(lake, LAST, LAST)
    assert counts.series["session_length", "all"].counts.sum() == VISITS + 1
    assert "x1" not in counts.series["items", "all"].bins


def test_a_second_detection_returns_the_same_report_and_writes_nothing(lake):
    lake.append("events", day_of_events(LAST, prices=1.3), key="last")
    first = detect_on(lake)
    version = lake.version("drift")
    assert detect_on(lake) == first
    assert lake.version("drift") == version


def test_no_training_starts_during_the_cooldown_and_one_may_start_after_it(lake):
    for number in range(3):
        day = LAST + timedelta(days=number)
        lake.append("events", day_of_events(day, prices=1.3), key=str(day))
    reports = [detect_on(lake, LAST + timedelta(days=number), drift_cooldown_hours=48) for number in range(3)]
    assert all(report.alarms for report in reports)
    assert [report.retrain for report in reports] == [True, False, True]
    assert f"drift on {LAST} started one" in reports[1].reason


def test_a_day_that_is_ingested_again_is_scored_again_but_starts_no_second_training(lake):
    lake.append("events", day_of_events(LAST, prices=1.3), key="last")
    assert detect_on(lake).retrain
    late = day_of_events(LAST, prices=1.3, batch="late").slice(0, 5)
    lake.append("events", late, key="late")
    report = detect_on(lake)
    assert report.alarms
    assert not report.retrain


def test_the_first_days_of_a_shop_cannot_be_compared(tmp_path):
    lake = Lake(tmp_path / "lake")
    with pytest.raises(NotEnoughDataError, match="no table 'events'"):
        detect_on(lake)
    lake.append("events", day_of_events(FIRST), key="first")
    with pytest.raises(NotEnoughDataError, match=r"cannot judge 2025-09-01 yet.* 0 of the 7 days before"):
        detect_on(lake, FIRST)


@pytest.fixture
def young(tmp_path, monkeypatch):
    """A lake with ten days, which are too few for limits."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    lake = Lake(tmp_path / "home" / "lake")
    days = [FIRST + timedelta(days=number) for number in range(10)]
    lake.append("events", pa.concat_tables([day_of_events(day) for day in days]), key="days")
    return lake


def test_a_young_shop_is_not_told_that_nothing_drifted(young):
    report = detect_on(young, FIRST + timedelta(days=9))
    assert report.findings
    assert not report.is_judged
    assert "cannot judge yet" in report.summary
    assert "nothing drifted" not in report.summary + report.reason
    arguments = ["drift", "--day", "2025-09-10", "--no-model"]
    ended = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
    assert ended.exit_code == ExitCode.NOT_ENOUGH_DATA, ended.output
    assert "cannot judge yet" in ended.output


def test_a_young_shops_run_is_skipped_with_the_word(young, monkeypatch):
    monkeypatch.setattr("lastaisle.monitor.drift.serving.serving_versions", lambda lake, registry: None)
    monkeypatch.setattr("lastaisle.registry.registry.Registry", lambda settings: None)
    with pytest.raises(AirflowSkipException, match="cannot judge yet"):
        measure_drift.function(dag_run=DagRun(partition_key="2025-09-10"))


def test_a_shopper_who_came_in_the_week_before_is_returning(tmp_path):
    lake = Lake(tmp_path / "lake")
    rows = [
        {"session_id": str(day), "user_id": user, "item_id": "a", "event_type": "item_viewed"}
        | {"occurred_at": datetime(2025, 9, day, tzinfo=UTC), "event_date": date(2025, 9, day)}
        for day, user in ((1, "u"), (8, "u"), (16, "u"), (16, None))
    ]
    lake.append("events", pa.Table.from_pylist(rows, schema=SCHEMA), key="rows")
    found = count_events(lake, date(2025, 9, 8), date(2025, 9, 16)).series["shopper", "all"]
    assert dict(zip(found.bins, found.counts[[0, -1]].T.tolist(), strict=True)) == {
        "new": [0, 1],
        "returning": [1, 0],
    }


def test_the_command_prints_and_draws_the_drift_and_exits_with_13(lake, monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    lake.append("events", day_of_events(LAST, prices=1.3), key="last")
    chart, report = tmp_path / "drift.png", tmp_path / "drift.json"
    arguments = [
        "drift",
        "--day",
        LAST.isoformat(),
        "--no-model",
        "--chart",
        str(chart),
        "--report",
        str(report),
    ]
    ended = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
    assert ended.exit_code == ExitCode.DRIFTED, ended.output
    assert "prices of category shoes rose by 30 %" in ended.output
    assert json.loads(report.read_text())["retrain"] is True
    assert chart.read_bytes().startswith(b"\x89PNG")


@pytest.mark.training
def test_a_pair_of_versions_is_compared_once_and_the_champions_hits_every_day(lake):
    for number in range(2):
        lake.append("events", day_of_events(LAST + timedelta(days=number)), key=str(number))
    served = []
    for number, sessions in enumerate(([["i1", "i2"], ["i2", "i3"]], [["i1", "i2"], ["i2", "i4"]]), start=1):
        model = create("cooccurrence")
        model.fit(SessionLog.from_lists(sessions))
        served.append(ServingVersion(str(number), Answering(model), model))
    versions = ServingVersions(served[1], served[0], "next_item")
    settings = Settings.of(home=lake.url.rpartition("/")[0])
    found = [detect(lake, settings, LAST + timedelta(days=number), versions) for number in range(2)]
    about = [{each.feature for each in report.findings} for report in found]
    assert {"predictions", "recommended_popularity", "hit_rate"} <= about[0]
    assert about[1] & {"predictions", "recommended_popularity", "hit_rate"} == {"hit_rate"}
    assert found[0].model_version == "2"
    rows = lake.scan("drift").to_pylist()
    assert {row["model_version"] for row in rows if row["feature"] == "predictions"} == {"1→2"}
    streams = [row["hits"] for row in rows if row["feature"] == "hit_rate"]
    assert all(100 < len(stream) <= VISITS for stream in streams)
    assert detect(lake, settings, LAST, versions).findings == found[0].findings

    # Lists without the session's items are another matter: their hits are not compared with those before.
    other = dataclasses.replace(versions, objective="new_item")
    again = detect(lake, settings, LAST + timedelta(days=1), other)
    (rate,) = [each for each in again.findings if each.feature == "hit_rate"]
    assert (rate.segment, rate.score, rate.reference_visits) == ("objective=new_item", 0.0, 0)
    (before,) = [each for each in found[1].findings if each.feature == "hit_rate"]
    assert (before.segment, before.reference_visits) == ("objective=next_item", len(streams[0]))

"""Each metric has the value that the tables and MLflow hold; labels from outside are bounded and cleaned."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import (
    BATCHES_SCHEMA,
    DRIFT_SCHEMA,
    EXPOSURE_BATCHES_SCHEMA,
    GAPS_SCHEMA,
    REFUSED_FILES_SCHEMA,
    SHOP_METRICS_SCHEMA,
)
from lastaisle.monitor.alerts.log import report, silence
from lastaisle.monitor.alerts.model import Finding
from lastaisle.monitor.metrics.ingestion import read_ingestion
from lastaisle.monitor.metrics.learning import read_gate, read_runs, read_trainings
from lastaisle.monitor.metrics.shop import read_shop
from lastaisle.monitor.metrics.tables import read_drift, read_open_alerts, read_table
from lastaisle.registry.ledger import Ledger, Move

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def values(samples):
    """Return value by name and labels; no series may come twice."""
    found = {}
    for sample in samples:
        key = (sample.family.name.removeprefix("lastaisle_"), *sample.labels)
        assert key not in found, key
        found[key] = sample.value
    return found


def add(lake, table, schema, *rows):
    lake.append(table, pa.Table.from_pylist(list(rows), schema=schema), key=f"{table}-{lake.version(table)}")


def batch(source="canonical /logs/{day}", at=NOON, **changes):
    counts = {f"rows_{name}": 0 for name in ("in", "clean", "quarantined", "duplicate", "ignored", "late")}
    return {"source": source, "finished_at": at, "newest": at - HOUR, **counts, **changes}


def test_the_rows_of_ingestion_add_up_by_source_and_outcome(lake):
    first = batch(rows_clean=90, rows_quarantined=6, rows_duplicate=3, rows_ignored=1, rows_late=5)
    second = batch(at=NOON + HOUR, rows_clean=10)
    add(lake, "batches", BATCHES_SCHEMA, first, second, batch("kafka clicks", rows_clean=7, newest=None))
    add(lake, "exposure_batches", EXPOSURE_BATCHES_SCHEMA, batch("feedback", rows_clean=4))
    found = values(read_ingestion(lake))
    files = ("events", "canonical /logs/{day}")
    outcomes = {"clean": 100, "quarantined": 6, "duplicate": 3, "ignored": 1}
    assert {name: found["ingest_rows_total", *files, name] for name in outcomes} == outcomes
    assert found["ingest_late_rows_total", *files] == 5
    assert found["ingest_batches_total", *files] == 2
    assert found["ingest_newest_event_timestamp_seconds", *files] == NOON.timestamp()
    assert found["ingest_last_arrival_timestamp_seconds", *files] == (NOON + HOUR).timestamp()
    assert found["ingest_rows_total", "exposures", "feedback", "clean"] == 4
    assert ("ingest_newest_event_timestamp_seconds", "events", "kafka clicks") not in found


def test_refused_files_and_lost_messages_are_counted(lake):
    add(lake, "refused_files", REFUSED_FILES_SCHEMA, {"url": "a", "refused_at": NOON}, {"url": "b"})
    gap = {"topic": "clicks", "start_offset": 5, "end_offset": 9, "noticed_at": NOON}
    add(lake, "gaps", GAPS_SCHEMA, gap, {**gap, "start_offset": 20, "end_offset": 21})
    found = values(read_ingestion(lake))
    assert found["ingest_refused_files_total",] == 2
    assert found["ingest_lost_messages_total",] == 5


def test_batches_of_an_older_lake_count_although_columns_are_missing(lake):
    old = pa.schema([field for field in BATCHES_SCHEMA if field.name not in ("rows_late", "newest")])
    add(lake, "batches", old, batch(rows_clean=3))
    found = values(read_ingestion(lake))
    assert found["ingest_rows_total", "events", "canonical /logs/{day}", "clean"] == 3
    assert found["ingest_late_rows_total", "events", "canonical /logs/{day}"] == 0


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("canonical https://anna:secret@shop/logs?token=abc", "canonical https://anna:***@shop/logs"),
        ("canonical s3://connection@bucket/{day}", "canonical s3://connection@bucket/{day}"),
        ("canonical /logs/a\nlastaisle_up 1", "canonical /logs/a\\nlastaisle_up 1"),
    ],
)
def test_a_source_shows_neither_password_nor_query_nor_a_line_of_its_own(lake, source, shown):
    add(lake, "batches", BATCHES_SCHEMA, batch(source, rows_clean=1))
    assert ("ingest_batches_total", "events", shown) in values(read_ingestion(lake))


def test_two_addresses_that_differ_in_a_token_are_one_source(lake):
    tokens = [batch(f"canonical https://shop/logs?token={token}", rows_clean=1) for token in "ab"]
    add(lake, "batches", BATCHES_SCHEMA, *tokens)
    assert values(read_ingestion(lake))["ingest_batches_total", "events", "canonical https://shop/logs"] == 2


def test_sources_beyond_the_first_fifty_are_counted_together_and_their_number_is_told(lake):
    many = [batch(f"file {number:02}", NOON + number * HOUR, rows_clean=1) for number in range(53)]
    add(lake, "batches", BATCHES_SCHEMA, *many)
    found = values(read_ingestion(lake))
    assert found["ingest_rows_total", "events", "file 49", "clean"] == 1
    assert found["ingest_rows_total", "events", "other", "clean"] == 3
    assert found["export_left_out", "ingestion"] == 3
    assert ("ingest_batches_total", "events", "file 50") not in found


def figures(hour, placement="checkout", **counts):
    whole = {
        name: 0
        for name in SHOP_METRICS_SCHEMA.names
        if pa.types.is_integer(SHOP_METRICS_SCHEMA.field(name).type) and name != "position"
    }
    row = {"hour": hour, "event_date": hour.date(), "placement": placement, **whole}
    return [{**row, "position": 1, **counts}, {**row, **counts}]


def test_the_figures_are_those_of_the_last_full_hour_and_day(lake):
    yesterday, today = NOON - timedelta(days=1), NOON
    rows = [
        *figures(yesterday, exposures=100, clicked=4, sessions=10, sessions_ordered=1),
        *figures(today - HOUR, exposures=50, clicked=5, sessions=8, sessions_ordered=2),
        *figures(today, exposures=9, clicked=9, sessions=9, sessions_ordered=9),  # the hour is not over
    ]
    add(lake, "shop_metrics", SHOP_METRICS_SCHEMA, *rows)
    found = values(read_shop(lake, today + HOUR / 2))
    assert found["shop_period_end_timestamp_seconds", "hour"] == today.timestamp()
    assert found["shop_ctr_ratio", "checkout", "hour"] == pytest.approx(0.1)
    assert found["shop_conversion_ratio", "checkout", "hour"] == pytest.approx(0.25)
    assert found["shop_ctr_ratio", "checkout", "day"] == pytest.approx(0.04)
    assert found["shop_exposures", "checkout", "day"] == 100
    midnight = today.replace(hour=0)
    assert found["shop_period_end_timestamp_seconds", "day"] == midnight.timestamp()


def test_a_day_that_is_over_counts_although_its_last_hours_have_no_lists(lake):
    add(lake, "shop_metrics", SHOP_METRICS_SCHEMA, *figures(NOON, exposures=10, clicked=1, sessions=5))
    found = values(read_shop(lake, NOON + timedelta(days=2)))
    assert found["shop_ctr_ratio", "checkout", "day"] == pytest.approx(0.1)
    assert found["shop_period_end_timestamp_seconds", "day"] == NOON.replace(hour=0).timestamp() + 86_400


def test_revenue_is_given_by_currency_and_a_rate_without_a_denominator_is_left_out(lake):
    money = {**figures(NOON, sessions=4)[1], "currency": "EUR", "revenue": 12.5}
    shown = figures(NOON, exposures=3, sessions=4)
    add(lake, "shop_metrics", SHOP_METRICS_SCHEMA, *shown, {**money, "sessions": 0})
    found = values(read_shop(lake, NOON + HOUR))
    assert found["shop_revenue", "checkout", "hour", "EUR"] == 12.5
    assert ("shop_checkout_abandonment_ratio", "checkout", "hour") not in found


def test_an_empty_lake_has_no_figures_and_no_error(lake):
    nothing = (("export_left_out", "ingestion"), ("ingest_refused_files_total",))
    assert values(read_ingestion(lake)) == dict.fromkeys((*nothing, ("ingest_lost_messages_total",)), 0)
    for read in (lambda: read_shop(lake, NOON), lambda: read_drift(lake), lambda: read_table(lake, "events")):
        assert values(read()) == {}
    assert values(read_trainings(lake, "checkout-recommender")) == {}
    assert values(read_gate(lake, "checkout-recommender"))["gate_refusals_in_a_row",] == 0


def move(number, action, version, alias, before=None):
    return Move(
        move_id=str(number),
        moved_at=NOON + number * HOUR,
        actor="tester",
        action=action,
        model_name="checkout-recommender",
        alias=alias,
        from_version=before,
        to_version=version,
        reason="",
        run_id=f"run{version}",
        run_key="",
    )


def test_the_gate_the_champion_and_the_refusals_since_the_last_promotion(lake):
    ledger = Ledger(lake, "checkout-recommender")
    moves = [
        move(0, "register", "1", "challenger"),
        move(1, "promote", "1", "champion"),
        move(2, "register", "2", "challenger", "1"),
        move(3, "promote", "2", "champion", "1"),
        move(4, "register", "3", "challenger", "2"),
        move(5, "refuse", "3", "champion", "2"),
        move(6, "refuse", "3", "champion", "2"),
        move(7, "rollback", "1", "champion", "2"),
    ]
    for one in moves:
        ledger.write(one)
    found = values(read_gate(lake, "checkout-recommender"))
    verdicts = {"promote": 2, "refuse": 2, "shadow": 0, "canary": 0}
    assert {name: found["gate_decisions_total", name] for name in verdicts} == verdicts
    assert found["gate_refusals_in_a_row",] == 2
    assert found["release_moves_total", "rollback"] == 1
    assert found["champion_info", "1"] == 1
    assert ("champion_info", "2") not in found
    assert found["champion_since_timestamp_seconds",] == moves[-1].moved_at.timestamp()


def test_what_drifted_on_the_newest_day_is_counted_once_a_feature(lake):
    row = {"day": NOON.date(), "feature": "price", "segment": "all", "alarmed": True}
    before = {**row, "day": NOON.date() - timedelta(days=1), "feature": "device"}
    rows = [row, {**row, "segment": "mobile"}, {**row, "feature": "hour", "alarmed": False}, before]
    add(lake, "drift", DRIFT_SCHEMA, *rows)
    found = values(read_drift(lake))
    assert found["drift_alarms",] == 1
    assert found["drift_day_timestamp_seconds",] == NOON.replace(hour=0).timestamp()


def test_open_alerts_are_counted_by_severity_without_those_that_somebody_silenced(lake):
    now = datetime.now(UTC)
    for rule, severity in {"lag": "critical", "drift": "info", "quarantine": "critical"}.items():
        report(lake, Finding(rule, severity, {}, f"{rule} is too large", now))
    silence(lake, "quarantine", None, until=now + HOUR, reason="known", actor="tester")
    found = values(read_open_alerts(lake))
    opened = {"info": 1, "warning": 0, "critical": 1}
    assert {severity: found["alerts_open", severity] for severity in opened} == opened
    assert found["alerts_silenced",] == 1


def test_a_tables_size_comes_from_its_log(lake):
    add(lake, "batches", BATCHES_SCHEMA, batch(), batch())
    add(lake, "batches", BATCHES_SCHEMA, batch())
    found = values(read_table(lake, "batches"))
    assert (found["lake_rows", "batches"], found["lake_files", "batches"]) == (3, 2)
    assert found["lake_bytes", "batches"] > 1000
    assert found["lake_version", "batches"] == lake.version("batches")


def test_trainings_and_the_champions_recall_come_from_a_real_release(home):
    home.released(2)
    model = home.settings.registry.model_name
    (row,) = home.lake.scan("training_runs").to_pylist()
    trained = values(read_trainings(home.lake, model))
    assert trained["training_runs_total", "incremental"] == 1
    assert trained["training_last_success_timestamp_seconds", "incremental"] == row["finished_at"].timestamp()
    assert trained["training_last_sessions", "incremental"] == row["sessions"]
    gate = values(read_gate(home.lake, model))
    assert gate["champion_learned_until_timestamp_seconds",] == row["window_end"].timestamp()
    in_mlflow = values(read_runs(home.lake, home.registry, model))
    assert 0 < in_mlflow["champion_recall_at_20_ratio",] <= 1
    assert in_mlflow["training_unfinished_runs", "running"] == 0


def test_runs_that_are_under_way_dead_or_failed_are_told_apart(home):
    registry = home.registry
    with pytest.raises(ZeroDivisionError), registry.training_run("broken", {}):
        raise ZeroDivisionError
    registry.begin_run("killed", {"run_key": "killed"})
    registry.begin_run("no training", {})
    with registry.training_run("long", {}) as run_id:
        found = values(read_runs(home.lake, registry, home.settings.registry.model_name))
        assert found["training_oldest_running_timestamp_seconds",] == pytest.approx(
            registry.times(run_id)[0] / 1000
        )
    (killed,) = registry.find_runs({"run_key": "killed"})
    assert found["training_last_failure_timestamp_seconds",] == killed.started / 1000
    states = {"running": 1, "dead": 1, "failed": 1}
    assert {state: found["training_unfinished_runs", state] for state in states} == states

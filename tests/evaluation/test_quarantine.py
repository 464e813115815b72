"""The share of quarantined rows in the batches that brought the events of a period."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle.evaluation.evaluate import stored_report
from lastaisle.evaluation.quarantine import quarantined_share
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES_SCHEMA
from lastaisle.release.gate import GateRules

pytestmark = pytest.mark.training

LAX = GateRules(margin=1.0, max_churn=None)  # the shop has too few items for stable lists


def batches(*counts, file=None):
    """Return one row a batch, the latest last, from (name, clean rows, quarantined rows)."""
    rows = [
        {
            "batch_id": name,
            "source_file": file or f"{name}.jsonl",
            "part": 0,
            "rows_in": clean + broken,
            "rows_clean": clean,
            "rows_quarantined": broken,
            "started_at": datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=place),
        }
        for place, (name, clean, broken) in enumerate(counts)
    ]
    return pa.Table.from_pylist(rows, schema=BATCHES_SCHEMA)


def of_days(table, *batch_ids):
    """Put each day of a table of events into its own batch."""
    days = table["event_date"].to_pylist()
    place = table.schema.names.index("batch_id")
    names = [batch_ids[(day - days[0]).days] for day in days]
    return table.set_column(place, "batch_id", pa.array(names))


@pytest.fixture
def lake(shop, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    lake.append("events", of_days(shop.events(), "first", "second", "third"), key="events")
    return lake


def test_only_batches_that_brought_events_of_that_time_count(lake, shop):
    assert quarantined_share(lake, shop.end_of(0), shop.end_of(3), None) is None, "no batch has counts"
    counts = ("first", 2000, 0), ("second", 2000, 1000), ("elsewhere", 9, 9), ("third", 0, 8)
    lake.append("batches", batches(*counts), key="told")
    assert quarantined_share(lake, shop.end_of(0), shop.end_of(1), None) == 0.0
    assert quarantined_share(lake, shop.end_of(1), shop.end_of(2), None) == pytest.approx(1 / 3)
    assert quarantined_share(lake, shop.end_of(0), shop.end_of(3), None) == pytest.approx(1000 / 5000)
    assert quarantined_share(lake, shop.end_of(2), shop.end_of(3), None) is None


def test_a_batch_counts_in_proportion_to_its_events_in_the_period(lake, shop):
    lake.append("batches", batches(("first", 2000, 0), ("second", 2000, 1000)), key="told")
    half = timedelta(hours=12)
    share = quarantined_share(lake, shop.end_of(1) - half, shop.end_of(1) + half, None)
    assert share == pytest.approx(500 / 2500, abs=0.01)


def test_an_empty_lake_has_no_share(shop, tmp_path):
    empty = Lake(str(tmp_path / "empty"))
    assert quarantined_share(empty, shop.end_of(0), shop.end_of(1), None) is None


def test_only_the_latest_batch_of_a_repeated_file_counts(lake, shop):
    table = batches(("first", 2000, 1000), ("second", 2000, 0), file="day.jsonl")
    lake.append("batches", table, key="told")
    assert quarantined_share(lake, shop.end_of(0), shop.end_of(2), None) == 0.0


def test_a_broken_day_is_refused_and_the_next_day_is_not(shop, empty_store, tmp_path, monkeypatch):
    shop.pack_lightly(monkeypatch.setattr)
    home = shop.Installation(tmp_path / "home")
    home.with_events(of_days(shop.events(), "first", "second", "third"))
    home.lake.append(
        "batches", batches(("first", 2000, 0), ("second", 2000, 1500), ("third", 2000, 9)), key="told"
    )
    assert home.day(1, LAX).promote
    decision = home.day(2, LAX)
    assert [check.name for check in decision.checks if not check.passed] == ["sound_feed"]
    assert "42.9% of the rows that came with the evaluation sessions are in quarantine" in decision.reasons[0]
    run_id = home.train(2)
    share = 1500 / 3500
    assert stored_report(run_id, home.registry).quarantined == pytest.approx(share, abs=0.01)
    assert home.registry.metrics(run_id)["quarantined_share"] == pytest.approx(share, abs=0.01)
    assert home.day(3, LAX).promote

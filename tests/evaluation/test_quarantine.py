"""The share of quarantined rows in the batches that brought the events of a period."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle.evaluation.quarantine import missing_rows
from lastaisle.evaluation.report import stored_report
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES_SCHEMA, FILES_SCHEMA, REFUSED_FILES_SCHEMA
from lastaisle.release.gate import GateRules

pytestmark = pytest.mark.training

LAX = GateRules(margin=1.0, anchor_margin=1.0, max_churn=None)  # the shop has too few items for stable lists


def batches(*counts, file=None, source="logs"):
    """Return one row a batch, the latest last.

    Each comes from (name, clean rows, quarantined rows), and the number of its duplicate rows if it has any.
    """
    rows = [
        {
            "batch_id": name,
            "source": source,
            "source_file": file or f"{name}.jsonl",
            "part": 0,
            "rows_in": clean + broken + sum(repeated),
            "rows_clean": clean,
            "rows_quarantined": broken,
            "rows_duplicate": sum(repeated),
            "started_at": datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=place),
        }
        for place, (name, clean, broken, *repeated) in enumerate(counts)
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
    assert missing_rows(lake, shop.end_of(0), shop.end_of(3), None).share is None, "no batch has counts"
    counts = ("first", 2000, 0), ("second", 2000, 1000), ("elsewhere", 9, 9)
    lake.append("batches", batches(*counts), key="told")
    assert missing_rows(lake, shop.end_of(0), shop.end_of(1), None).share == 0.0
    assert missing_rows(lake, shop.end_of(1), shop.end_of(2), None).share == pytest.approx(1 / 3)
    assert missing_rows(lake, shop.end_of(0), shop.end_of(3), None).share == pytest.approx(1000 / 5000)
    assert missing_rows(lake, shop.end_of(2), shop.end_of(3), None).share is None


def test_a_batch_counts_in_proportion_to_its_events_in_the_period(lake, shop):
    lake.append("batches", batches(("first", 2000, 0), ("second", 2000, 1000)), key="told")
    half = timedelta(hours=12)
    share = missing_rows(lake, shop.end_of(1) - half, shop.end_of(1) + half, None).share
    assert share == pytest.approx(500 / 2500, abs=0.01)


def test_an_empty_lake_has_no_share(shop, tmp_path):
    empty = Lake(str(tmp_path / "empty"))
    assert missing_rows(empty, shop.end_of(0), shop.end_of(1), None).share is None


#: Batches of one file, with the share of the first day, of the second, and of both.
ONE_FILE = {
    "repaired": ([("first", 2000, 1000), ("second", 2000, 0, 2000)], 0.0, 0.0, 0.0),
    "repaired in part": ([("first", 2000, 1000), ("second", 2000, 500, 2000)], 0.2, 0.0, 500 / 4500),
    "grown by sound rows": ([("first", 2000, 1000), ("second", 2000, 1000, 2000)], 1 / 3, 0.0, 0.2),
    "grown by broken rows": ([("first", 2000, 0), ("second", 2000, 2000, 2000)], 0.0, 0.5, 1 / 3),
    "grown by both": ([("first", 2000, 500), ("second", 2000, 1500, 2000)], 0.2, 1 / 3, 1500 / 5500),
    "overwritten": ([("first", 2000, 1000), ("second", 2000, 0, 0)], 1 / 3, 0.0, 0.2),
    "overwritten twice": ([("first", 2000, 1000), ("second", 2000, 2000, 0)], 1 / 3, 0.5, 3000 / 7000),
    "repeated from another file": (
        [("first", 2000, 0, 70), ("second", 2000, 900, 2070)],
        0.0,
        9 / 29,
        9 / 49,
    ),
}


@pytest.mark.parametrize(("counts", "first", "second", "both"), ONE_FILE.values(), ids=ONE_FILE)
def test_a_file_that_came_again_is_judged_by_its_new_rows(lake, shop, counts, first, second, both):
    lake.append("batches", batches(*counts, file="day.jsonl"), key="told")
    days = [(0, 1), (1, 2), (0, 2)]
    shares = [missing_rows(lake, shop.end_of(one), shop.end_of(other), None).share for one, other in days]
    assert shares == pytest.approx([first, second, both])


#: Batches of several files, with the share of the first day and of the second.
BROKEN_FILES = {
    "the last file": ([("first", 2000, 0), ("second", 2000, 0), ("broken", 0, 2000)], 0.0, 0.5),
    "the first file": ([("broken", 0, 500), ("first", 2000, 0), ("second", 2000, 0)], 0.2, 0.0),
    "a file between": ([("first", 2000, 0), ("broken", 0, 2000), ("second", 2000, 0)], 0.5, 0.0),
    "two files": ([("first", 2000, 0), ("broken", 0, 900), ("too", 0, 100), ("second", 2000, 0)], 1 / 3, 0.0),
}


@pytest.mark.parametrize(("counts", "first", "second"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_file_without_a_sound_row_counts_fully(lake, shop, counts, first, second):
    lake.append("batches", batches(*counts), key="told")
    shares = [missing_rows(lake, shop.end_of(day), shop.end_of(day + 1), None).share for day in (0, 1)]
    assert shares == pytest.approx([first, second])


def test_a_broken_file_counts_with_its_own_source_and_without_one_with_another(lake, shop):
    lake.append("batches", batches(("first", 2000, 0)), key="one")
    lake.append("batches", batches(("second", 2000, 0), ("broken", 0, 500), source="shop"), key="two")
    lake.append("batches", batches(("never", 0, 500), source="app"), key="three")
    shares = [missing_rows(lake, shop.end_of(day), shop.end_of(day + 1), None).share for day in (0, 1)]
    assert shares == pytest.approx([0.2, 0.2])


def refused(*counts):
    """Return one row for each (url, hour, source), all refused at that hour."""
    began = datetime(2025, 11, 1, tzinfo=UTC)
    rows = [
        {
            "url": url,
            "format": "canonical",
            "source": source,
            "state": "some state",
            "began_at": began + timedelta(hours=hour),
            "refused_at": began + timedelta(hours=hour),
        }
        for url, hour, source in counts
    ]
    return pa.Table.from_pylist(rows, schema=REFUSED_FILES_SCHEMA)


def test_a_refused_file_counts_with_the_mean_rows_of_its_source(lake, shop):
    lake.append("batches", batches(("first", 2000, 0), ("second", 1500, 500)), key="told")
    lake.append("batches", batches(("third", 8000, 0), source="app"), key="app")
    lake.append(
        "refused_files", refused(("bad.jsonl", 0.5, "logs"), ("worse.jsonl", 5, "logs")), key="refused"
    )
    one, other = (missing_rows(lake, shop.end_of(day), shop.end_of(day + 1), None) for day in (0, 1))
    assert (one.share, one.refused_files) == (pytest.approx(0.5), 1)
    assert (other.share, other.refused_files) == (pytest.approx(2500 / 4000), 1)


def test_a_refused_file_of_a_source_without_a_file_counts_with_the_mean_rows_of_all_files(lake, shop):
    lake.append("batches", batches(("first", 2000, 0), ("second", 4000, 0)), key="told")
    lake.append("refused_files", refused(("bad.jsonl", 0.5, "app")), key="refused")
    found = missing_rows(lake, shop.end_of(0), shop.end_of(1), None)
    assert (found.share, found.refused_files) == (pytest.approx(0.6), 1)


def test_a_file_that_was_refused_in_several_states_counts_once(lake, shop):
    lake.append("batches", batches(("first", 2000, 0), ("second", 2000, 0)), key="told")
    lake.append(
        "refused_files", refused(*(("bad.jsonl", hour, "logs") for hour in (0.5, 0.6, 5))), key="refused"
    )
    found = [missing_rows(lake, shop.end_of(day), shop.end_of(day + 1), None) for day in (0, 1)]
    assert [each.refused_files for each in found] == [1, 0]
    assert [each.share for each in found] == pytest.approx([0.5, 0.0])


#: A file at the address of a refused file: hour of ingestion, format and batches; and the refused files then.
LATER_FILES = {
    "before": (4, "canonical", ["first"], 1),
    "after": (6, "canonical", ["first"], 0),
    "after, in another format": (6, "rees46", ["elsewhere", "first"], 0),
    "after, without a row": (6, "canonical", [], 0),
    "after, as exposures": (6, "exposures canonical", ["a batch of exposures"], 1),
}


@pytest.mark.parametrize(("ingested", "form", "ids", "counts"), LATER_FILES.values(), ids=LATER_FILES)
def test_a_refused_file_counts_until_its_address_is_ingested(lake, shop, ingested, form, ids, counts):
    lake.append("batches", batches(("first", 2000, 0)), key="told")
    lake.append("refused_files", refused(("day.jsonl", 5, "logs")), key="refused")
    at = datetime(2025, 11, 1, ingested, tzinfo=UTC)
    taken = {"url": "day.jsonl", "format": form, "batch_ids": ids, "taken_in_at": at}
    lake.append("files", pa.Table.from_pylist([taken], schema=FILES_SCHEMA), key="files")
    assert missing_rows(lake, shop.end_of(0), shop.end_of(1), None).refused_files == counts


def test_a_refused_file_of_a_store_without_states_counts_until_a_batch_of_it_is_ingested(lake, shop):
    rows = refused(("first.jsonl", -1, "logs"), ("other.jsonl", -1, "logs")).to_pylist()
    stateless = pa.Table.from_pylist([{**row, "state": ""} for row in rows], schema=REFUSED_FILES_SCHEMA)
    lake.append("batches", batches(("first", 2000, 0)), key="told")
    lake.append("refused_files", stateless, key="refused")
    assert missing_rows(lake, shop.end_of(0), shop.end_of(1), None).refused_files == 1


def test_a_lake_from_before_duplicates_were_counted_is_judged(lake, shop):
    lake.append("batches", batches(("first", 2000, 500)).drop_columns(["rows_duplicate"]), key="told")
    assert missing_rows(lake, shop.end_of(0), shop.end_of(1), None).share == pytest.approx(0.2)


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


def test_a_day_of_which_a_file_was_refused_moves_no_champion_and_the_gate_names_it(
    shop, empty_store, tmp_path, monkeypatch
):
    shop.pack_lightly(monkeypatch.setattr)
    home = shop.Installation(tmp_path / "home")
    home.with_events(of_days(shop.events(), "first", "second", "third"))
    home.lake.append(
        "batches", batches(("first", 2000, 0), ("second", 2000, 0), ("third", 2000, 0)), key="told"
    )
    assert home.day(1, LAX).promote
    home.lake.append("refused_files", refused(("bad.jsonl", 1.5, "logs")), key="refused")
    decision = home.day(2, LAX)
    assert [check.name for check in decision.checks if not check.passed] == ["sound_feed"]
    assert "in quarantine, or in 1 file that the table refused_files names" in decision.reasons[0]
    run_id = home.train(2)
    assert stored_report(run_id, home.registry).refused_files == 1
    assert home.registry.metrics(run_id)["refused_files"] == 1

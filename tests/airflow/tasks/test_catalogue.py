"""The tasks of `ingest_catalogue`, without a scheduler."""

from __future__ import annotations

import json
import os
import time

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.catalogue.history import read_catalogue
from lastaisle.errors import SourceError
from lastaisle.lake import Lake
from lastaisle_airflow.tasks import catalogue


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("LASTAISLE_CATALOGUE", str(tmp_path / "feed"))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")
    (tmp_path / "feed").mkdir()
    return tmp_path


def write(shop, rows, name="items.jsonl", age=60.0):
    path = shop / "feed" / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def test_without_a_catalogue_the_run_is_skipped(monkeypatch):
    monkeypatch.delenv("LASTAISLE_CATALOGUE", raising=False)
    with pytest.raises(AirflowSkipException, match="LASTAISLE_CATALOGUE"):
        catalogue.ingest_items.function()


def test_the_files_are_taken_in_once_and_changes_are_announced(shop):
    write(shop, [{"item_id": "1"}, {"item_id": "2"}, {"item_id": "3", "price": -1}])
    report = catalogue.ingest_items.function()
    json.dumps(report)
    assert report["quarantined_by_rule"] == {"price_in_range": 1}
    assert catalogue.require_change(report) == {
        "changed": 2,
        "removed": 0,
        "quarantined": 1,
        "doubtful": 0,
        "words": "2 items changed, 0 removed, 1 quarantined",
    }
    catalogue.refuse_left_out(report)
    with pytest.raises(AirflowSkipException, match="no item"):
        catalogue.require_change(catalogue.ingest_items.function())


def test_a_broken_file_is_named_after_the_others_were_taken_in(shop):
    write(shop, [{"item_id": "1"}])
    (shop / "feed" / "page.html").write_text("<html>404</html>")
    os.utime(shop / "feed" / "page.html", (1, 1))
    report = catalogue.ingest_items.function()
    assert catalogue.require_change(report)["changed"] == 1
    with pytest.raises(SourceError, match=r"page\.html.*HTML or XML"):
        catalogue.refuse_left_out(report)
    assert read_catalogue(Lake(shop / "lake")).num_rows == 1


def test_a_file_that_may_still_be_growing_is_left_for_the_next_run(shop):
    path = write(shop, [{"item_id": "1"}], age=0.0)
    assert catalogue.ingest_items.function()["waiting"] == [str(path)]


def test_a_place_that_cannot_be_read_fails_the_run(shop, monkeypatch):
    monkeypatch.setenv("LASTAISLE_CATALOGUE", str(shop / "nowhere"))
    with pytest.raises(SourceError, match="nowhere"):
        catalogue.ingest_items.function()

"""The tasks of `ingest_sessions` that take in exposures, without a scheduler."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPOSURES
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings import Settings
from lastaisle_airflow.tasks import exposure_chains, exposures
from tests.airflow.scheduler.feedback import feedback_lines, land_feedback

BEGIN = datetime(2025, 10, 9, 10, tzinfo=UTC)
SHOWN = 3


class Instance:
    """Keeps the XComs of a task."""

    def __init__(self):
        self.xcoms = {}

    def xcom_push(self, key, value):
        self.xcoms[key] = value

    def xcom_pull(self, task_ids, key):
        return self.xcoms[key]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop whose service keeps feedback; without LASTAISLE_EXPOSURES."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")
    return tmp_path


def land(shop, name="a", begin=BEGIN, age=60.0):
    keys = PseudonymKeys.load_or_create(Settings.from_env().privacy.key_file)
    key = key_of_lake(Lake(shop / "lake"), keys, None)
    path = land_feedback(shop, begin, feedback_lines(name, begin, key, SHOWN))
    return aged(path, age)


def aged(path, age=60.0):
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def plan(ti=None):
    return exposures.plan_exposures.function(ti=ti or Instance())


def take_in(chains):
    return [exposure_chains.ingest_chain(chain) for chain in chains]


def test_without_feedback_the_run_is_skipped(shop):
    with pytest.raises(AirflowSkipException, match="no exposures wait"):
        plan()
    (shop / "feedback" / "2025-10-09").mkdir(parents=True)
    with pytest.raises(AirflowSkipException, match="no exposures wait"):
        plan()


def test_all_feedback_that_waits_is_taken_in_once_whatever_its_day(shop):
    land(shop)
    land(shop, "b", datetime(2025, 10, 2, 23, tzinfo=UTC))
    ti = Instance()
    chains = plan(ti=ti)
    json.dumps(chains)
    (report,) = reports = take_in(chains)
    json.dumps(report)
    extra = exposures.require_rows(reports)
    assert extra["rows_in"] == extra["rows_clean"] == 2 * (SHOWN + 1)
    assert (extra["shown"], extra["files"]) == (2 * SHOWN, 2)
    assert Lake(shop / "lake").scan(EXPOSURES).num_rows == 2 * (SHOWN + 1)
    exposures.check_exposures.function(chains, reports, ti=ti)
    with pytest.raises(AirflowSkipException, match="no exposures wait"):
        plan()


def test_a_task_that_is_tried_again_announces_what_the_killed_try_stored(shop):
    land(shop)
    chains = plan()
    take_in(chains)
    again = exposures.require_rows(take_in(chains))
    assert (again["rows_in"], again["rows_duplicate"]) == (SHOWN + 1, SHOWN + 1)
    assert Lake(shop / "lake").scan(EXPOSURES).num_rows == SHOWN + 1


def test_a_file_that_may_still_be_growing_is_left_for_the_next_run(shop):
    land(shop, age=0.0)
    with pytest.raises(AirflowSkipException, match="1 files were changed just now"):
        plan()


def test_a_broken_file_is_named_after_the_others_were_taken_in(shop):
    land(shop)
    land(shop, "b", datetime(2025, 10, 8, tzinfo=UTC))
    broken = shop / "feedback" / "2025-10-08" / "feedback-x.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b this is no gzip")
    aged(broken)
    ti = Instance()
    chains = plan(ti=ti)
    reports = take_in(chains)
    assert exposures.require_rows(reports)["shown"] == 2 * SHOWN
    with pytest.raises(SourceError, match=r"left out of the exposures: .*feedback-x\.jsonl\.gz"):
        exposures.check_exposures.function(chains, reports, ti=ti)
    (only,) = later = take_in(plan())
    assert list(only["failed"]) == [str(broken)], "the next run tries the broken file again"
    with pytest.raises(AirflowSkipException, match="no exposures came in"):
        exposures.require_rows(later)


def test_a_place_that_was_named_and_is_missing_fails_the_run(shop, monkeypatch):
    monkeypatch.setenv("LASTAISLE_EXPOSURES", str(shop / "nowhere"))
    with pytest.raises(SourceError, match="nowhere"):
        plan()


def test_a_place_that_was_named_is_read_on_all_days(shop, monkeypatch):
    monkeypatch.setenv("LASTAISLE_EXPOSURES", str(shop / "feedback" / "{day}"))
    days = ["2025-10-08", "2025-10-09", "2025-10-10"]
    for name in days:
        land(shop, name, datetime.fromisoformat(name).replace(tzinfo=UTC))
    (chain,) = plan()
    assert sorted(url.split("/")[-2] for url in chain["urls"]) == days


def file(name, size, modified=0.0):
    return SourceFile(name, size, None, name, modified=modified)


def test_files_are_shared_out_to_chains_by_their_size_the_oldest_first():
    big = exposure_chains.CHAIN_BYTES
    assert exposure_chains.chains_of([]) == []
    files = [file("b", 10, 2.0), file("a", 10, 3.0), file("c", 10, 1.0)]
    assert [[one.url for one in chain] for chain in exposure_chains.chains_of(files)] == [["c", "b", "a"]]
    files = [file("a", big), file("b", 1), file("c", big)]
    assert [len(chain) for chain in exposure_chains.chains_of(files)] == [1, 1, 1]
    many = [file(f"{number:04}", big) for number in range(1000)]
    chains = exposure_chains.chains_of(many)
    assert len(chains) <= exposure_chains.MOST_CHAINS
    assert [one for chain in chains for one in chain] == many


def test_a_chain_is_named_by_its_first_file_or_by_its_offsets():
    assert exposure_chains.chain_name({"urls": ["/x/a.jsonl"]}) == "a.jsonl"
    assert exposure_chains.chain_name({"urls": ["/x/a.jsonl", "/x/b.jsonl"]}) == "a.jsonl and 1 more"
    spans = [{"topic": "t", "partition": 0, "start": 3, "end": 5}, {"start": 5, "end": 9}]
    assert exposure_chains.chain_name({"ranges": spans}) == "t/0 3-9"


def test_a_run_is_red_if_anything_was_not_taken_in():
    report = {"counts": {}, "shown": 1, "files": 1, "failed": {}}
    exposures.refuse_missing(["a"], [report], {}, [])
    with pytest.raises(SourceError, match="1 of 2 chains were not taken in"):
        exposures.refuse_missing(["a", "b"], [report], {}, [])
    with pytest.raises(SourceError, match=r"left out of the exposures: s3://x: no access$"):
        exposures.refuse_missing(["a"], [report], {"s3://x": "no access"}, [])
    with pytest.raises(SourceError, match="lost upstream, see the table gaps: t/0: offsets 3 to 5"):
        exposures.refuse_missing(["a"], [report], {}, ["t/0: offsets 3 to 5"])
    with pytest.raises(SourceError, match="nothing could be planned"):
        exposures.check_exposures.function(None, None)


def test_one_report_counts_alone_and_in_a_list():
    report = {"shown": 1}
    for given in (report, [report], [None, report]):
        assert exposures.listed(given) == [report]
    assert exposures.listed(None) == []

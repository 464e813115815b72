"""Killed runs and runs side by side leave the tables of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

NOW = "2025-10-10T00:00:00+00:00"
CLOCK = datetime.fromisoformat(NOW)
MUCH_LATER = CLOCK + timedelta(days=30)
PLACES = ("source", "source_file")
TABLES = ("raw_events", "quarantine", "batches", "events")

# Ingests like the command line; dies by SIGKILL right before or right after its n-th commit.
CHILD = textwrap.dedent("""
    import os, signal, sys
    from datetime import datetime

    from lastaisle.ingest.options import IngestOptions
    from lastaisle.ingest.run import ingest
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

    source, lake, key_file, now, when, number = sys.argv[1:]
    commits = 0

    def write(*args, **kwargs):
        global commits
        commits += 1
        if when == "before" and commits == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        original(*args, **kwargs)
        if when == "after" and commits == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    original, Lake._write = Lake._write, write
    keys = PseudonymKeys.load_or_create(key_file, environ={})
    options = IngestOptions(gx_sample_rows=0)
    report = ingest(source, "canonical", Lake(lake), keys, now=datetime.fromisoformat(now), options=options)
    print(report.rows_in, report.rows_clean)
""")


def child(shop, source: str, when: str = "never", number: int = 0, now: str = NOW) -> subprocess.Popen:
    arguments = [source, shop.lake.url, str(shop.keys.path), now, when, str(number)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


def write_log(shop) -> str:
    events = [shop.event(number, session_id=None) for number in range(20)]
    events += [shop.event(3, session_id=None), shop.event(4, session_id=None, item_id="other")]
    events += [shop.event(90, price=-1), shop.event(91, item_id=None)]
    events += [shop.event(92, occurred_at="2025-10-07T00:00:00Z")]
    return shop.write([*events, "{", "[]"])


def tables(shop) -> dict[str, list]:
    """All rows; the source's folder differs from shop to shop."""
    found = {name: shop.rows(name) for name in TABLES}
    return {
        name: [{key: value for key, value in row.items() if key not in PLACES} for row in rows]
        for name, rows in found.items()
    }


@pytest.fixture
def undisturbed(make_shop):
    shop = make_shop("undisturbed")
    shop.ingest(write_log(shop))
    found = tables(shop)
    assert [len(found[name]) for name in TABLES] == [21, 5, 1, 21]
    return found


@pytest.mark.service
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_at_any_commit_and_a_plain_run_again(make_shop, undisturbed, when, number):
    shop = make_shop("killed")
    source = write_log(shop)
    process = child(shop, source, when, number)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    reused = ["event_id_reused"] in shop.rules()
    committed = [name for name in ("quarantine", "raw_events", "batches", "events") if shop.rows(name)]
    assert len(committed) + reused == number - (when == "before")
    shop.ingest(source)
    assert tables(shop) == undisturbed


@pytest.mark.service
def test_a_run_again_much_later_decides_by_the_first_clock(make_shop):
    shop = make_shop("killed")
    source = shop.write([shop.event(1), shop.event(2, occurred_at="2025-10-11T00:00:00Z", received_at=None)])
    process = child(shop, source, "after", 1)
    process.communicate(timeout=120)
    assert shop.rules() == [["occurred_at_not_in_future"]]
    report = shop.ingest(
        source, now=MUCH_LATER
    )  # by this clock the row is good, but it is quarantined already
    assert (report.rows_clean, report.rows_quarantined) == (1, 1)
    assert [row["event_id"] for row in shop.rows("raw_events")] == ["event-1"]
    assert {row["ingested_at"] for name in ("raw_events", "quarantine") for row in shop.rows(name)} == {CLOCK}


@pytest.mark.service
def test_two_runs_of_overlapping_files_leave_nothing_double(shop):
    sources = [
        shop.write([shop.event(number) for number in range(first, first + 300)], f"{first}.jsonl")
        for first in (0, 150)
    ]
    processes = [child(shop, source) for source in sources]
    counts = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(clean) for _, clean in counts) == 450
    for name in ("raw_events", "events"):
        identifiers = [row["event_id"] for row in shop.rows(name)]
        assert len(identifiers) == len(set(identifiers)) == 450


def test_two_runs_of_the_same_file_count_it_once(shop, make_shop, undisturbed):
    source = write_log(shop)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: shop.ingest(source), range(2)))
    assert [report.rows_in for report in reports] == [27, 27]
    assert tables(shop) == undisturbed

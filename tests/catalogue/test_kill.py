"""A run that is killed at any commit goes on, without loss and without doubles; two runs at once agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import CATALOGUE_BATCHES, FILES, ITEMS, QUARANTINE

from .conftest import NOW, Feed

# Ingests the full file; dies by SIGKILL right before or right after its n-th commit.
SCRIPT = """
import os, signal, sys
from datetime import datetime
from lastaisle.catalogue.formats import catalogue_adapter
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.run import ingest_catalogue
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake

lake, source, when, number, now = sys.argv[1:]
write, commits = Lake._write, 0

def counted(*given):
    global commits
    commits += 1
    if when == "before" and commits == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    write(*given)
    if when == "after" and commits == int(number):
        os.kill(os.getpid(), signal.SIGKILL)

Lake._write = counted
options = IngestOptions(gx_sample_rows=0)
job = CatalogueJob(Lake(lake), catalogue_adapter("items"), options=options, now=datetime.fromisoformat(now))
ingest_catalogue(source, job)
"""
FIRST = [{"item_id": str(number), "price": number} for number in range(6)]
#: Changed, new, broken, listed twice, and gone.
SECOND = [{"item_id": "0", "price": 9}, *FIRST[1:5], {"item_id": "7"}, {"item_id": "8", "price": -1}]
SECOND.append({"item_id": "1", "price": 100})


def state(feed: Feed):
    """Return the rows of the tables, without what the clock or the folder says."""
    rows = {}
    for name in (ITEMS, QUARANTINE, CATALOGUE_BATCHES):
        found = [
            {
                column: value
                for column, value in row.items()
                if not column.endswith("_at") and column not in ("batch_id", "source", "source_file")
            }
            for row in feed.lake.scan(name).to_pylist()
        ]
        rows[name] = sorted(json.dumps(row, default=str, sort_keys=True) for row in found)
    return rows


def prepared(folder):
    folder.mkdir()
    feed = Feed(folder, Lake(folder / "lake"))
    feed.full(*FIRST, hour=0)
    return feed, feed.write(SECOND, hour=1)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_kill_9_at_any_commit_and_a_plain_run_again(tmp_path, when, number):
    undisturbed, path = prepared(tmp_path / "undisturbed")
    undisturbed.ingest(path)
    killed, other = prepared(tmp_path / "killed")
    arguments = [str(killed.lake.url), other, when, str(number), NOW.isoformat()]
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    report = killed.ingest(other)
    assert report.rows_in == len(SECOND)
    assert state(killed) == state(undisturbed)
    assert killed.now() == undisturbed.now()
    assert killed.lake.scan(FILES).num_rows == 2


def test_two_runs_at_once_take_a_file_in_once(tmp_path):
    feed, path = prepared(tmp_path / "shop")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: feed.ingest(path), range(2)))
    assert feed.lake.scan(CATALOGUE_BATCHES).num_rows == 2
    assert len(feed.history("0")) == 2
    keys = [(row["item_id"], row["valid_from"]) for row in feed.lake.scan(ITEMS).to_pylist()]
    assert len(keys) == len(set(keys))


def test_two_files_at_once_lose_nothing(tmp_path):
    feed, _ = prepared(tmp_path / "shop")
    paths = [
        feed.write([{"item_id": "0", "price": 50 + number}], f"{number}.jsonl", hour=2 + number)
        for number in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda path: feed.ingest(path, content="changes"), paths))
    assert [row["price"] for row in feed.history("0")] == [0, 50, 51, 52]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(feed, monkeypatch):
    path = feed.write(FIRST)

    def changed(*_):
        os.utime(path, (1, 1))

    monkeypatch.setattr("lastaisle.ingest.batch_steps.judge_batch", lambda *_: changed() or {})
    report = feed.ingest(path)
    assert report.files_waiting == [path]
    assert feed.now() == {}

"""A run that is killed at any commit goes on, without loss and without doubles; two runs at once agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lastaisle.lake.tables import EXPOSURE_BATCHES, EXPOSURES, FILES, QUARANTINE

from .conftest import NOW, Shown, row

# Ingests a file in two batches; dies by SIGKILL right before or right after its n-th commit.
SCRIPT = """
import os, signal, sys
from datetime import datetime
from lastaisle.feedback.exposures.formats import exposure_adapter
from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.run import ingest_exposures
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys

lake, key_file, source, when, number, now = sys.argv[1:]
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
options = IngestOptions(gx_sample_rows=0, batch_rows=5)
keys = PseudonymKeys.load(key_file, environ={})
job = ExposureJob(
    Lake(lake), exposure_adapter("exposures"), keys, options=options, now=datetime.fromisoformat(now)
)
ingest_exposures(source, job)
"""
FIRST = [row(number) for number in range(1, 4)]
#: Known, known with other contents, broken, doubled, without consent, and of a second batch.
SECOND = [row(1), row(2, item_id="other"), row(5, position=None), row(6), row(6)]
SECOND += [row(7, consent="no"), row(8, kind="clicked"), row(9), row(3, arm="b"), "{"]
COMMITS = 9  # of each batch: quarantine, exposures, reused rows, exposure_batches; and the file


def state(shown: Shown):
    """Return the rows of the tables, without what the clock or the folder says."""
    left_out = ("batch_id", "source", "source_file", "ingested_at", "started_at", "finished_at")
    return {
        name: sorted(
            json.dumps({key: one[key] for key in one if key not in left_out}, default=str, sort_keys=True)
            for one in shown.lake.scan(name).to_pylist()
        )
        for name in (EXPOSURES, QUARANTINE, EXPOSURE_BATCHES)
    }


def prepared(make_shown, name):
    shown = make_shown(name)
    shown.options = replace(shown.options, batch_rows=5)
    shown.take(*FIRST, form="exposures", name="first.jsonl")
    return shown, shown.write(SECOND, "second.jsonl")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
def test_kill_9_at_any_commit_and_a_plain_run_again(make_shown, when, number):
    undisturbed, path = prepared(make_shown, "undisturbed")
    whole = undisturbed.ingest(path, "exposures")
    assert (whole.rows_clean, whole.rows_quarantined, whole.rows_duplicate, whole.rows_ignored) == (
        3,
        4,
        2,
        1,
    )
    killed, other = prepared(make_shown, "killed")
    arguments = [str(killed.lake.url), str(killed.keys.path), other, when, str(number), NOW.isoformat()]
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    report = killed.ingest(other, "exposures")
    assert report.rows_in == len(SECOND)
    assert state(killed) == state(undisturbed)
    assert killed.lake.scan(FILES).num_rows == 2


def test_two_runs_at_once_take_a_file_in_once(make_shown):
    shown, path = prepared(make_shown, "shop")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: shown.ingest(path, "exposures"), range(2)))
    alone, other = prepared(make_shown, "alone")
    alone.ingest(other, "exposures")
    assert state(shown) == state(alone)


def test_two_files_at_once_lose_nothing_and_double_nothing(make_shown):
    shown = make_shown("shop")
    paths = [shown.write([row(number), row(100)], f"{number}.jsonl") for number in range(1, 5)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda path: shown.ingest(path, "exposures"), paths))
    assert sum(report.rows_clean for report in reports) == 5
    assert sum(report.rows_duplicate for report in reports) == 3
    ids = [one["exposure_id"] for one in shown.rows()]
    assert sorted(ids) == ["e1", "e100", "e2", "e3", "e4"]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(shown, monkeypatch):
    path = shown.write(FIRST)

    def changed(*_):
        os.utime(path, (1, 1))
        return {}

    monkeypatch.setattr("lastaisle.ingest.batch_steps.judge_batch", changed)
    report = shown.ingest(path, "exposures")
    assert (report.files_waiting, shown.rows()) == ([path], [])

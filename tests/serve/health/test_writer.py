"""How counts reach the lake: each once, whatever happens to the lake meanwhile."""

from __future__ import annotations

import shutil
import threading

import pytest
from deltalake.exceptions import DeltaError

from lastaisle.feedback.health import read_health
from lastaisle.lake import Lake
from lastaisle.lake.tables import SERVICE_METRICS
from lastaisle.serve.health import counts as module
from lastaisle.serve.health.counts import HealthCounts, Source
from lastaisle.serve.health.writer import HealthWriter
from lastaisle.settings import Settings
from tests.services.waiting import wait_until

CHAMPION = Source("shop", "7", "champion")


class Worker:
    """The counts of one worker, and their writer."""

    def __init__(self, home, **settings) -> None:
        self.counts = HealthCounts()
        self.writer = HealthWriter(Settings.of(home=home, **settings), self.counts)

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self.counts.answered(CHAMPION, 0.001, is_empty=False)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "lake").mkdir()
    return tmp_path


@pytest.fixture
def lake(home) -> Lake:
    return Lake(home / "lake")


@pytest.fixture
def worker(home) -> Worker:
    return Worker(home)


def requests(lake: Lake) -> int:
    return sum(read_health(lake, by=())["requests"].to_pylist())


def test_each_write_adds_the_new_counts_once(worker, lake):
    for answers in (3, 0, 2):
        worker.answer(answers)
        worker.writer.write()
    rows = lake.scan(SERVICE_METRICS).to_pylist()
    assert [(row["sequence"], row["requests"]) for row in sorted(rows, key=lambda row: row["sequence"])] == [
        (1, 3),
        (2, 2),
    ]
    assert len({row["service"] for row in rows}) == 1
    assert lake.version(SERVICE_METRICS) == 2, "no answers, no commit"


def test_a_write_that_arrived_and_seemed_to_fail_is_not_counted_twice(worker, lake, monkeypatch, caplog):
    append = Lake.append

    def append_and_lose_the_answer(*given, **named):
        append(*given, **named)
        raise OSError("the connection broke")

    worker.answer(3)
    with monkeypatch.context() as broken:
        broken.setattr(Lake, "append", append_and_lose_the_answer)
        worker.writer.write()
        worker.answer(4)
        worker.writer.write()
    assert "the connection broke" in worker.writer.problem
    worker.answer(5)
    worker.writer.write()
    assert requests(lake) == 12
    assert worker.writer.problem == ""
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the counts of answers cannot be written to the lake; they are kept",
        "solved",
    ], "each is told once"


def test_a_lake_that_is_away_for_days_gets_all_counts_merged(worker, lake, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 30)
    clock = [0.0]
    monkeypatch.setattr(module.time, "time", lambda: clock[0])
    with monkeypatch.context() as away:
        away.setattr(Lake, "append", lambda *_, **__: (_ for _ in ()).throw(DeltaError("away")))
        for minute in range(300):
            clock[0] = 60.0 * 10 * minute
            worker.answer(2)
            worker.writer.write()
    worker.writer.write()
    assert requests(lake) == 600
    assert lake.version(SERVICE_METRICS) == 2, "the write that failed first, and all others together"
    assert lake.scan(SERVICE_METRICS).num_rows <= 31


def test_a_lake_that_may_not_be_written_is_named_once_and_the_counts_wait(worker, lake, monkeypatch, caplog):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", lake.url)

    with monkeypatch.context() as refusing:
        refusing.setattr("lastaisle.lake.lake.write_deltalake", refuse)
        for _ in range(3):
            worker.answer()
            worker.writer.write()
    assert "Permission denied" in worker.writer.problem
    assert lake.url in worker.writer.problem
    assert len(caplog.records) == 1
    worker.writer.write()
    assert requests(lake) == 3


def test_a_file_in_place_of_the_lake_is_named(tmp_path):
    (tmp_path / "lake").write_text("")
    worker = Worker(tmp_path)
    worker.answer()
    worker.writer.write()
    assert "cannot be written" in worker.writer.problem


def test_where_there_is_no_lake_none_is_made_and_the_counts_wait_for_one(tmp_path):
    worker = Worker(tmp_path)
    worker.answer(2)
    worker.writer.write()
    assert (worker.writer.problem, list(tmp_path.iterdir())) == ("", [])
    (tmp_path / "lake").mkdir()
    worker.writer.write()
    assert requests(Lake(tmp_path / "lake")) == 2


def test_a_lake_that_goes_away_is_named_and_not_made_anew(worker, lake, home):
    worker.answer()
    worker.writer.write()
    shutil.move(home / "lake", home / "elsewhere")
    worker.answer(2)
    worker.writer.write()
    assert "is gone" in worker.writer.problem
    assert not (home / "lake").exists()
    shutil.move(home / "elsewhere", home / "lake")
    worker.writer.write()
    assert requests(lake) == 3


def test_workers_that_write_at_once_lose_and_double_nothing(home, lake):
    workers = [Worker(home) for _ in range(4)]
    start = threading.Barrier(4)

    def work(worker: Worker) -> None:
        start.wait()
        for _ in range(5):
            worker.answer()
            worker.writer.write()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.writer.write()
    assert requests(lake) == 20
    assert len(set(lake.scan(SERVICE_METRICS)["service"].to_pylist())) == 4


def test_the_thread_writes_at_each_interval_and_at_the_end(home, lake):
    worker = Worker(home, serve_health_seconds=0.1)
    worker.writer.start()
    worker.answer()
    wait_until("the thread wrote", lambda: lake.version(SERVICE_METRICS) is not None and requests(lake) == 1)
    worker.answer(2)
    worker.writer.stop()
    assert requests(lake) == 3


def test_an_interval_of_0_writes_nothing(home, lake):
    worker = Worker(home, serve_health_seconds=0)
    worker.writer.start()
    worker.answer()
    worker.writer.stop()
    assert lake.version(SERVICE_METRICS) is None
    assert worker.writer.problem == ""

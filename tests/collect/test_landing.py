"""Files of the landing folder: what was acknowledged is in them, and nothing is seen before it is whole."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lastaisle.collect import folder as folder_module
from lastaisle.collect.calls import Call
from lastaisle.collect.folder import FolderOptions, FolderSink
from lastaisle.collect.landing import LandingFile, recover
from lastaisle.ingest.reading.files import list_files
from lastaisle.settings import SettingsError
from lastaisle.web.refusal import BusyError, StorageError

NOW = datetime(2025, 10, 9, 23, 59, tzinfo=UTC)


def call(number):
    return Call(b"u", b'{"messageId": "%d"}\n' % number)


@pytest.fixture
def make_sink(tmp_path):
    made = []

    def make(**options):
        address = str(tmp_path / "landing" / "{day}")
        made.append(FolderSink(address, replace(FolderOptions(), **options)))
        made[-1].open()
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def landed(root):
    return sorted(line for path in root.rglob("*.jsonl") for line in path.read_text().splitlines())


def lines(*numbers):
    return sorted(call(number).line.decode().strip() for number in numbers)


def test_a_file_is_seen_only_when_it_is_whole(tmp_path):
    file = LandingFile(tmp_path / "2025-10-09", NOW)
    file.append(b"one\n")
    assert file.path.read_bytes() == b"one\n"
    assert list_files(str(tmp_path)).files == []
    published = file.publish(tmp_path / "2025-10-10")
    assert [found.url for found in list_files(str(tmp_path)).files] == [str(published)]
    assert re.fullmatch(r"segment-20251009T235900Z-[0-9a-f]{32}\.jsonl", published.name)


def test_an_empty_file_leaves_nothing(tmp_path):
    assert LandingFile(tmp_path, NOW).publish(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("left", "kept"),
    [(b'{"a":1}\n{"b"', b'{"a":1}\n'), (b'{"a":1}\n', b'{"a":1}\n'), (b'{"a"', None), (b"", None)],
)
def test_recovery_keeps_whole_lines_in_the_present_partition(tmp_path, left, kept):
    old = tmp_path / "2025-10-09" / "segment-x.jsonl.inprogress"
    old.parent.mkdir()
    old.write_bytes(left)
    published = recover(tmp_path, tmp_path / "2025-10-10")
    assert not old.exists()
    assert [path.read_bytes() for path in published] == ([kept] if kept else [])
    assert [path.parent.name for path in published] == (["2025-10-10"] if kept else [])


def test_recovery_leaves_a_file_whose_maker_lives(tmp_path):
    file = LandingFile(tmp_path, NOW)
    file.append(b"one\n")
    assert recover(tmp_path, tmp_path) == []
    file.append(b"two\n")
    assert file.publish(tmp_path).read_bytes() == b"one\ntwo\n"


def test_two_recoveries_at_once_publish_each_file_once(tmp_path):
    for number in range(50):
        (tmp_path / f"segment-{number}.jsonl.inprogress").write_bytes(b"%d\n" % number)
    with ThreadPoolExecutor(4) as pool:
        published = [
            path for done in pool.map(lambda _: recover(tmp_path, tmp_path), range(4)) for path in done
        ]
    assert len(published) == len(set(published)) == 50
    assert landed(tmp_path) == sorted(map(str, range(50)))


def test_appended_calls_are_on_the_disk_and_are_published_at_the_end(tmp_path, make_sink):
    sink = make_sink()
    asyncio.run(sink.append([call(1), call(2)]))
    (unfinished,) = (tmp_path / "landing").rglob("*.inprogress")
    assert unfinished.read_bytes() == call(1).line + call(2).line
    sink.close()
    assert landed(tmp_path) == lines(1, 2)


def test_requests_that_come_together_share_a_sync(make_sink, monkeypatch, tmp_path):
    synced = []
    sync = os.fdatasync

    def count(fd):
        synced.append(fd)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", count)
    sink = make_sink()

    async def burst():
        await asyncio.gather(*(sink.append([call(number)]) for number in range(500)))

    asyncio.run(burst())
    assert 0 < len(synced) < 50
    sink.close()
    assert landed(tmp_path) == lines(*range(500))


@pytest.mark.parametrize("options", [{"file_bytes": 10}, {"file_seconds": 0.05}])
def test_files_are_published_by_size_and_by_age(tmp_path, make_sink, options):
    sink = make_sink(**options)

    async def two():
        await sink.append([call(1)])
        for _ in range(100):
            if landed(tmp_path) == lines(1):
                return
            await asyncio.sleep(0.02)

    asyncio.run(two())
    assert landed(tmp_path) == lines(1)


def test_the_last_file_of_an_hour_is_published_before_the_hour_ends(make_sink, monkeypatch):
    sink = make_sink(file_seconds=300, early_seconds=2)
    ends = 1_760_050_800.0
    until = {}
    for left in (400, 60, 1):
        monkeypatch.setattr(folder_module.time, "time", lambda left=left: ends - left)
        sink._begin().publish(sink.root)
        until[left] = sink._until - ends
    assert until == {400: -100, 60: -2, 1: 299}


def test_a_full_disk_acknowledges_nothing_and_keeps_what_was_acknowledged(tmp_path, make_sink, monkeypatch):
    sink = make_sink()
    write = os.write

    def torn(fd, data):
        if len(data) > 5:
            return write(fd, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    asyncio.run(sink.append([call(1)]))
    with monkeypatch.context() as full:
        full.setattr(os, "write", torn)
        for _ in range(2):
            with pytest.raises(StorageError):
                asyncio.run(sink.append([call(2)]))
        assert landed(tmp_path) == lines(1)
    asyncio.run(sink.append([call(3)]))
    assert sink.waiting == 0
    sink.close()
    assert landed(tmp_path) == lines(1, 3)


def test_a_lost_permission_is_no_lost_event(tmp_path, make_sink, monkeypatch):
    sink = make_sink()
    asyncio.run(sink.append([call(1)]))

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as lost:
        lost.setattr(os, "fdatasync", refuse)
        lost.setattr(type(tmp_path), "rename", refuse)
        with pytest.raises(StorageError):
            asyncio.run(sink.append([call(2)]))
    assert landed(tmp_path) == []
    asyncio.run(sink.append([call(3)]))
    sink.close()
    assert set(lines(1, 3)) <= set(landed(tmp_path))


def test_more_than_fits_into_memory_is_sent_back(make_sink):
    sink = make_sink(waiting_bytes=30)
    with pytest.raises(BusyError):
        asyncio.run(sink.append([call(1), call(2)]))
    asyncio.run(sink.append([call(1)]))


@pytest.mark.parametrize("source", ["s3://shop/{day}", "/logs/*/{day}"])
def test_only_a_local_folder_can_be_landed_in(tmp_path, source):
    with pytest.raises(SettingsError, match="local folder"):
        FolderSink(source)


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("/logs/{day}", "/logs"),
        ("/logs/day={day}/x", "/logs"),
        ("/logs/plain", "/logs/plain"),
        ("/l/{hour}/", "/l"),
    ],
)
def test_recovery_looks_below_what_all_partitions_share(tmp_path, source, root):
    assert str(FolderSink(source).root) == root


def test_a_sink_that_ended_stores_nothing_and_says_so(make_sink):
    sink = make_sink()
    sink.close()
    with pytest.raises(StorageError):
        asyncio.run(sink.append([call(1)]))


def test_two_collectors_share_a_landing_folder(tmp_path, make_sink):
    first = make_sink()
    asyncio.run(first.append([call(1)]))
    second = make_sink()
    asyncio.run(second.append([call(2)]))
    asyncio.run(first.append([call(3)]))
    second.close()
    assert landed(tmp_path) == lines(2)
    first.close()
    assert landed(tmp_path) == lines(1, 2, 3)


def test_a_start_recovers_what_was_left_before_the_first_event_comes(tmp_path, make_sink):
    (tmp_path / "landing" / "2025-10-09").mkdir(parents=True)
    (tmp_path / "landing" / "2025-10-09" / "segment-x.jsonl.inprogress").write_bytes(call(1).line)
    make_sink()
    assert landed(tmp_path) == lines(1)

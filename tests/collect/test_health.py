"""The collector is unwell while it could not store a call; it says where it listens when it starts."""

from __future__ import annotations

import asyncio
import errno
import os
import time

import pytest

from lastaisle.collect.folder import FolderSink
from lastaisle.collect.health import Health
from lastaisle.collect.kafka import KafkaSink
from lastaisle.collect.write_keys import WriteKeys
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.web.listening import ListenError, listen
from lastaisle.web.refusal import StorageError
from tests.services.waiting import wait_until


@pytest.fixture
def sink(tmp_path):
    opened = FolderSink(str(tmp_path / "landing" / "{day}"))
    opened.open()
    yield opened
    opened.close()


def test_a_check_leaves_nothing_behind(sink, tmp_path):
    sink.check()
    assert list((tmp_path / "landing").rglob("*")) == []


@pytest.mark.parametrize("failing", ["write", "open", "fdatasync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_to_is_unwell(sink, tmp_path, monkeypatch, failing, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(StorageError, match=os.strerror(number)) as error:
        sink.check()
    monkeypatch.undo()
    assert str(tmp_path) not in str(error.value)
    assert list((tmp_path / "landing").rglob("*")) == []


def test_a_cluster_that_cannot_be_reached_is_unwell(monkeypatch):
    monkeypatch.setattr("lastaisle.collect.kafka.CHECK_SECONDS", 0.3)
    sink = KafkaSink(KafkaConnection({"bootstrap.servers": "127.0.0.1:1"}), "clicks")
    sink._producer = sink._make_producer()
    with pytest.raises(StorageError, match="cannot reach Kafka"):
        sink.check()


def test_an_answer_is_kept_for_a_moment(sink, monkeypatch):
    asked = []
    monkeypatch.setattr(sink, "check", lambda: asked.append(1))

    async def ask():
        health = Health(sink, WriteKeys())
        return [await health.find_problem() for _ in range(100)]

    assert asyncio.run(ask()) == [""] * 100
    assert asked == [1]


def test_a_running_collector_on_a_bad_folder_is_unwell(collector):
    assert collector.send("GET", "/healthz", key=None).status == 200
    (collector.folder / "landing" / time.strftime("%Y-%m-%d", time.gmtime())).write_text("in the way")
    wait_until("it is told", lambda: collector.send("GET", "/healthz", key=None).status == 503, 10)
    answer = collector.send("GET", "/healthz", key=None)
    assert (answer.code, "cannot be written" in answer.text) == ("unhealthy", True)
    assert str(collector.folder) not in answer.text


def test_it_says_where_it_listens_and_writes_and_how_to_send_a_first_event(collector):
    said = collector.log.read_text()
    assert f"listens on {collector.url}." in said
    assert f"writes to {collector.to}." in said
    assert "curl -u WRITE_KEY: -d '{" in said
    assert f"{collector.url}/v1/track" in said
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named(host):
    try:
        first = listen(host, 0, "the collector")
    except ListenError:
        pytest.skip(f"this machine has no {host}")
    with first, pytest.raises(ListenError, match=rf"port {first.getsockname()[1]}: Address already in use"):
        listen(host, first.getsockname()[1], "the collector")


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "", "a" * 300, "ä..b"])
def test_an_address_that_is_not_ours_is_named(host):
    with pytest.raises(ListenError, match="cannot listen on"):
        listen(host, 0, "the collector")

"""Write keys can be revoked and limited while the collector runs."""

from __future__ import annotations

import pytest

from lastaisle.collect import write_keys
from lastaisle.collect.write_keys import WriteKeys
from lastaisle.settings import SettingsError
from lastaisle.web import keys as file_of_keys
from lastaisle.web.refusal import QuotaError
from tests.services.waiting import wait_until

TRACK = {"type": "track", "event": "Cart Viewed", "userId": "u1", "messageId": "m1"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(write_keys, "time", clock)
    monkeypatch.setattr(file_of_keys, "time", clock)
    return clock


def test_a_key_that_is_taken_from_the_file_is_refused(tmp_path, clock):
    file = tmp_path / "keys"
    file.write_text("# our shops\n\nweb\n  app 100\nö\n", encoding="utf-8")
    keys = WriteKeys(["always"], file)
    assert [keys.knows(key) for key in ("web", "app", "ö", "always", "100", "#", "", "we", "\ud83d")] == [
        *[True] * 4,
        *[False] * 5,
    ]
    file.write_text("app\nnew\n")
    assert keys.knows("web"), "the file is looked at once a second"
    clock.now += 1.1
    assert [keys.knows(key) for key in ("web", "app", "new", "always")] == [False, True, True, True]
    file.write_text("")
    clock.now += 1.1
    assert [keys.knows(key) for key in ("app", "always")] == [False, True]


@pytest.mark.parametrize("broken", ["web many\n", "web 1 2\n", "web -1\n", b"\xff\n", None])
def test_a_file_that_cannot_be_read_keeps_its_last_keys_and_says_so(tmp_path, clock, caplog, broken):
    file = tmp_path / "keys"
    file.write_text("web\n")
    keys = WriteKeys([], file)
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    clock.now += 1.1
    assert keys.knows("web")
    assert "last keys stay valid" in keys.find_problem()
    assert str(file) in caplog.text
    file.write_text("app\n")
    clock.now += 1.1
    assert keys.find_problem() == ""
    assert (keys.knows("web"), keys.knows("app")) == (False, True)
    file.unlink()
    with pytest.raises(SettingsError, match="write keys"):
        WriteKeys([], file)


def test_a_file_that_can_be_read_again_is_read_although_it_did_not_change(
    tmp_path, clock, caplog, monkeypatch
):
    file = tmp_path / "keys"
    file.write_text("web\n")
    keys = WriteKeys([], file)
    file.write_text("app\n")

    def refuse(*_: object, **__: object) -> str:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(type(file), "read_text", refuse)
        for _ in range(3):
            clock.now += 1.1
            assert keys.knows("web")
    assert caplog.text.count("Too many open files") == 1
    clock.now += 1.1
    assert (keys.knows("web"), keys.knows("app")) == (False, True)
    assert keys.find_problem() == ""


def test_a_quota_is_spent_and_grows_again(tmp_path, clock):
    file = tmp_path / "keys"
    file.write_text("small 60\nfree 0\n")
    keys = WriteKeys(["usual"], file, quota=600)
    keys.spend("small", 60)
    with pytest.raises(QuotaError, match="60 events a minute") as refused:
        keys.spend("small", 1)
    assert (refused.value.status, refused.value.retry_after) == (429, 2)
    keys.spend("free", 10**9)
    keys.spend("free", 10**9)
    keys.spend("usual", 600)
    clock.now += 1.01
    keys.spend("small", 1)
    with pytest.raises(QuotaError):
        keys.spend("small", 1)
    clock.now += 3600
    keys.spend("small", 1000)  # a batch larger than the quota is taken whole, and paid for afterwards
    clock.now += 900
    with pytest.raises(QuotaError) as refused:
        keys.spend("small", 1)
    assert 30 < refused.value.retry_after < 60


def test_an_empty_batch_costs_nothing(clock):
    keys = WriteKeys(["usual"], None, quota=1)
    keys.spend("usual", 1)
    keys.spend("usual", 0)


def test_a_running_collector_revokes_and_limits(make_collector, tmp_path):
    file = tmp_path / "keys"
    file.write_text("app 5\nold\n")
    collector = make_collector(LASTAISLE_SEGMENT_WRITE_KEYS="", LASTAISLE_SEGMENT_KEY_FILE=str(file))
    assert collector.post("/v1/track", TRACK, key="old").status == 200
    assert collector.post("/v1/batch", {"batch": [TRACK] * 5}, key="app").status == 200
    refused = collector.post("/v1/t", {**TRACK, "writeKey": "app"}, key=None)
    assert (refused.status, refused.code) == (429, "quota")
    assert 1 <= int(refused.headers["retry-after"]) <= 13
    assert collector.post("/v1/track", TRACK, key="old").status == 200, "a quota is of one key"
    file.write_text("app\n")
    wait_until("the key is revoked", lambda: collector.post("/v1/track", TRACK, key="old").status == 401, 10)
    assert collector.post("/v1/track", TRACK, key="app").status == 200
    file.unlink()
    wait_until("it is told", lambda: collector.send("GET", "/healthz", key=None).status == 503, 10)
    assert "file of write keys" in collector.send("GET", "/healthz", key=None).text
    assert collector.post("/v1/track", TRACK, key="app").status == 200

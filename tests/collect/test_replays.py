"""A signed request of the webhook is taken once, also through a restart, and not when it is old."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.collect.calls import received_at
from lastaisle.collect.replays import Replays
from lastaisle.settings import SettingsError
from lastaisle.web.refusal import RefusedError

SECRET = "only segment knows"
NOW = datetime(2025, 10, 9, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
TRACK = {"type": "track", "event": "Cart Viewed", "userId": "u1", "messageId": "m1"}


@pytest.fixture
def replays(tmp_path):
    opened = Replays(tmp_path / "new" / "webhook.db", DAY)
    yield opened
    opened.close()


def refused(replays, body, sent, now=NOW):
    with pytest.raises(RefusedError) as error:
        replays.take(body, sent, now)
    return error.value.status, error.value.code


def test_a_body_is_taken_once_also_through_a_restart(replays, tmp_path):
    replays.take(b"1", NOW, NOW)
    replays.take(b"2", None, NOW)
    replays.close()
    again = Replays(tmp_path / "new" / "webhook.db", DAY)
    assert refused(again, b"1", NOW) == (409, "replayed")
    assert refused(again, b"2", None, NOW + 1000 * DAY) == (409, "replayed")
    again.take(b"3", NOW, NOW)
    again.give_back(b"3")
    again.take(b"3", NOW, NOW)
    again.close()


def test_a_body_that_is_too_old_is_refused(replays):
    replays.take(b"young", NOW - DAY + timedelta(seconds=1), NOW)
    assert refused(replays, b"old", NOW - DAY - timedelta(seconds=1)) == (409, "replayed")


def test_what_is_forgotten_is_too_old_by_then(replays):
    sent = NOW + timedelta(hours=3)  # Segment's clock is ahead of ours
    replays.take(b"1", sent, NOW)
    for hours in range(0, 60, 3):
        replays._pruned = float("-inf")
        assert refused(replays, b"1", sent, NOW + timedelta(hours=hours)) == (409, "replayed")
    replays._pruned = float("-inf")
    replays.take(b"other", None, NOW + timedelta(hours=60))
    replays.give_back(b"other")
    assert replays._database.execute("SELECT count(*) FROM taken").fetchone() == (0,)


def test_a_database_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file/webhook\.db"):
        Replays(tmp_path / "file" / "webhook.db", DAY)


@pytest.mark.parametrize(
    ("body", "hour"),
    [
        ({"receivedAt": "2025-10-09T12:00:00Z"}, 12),
        ([{"receivedAt": "2025-10-09T12:00:00Z"}, {"receivedAt": "2025-10-09T11:00:00Z"}], 11),
        ([{"receivedAt": "2025-10-09T12:00:00Z"}, {}], None),
        ({"receivedAt": "soon"}, None),
        ({"receivedAt": "2025-10-09T12:00:00"}, None),
        ([], None),
        (7, None),
    ],
)
def test_the_oldest_call_counts(body, hour):
    moment = received_at(body)
    assert (moment.hour if moment else None) == hour


def test_a_running_collector_refuses_a_replay(collector):
    def forward(call):
        body = json.dumps(call).encode()
        return collector.post(
            "/segment/webhook",
            body,
            key=None,
            X_Signature=hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest(),
        )

    fresh = {**TRACK, "receivedAt": datetime.now(UTC).isoformat()}
    assert forward(fresh).status == 200
    assert (forward(fresh).status, forward(fresh).code) == (409, "replayed")
    assert forward({**fresh, "messageId": "m2"}).status == 200
    stale = {**TRACK, "receivedAt": (datetime.now(UTC) - 2 * DAY).isoformat()}
    assert forward(stale).status == 409
    collector.stop()
    collector.start()
    assert forward(fresh).status == 409
    collector.stop()
    assert [call["messageId"] for call in collector.landed()] == ["m1", "m2"]

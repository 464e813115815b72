"""kill -9 under load: whatever was acknowledged is in the landing folder once the collector is back."""

from __future__ import annotations

import signal
import threading
import time
from http.client import HTTPException

from tests.services.waiting import wait_until


def test_every_acknowledged_event_outlives_kill_9(make_collector):
    collector = make_collector()
    acknowledged: set[str] = set()
    sent: set[str] = set()
    ended = threading.Event()

    def send(sender: int) -> None:
        number = 0
        while not ended.is_set():
            ids = [f"{sender}-{number}-{position}" for position in range(20)]
            number += 1
            sent.update(ids)
            body = {"batch": [{"type": "track", "event": "Cart Viewed", "messageId": each} for each in ids]}
            try:
                if collector.post("/v1/batch", body).status == 200:
                    acknowledged.update(ids)
            except (OSError, HTTPException):
                time.sleep(0.02)  # it is dead; the next one gets the next events

    senders = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(8)]
    for sender in senders:
        sender.start()
    for kill in range(4):
        enough = len(acknowledged) + 200
        wait_until(f"200 events before kill {kill}", lambda enough=enough: len(acknowledged) >= enough)
        collector.stop(signal.SIGKILL)
        assert collector.unfinished()
        collector.start()
        assert len(collector.unfinished()) <= 1, "only the new collector's own file may be unfinished"
    ended.set()
    for sender in senders:
        sender.join()
    collector.stop()
    landed = [call["messageId"] for call in collector.landed()]
    assert acknowledged <= set(landed) <= sent
    assert collector.unfinished() == []

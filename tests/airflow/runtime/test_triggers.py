"""The trigger that watches the control topic."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from lastaisle.sessions.abandonments import Burst
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import abandoned_checkouts

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


def burst(end):
    return Burst(("b1",), 30, {"abandoned": 30}, end - timedelta(hours=1), end, end)


def test_only_a_control_topic_is_watched():
    assert abandoned_checkouts(Settings.of()).watchers == []
    (watcher,) = abandoned_checkouts(Settings.of(control_topic="kafka://shop/control")).watchers
    path, arguments = watcher.trigger.serialize()
    assert path == "lastaisle_airflow.runtime.triggers.ControlTrigger"
    assert (arguments["topics"], arguments["kafka_config_id"]) == (["control"], "shop")


def test_the_watcher_passes_over_other_messages():
    (watcher,) = abandoned_checkouts(Settings.of(control_topic="kafka://shop/control")).watchers
    sent = [b"\xff", None, json.dumps(burst(NOON).to_dict()).encode(), b"{", b'{"event": "other"}']

    async def stream():
        for value in sent:
            yield value

    async def events():
        return [event.payload async for event in watcher.trigger.filter_shared_stream(stream())]

    assert asyncio.run(events()) == [{"sessions": 30, "noticed_at": NOON.isoformat()}]


def test_the_triggerer_loads_nothing_heavy():
    heavy = ("tensorflow", "mlflow", "pandas", "duckdb", "deltalake", "pyarrow")
    program = (
        f"import sys, lastaisle_airflow.runtime.triggers; print([m for m in {heavy} if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"

"""Topics on the command line: how much waits, take it in, nothing waits."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from lastaisle import cli
from tests.services.kafka import make_topic


def test_ingest_reads_the_messages_that_lag_counts(broker, send, tmp_path, monkeypatch):
    topic = make_topic(broker, partitions=2)
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTAISLE_KAFKA", json.dumps(broker.config))
    event = {"event_type": "page_viewed", "occurred_at": "2025-10-09T12:00:00Z", "session_id": "s1"}
    for partition in range(2):
        send(topic, [json.dumps({**event, "event_id": f"{partition}-{n}"}) for n in range(30)], partition)
    send(topic, [b"\xff"])
    report = tmp_path / "report.json"

    def run(command: str) -> dict:
        arguments = [command, "--source", f"kafka://shop/{topic}", "--report", str(report)]
        ended = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "160"})
        assert ended.exit_code == 0, ended.output
        return json.loads(report.read_text()) | {"output": ended.output}

    before = run("lag")
    assert before["lag"] == 61
    assert [(one["partition"], one["committed"], one["end"]) for one in before["partitions"]] == [
        (0, None, 31),
        (1, None, 30),
    ]
    assert before["partitions"][0]["oldest_seconds"] >= 0
    assert "61 messages wait" in before["output"]
    done = run("ingest")
    assert (done["rows_in"], done["rows_clean"], done["rows_quarantined"]) == (61, 60, 1)
    after = run("lag")
    assert [(one["committed"], one["lag"]) for one in after["partitions"]] == [(31, 0), (30, 0)]
    assert run("ingest")["rows_in"] == 0

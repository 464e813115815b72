"""The command that takes in logs: its options, its reports and its exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.cli.ingested import lines_of
from lastaisle.errors import ExitCode
from lastaisle.ingest.checks.changes import SchemaChangeError
from lastaisle.ingest.checks.gx_check import SampleCheck
from lastaisle.ingest.report import IngestReport
from lastaisle.lake import Lake

from .conftest import EVENT, run


def test_ingest_writes_a_report_and_exits_with_0(tmp_path):
    logs = tmp_path / "logs.jsonl"
    logs.write_text(json.dumps(EVENT) + "\n" + json.dumps(EVENT) + "\n{broken\n")
    report = tmp_path / "reports" / "ingest.json"
    ended = run(
        *("ingest", "--format", "canonical", "--source", str(logs), "--lake", str(tmp_path / "lake")),
        *("--report", str(report)),
    )
    assert ended.returncode == 0, ended.stderr
    written = json.loads(report.read_text())
    counts = {name: written[f"rows_{name}"] for name in ("in", "clean", "quarantined", "duplicate")}
    assert counts == {"in": 3, "clean": 1, "quarantined": 1, "duplicate": 1}
    assert {"seconds", "events_per_second", "peak_rss_mib"} <= set(written)


def test_ingest_takes_source_format_and_sample_from_the_settings(tmp_path, monkeypatch, call):
    (tmp_path / "2025-10-09").mkdir()
    (tmp_path / "2025-10-09" / "clicks.csv").write_text("7,42,5,pv,1760011200\n")
    monkeypatch.setenv("LASTAISLE_SOURCE", f"{tmp_path}/{{day}}")
    monkeypatch.setenv("LASTAISLE_SOURCE_FORMAT", "taobao")
    unplaced = call("ingest")
    assert (unplaced.returncode, "Traceback" in unplaced.stderr) == (ExitCode.WRONG_REQUEST, False)
    assert "--at 2025-10-09" in unplaced.stderr
    options = []
    monkeypatch.setattr(
        "lastaisle.ingest.batch_steps.check_sample",
        lambda staging, rows, where: options.append(rows) or SampleCheck(),
    )
    ended = call("ingest", "--at", "2025-10-09", "--report", str(tmp_path / "r.json"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "r.json").read_text())["rows_clean"] == 1
    assert options == [0], "LASTAISLE_GX_SAMPLE_ROWS is 0 here"


MAPPING = """
name: my_shop
fields: {event_id: id, event_type: what, occurred_at: at, user_id: who, item_id: sku}
events: {seen: item_viewed}
"""
OWN_LINE = {"id": "e1", "what": "seen", "at": "2025-10-09T12:00:00Z", "who": "u1", "sku": "i1"}


@pytest.mark.parametrize("by", ["option", "setting"])
def test_ingest_reads_own_logs_by_a_mapping(tmp_path, monkeypatch, by):
    (tmp_path / "shop.yaml").write_text(MAPPING)
    (tmp_path / "log.jsonl").write_text(json.dumps(OWN_LINE))
    given = ["--mapping", str(tmp_path / "shop.yaml")] if by == "option" else []
    monkeypatch.setenv("LASTAISLE_SOURCE_MAPPING", "" if given else str(tmp_path / "shop.yaml"))
    arguments = ["ingest", "--source", str(tmp_path / "log.jsonl"), "--lake", str(tmp_path / "own"), *given]
    ended = CliRunner().invoke(cli.app, arguments)
    assert ended.exit_code == 0, ended.output
    assert Lake(tmp_path / "own").scan("batches").to_pylist()[0]["format"] == "my_shop"
    assert Lake(tmp_path / "own").scan("events").num_rows == 1


def test_ingest_takes_a_format_or_a_mapping(tmp_path):
    ended = CliRunner().invoke(cli.app, ["ingest", "--format", "otto", "--mapping", str(tmp_path / "m.yaml")])
    assert ended.exit_code == ExitCode.WRONG_REQUEST


def test_a_wrong_mapping_is_one_line_a_problem(tmp_path):
    (tmp_path / "shop.yaml").write_text(MAPPING.replace("item_viewed", "viewed").replace("who", "$"))
    ended = run("ingest", "--source", str(tmp_path), "--mapping", str(tmp_path / "shop.yaml"))
    assert ended.returncode == ExitCode.WRONG_REQUEST
    assert "fields.user_id" in ended.stderr
    assert "events.seen" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_ingest_guesses_a_mapping_that_ingest_takes(tmp_path):
    lines = [OWN_LINE | {"id": f"e{number}"} for number in range(5)]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    source, out = str(tmp_path / "log.jsonl"), str(tmp_path / "guess.yaml")
    shown = CliRunner().invoke(cli.app, ["ingest", "--guess", source])
    assert (shown.exit_code, "item_id: $.sku" in shown.output) == (0, True)
    assert CliRunner().invoke(cli.app, ["ingest", "--guess", source, "--out", out]).exit_code == 0
    assert (tmp_path / "guess.yaml").read_text() == shown.output


def test_a_changed_source_is_ingested_after_the_change_is_accepted(tmp_path):
    (tmp_path / "logs").mkdir()

    def ingest(name: str, *flags: str, **changes: object) -> object:
        events = [EVENT | changes | {"event_id": f"{name}{number}"} for number in range(100)]
        (tmp_path / "logs" / name).write_text("".join(json.dumps(event) + "\n" for event in events))
        arguments = ["ingest", "--source", str(tmp_path / "logs"), "--lake", str(tmp_path / "lake"), *flags]
        return CliRunner().invoke(cli.app, arguments)

    assert ingest("a.jsonl").exit_code == 0
    changed = ingest("b.jsonl", price="cheap")
    assert isinstance(changed.exception, SchemaChangeError)
    assert "price is no number" in str(changed.exception)
    assert ingest("b.jsonl", "--accept-schema-change", price="cheap").exit_code == 0


def test_settle_leaves_files_that_changed_just_now(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.jsonl").write_text(json.dumps(EVENT) + "\n")
    arguments = ["ingest", "--source", str(tmp_path / "logs"), "--lake", str(tmp_path / "lake")]
    arguments += ["--report", str(tmp_path / "r.json")]
    for flags, rows in ((["--settle", "60"], 0), ([], 1)):
        assert CliRunner().invoke(cli.app, [*arguments, *flags]).exit_code == 0
        assert json.loads((tmp_path / "r.json").read_text())["rows_in"] == rows


def test_a_summary_names_what_matters_and_not_each_hour():
    hours = [f"2025-10-{day:02}T{hour:02}" for day in range(1, 8) for hour in range(24)]
    ingested = IngestReport(
        rows_in=13_225,
        rows_clean=13_185,
        rows_quarantined=40,
        files=9,
        files_skipped=2,
        quarantined_by_rule={f"rule_{number}": 40 - number for number in range(30)},
        hours=hours,
        batches=[f"batch-{number}" for number in range(300)],
        files_passed_over={f"logs/empty-{number}.jsonl": "it is empty" for number in range(50)},
        files_failed={"logs/a\nb.jsonl": "it is no CSV"},
        seconds=2.0,
        events_per_second=6612.5,
        peak_rss_mib=512.0,
    )
    lines = list(lines_of(ingested))
    assert len(lines) < 25
    assert max(map(len, lines)) < 250
    text = "\n".join(lines)
    assert lines[0] == "9 files read, 2 of them ingested before, 300 batches"
    assert "quarantined      40  rule_0 40, rule_1 39" in text
    assert "168 hours of event time have rows: 2025-10-01T00 to 2025-10-07T23 (UTC)" in text
    assert "passed over: 45 more files; --report names all" in text
    assert r"left out: logs/a\nb.jsonl: it is no CSV" in text
    assert text.endswith("2.0 seconds, 6,612 rows a second, 512 MiB of memory at most")


def test_the_next_command_is_printed(tmp_path, call):
    (tmp_path / "logs.jsonl").write_text(json.dumps(EVENT) + "\nno json\n")
    shown = call("ingest", "--source", str(tmp_path / "logs.jsonl"))
    assert shown.stdout.splitlines()[-2:] == [
        "next: lastaisle quarantine (which rules the rows broke)",
        "next: lastaisle train",
    ]
    again = call("ingest", "--source", str(tmp_path / "logs.jsonl"))
    assert "1 file read, 1 of them ingested before" in again.stdout
    assert "next: lastaisle train" not in again.stdout, "nothing new came"

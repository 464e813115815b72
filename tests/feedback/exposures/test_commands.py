"""The commands `lastaisle exposures ingest` and `show`, and the places that the settings name."""

from __future__ import annotations

import json
import sys

import pytest

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.feedback.exposures.sources import ExposureSource, exposure_sources
from lastaisle.settings import Settings

from .conftest import feedback, row


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(*arguments) runs a command in an empty folder; gives its exit code, its report and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")

    def run(*arguments):
        given = ["lastaisle", "exposures", *arguments, "--report", "report.json"]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        file = tmp_path / "report.json"
        report = json.loads(file.read_text()) if file.exists() else None
        file.unlink(missing_ok=True)
        return ended.value.code, report, " ".join(capsys.readouterr().err.split())

    return run


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(path)


def test_the_feedback_of_the_service_is_the_default(run, tmp_path):
    code, report, said = run("ingest")
    assert (code, report["rows_in"], report["files"]) == (0, 0, 0)
    assert f"Nothing new came back in {tmp_path / 'home' / 'feedback'}" in said
    assert "300 seconds (LASTAISLE_SERVE_FEEDBACK_SECONDS)" in said
    kept = tmp_path / "home" / "feedback"
    write(kept / "2025-10-09" / "feedback-1.jsonl", [feedback(1), feedback(2, kind="clicked")])
    write(kept / "2025-10-10" / "feedback-2.jsonl", [feedback(3), feedback(4, position=None)])
    write(kept / "2025-10-10" / "feedback-3.jsonl.inprogress", [feedback(5)])
    code, report, _ = run("ingest")
    assert "Nothing new" not in run("ingest")[2]
    counts = ("files", "rows_in", "rows_clean", "rows_quarantined", "rows_shown")
    assert [code, *(report[name] for name in counts)] == [0, 2, 4, 3, 1, 2]
    code, counted, _ = run("show")
    assert (code, counted["rows"], counted["lists"]) == (0, 3, 1)
    assert counted["rows_by_kind"] == {"shown": 2, "clicked": 1}
    assert (counted["first"], counted["rows_by_placement"]) == ("2025-10-09T12:00:00Z", {"checkout": 3})


def test_a_named_source_must_be_there(run):
    code, _, error = run("ingest", "none.jsonl")
    assert (code, "none.jsonl" in error) == (ExitCode.SOURCE_UNREADABLE, True)


def test_a_file_that_is_left_out_ends_with_an_error(run, tmp_path):
    write(tmp_path / "rows" / "1.jsonl", [row(1)])
    (tmp_path / "rows" / "2.parquet").write_bytes(b"no parquet")
    code, report, _ = run("ingest", "rows", "--format", "exposures")
    assert (code, report["rows_clean"], len(report["files_failed"])) == (ExitCode.FAILED, 1, 1)


def test_without_exposures_there_is_nothing_to_show(run):
    code, _, error = run("show")
    assert (code, "has no exposures" in error) == (ExitCode.NOT_ENOUGH_DATA, True)


def test_an_unknown_format_is_named(run):
    code, _, error = run("ingest", "rows.jsonl", "--format", "xml")
    assert code == ExitCode.WRONG_REQUEST
    assert "feedback, exposures or segment" in error


def test_product_lists_in_the_logs_of_sessions_are_taken_in(run, tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_SOURCE_FORMAT", "segment")
    monkeypatch.setenv("LASTAISLE_SOURCE", str(tmp_path / "landing" / "{day}"))
    call = {
        "type": "track",
        "event": "Product Clicked",
        "messageId": "m1",
        "userId": "anna",
        "timestamp": "2025-10-09T12:00:00Z",
        "properties": {"product_id": "i", "recommendation_id": f"7-m-{'a' * 24}"},
    }
    write(tmp_path / "landing" / "2025-10-09" / "a.jsonl", [call])
    code, report, _ = run("ingest")
    assert (code, report["rows_clean"]) == (0, 1)
    assert run("ingest")[1]["files_skipped"] == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("/h/feedback/{day}", "feedback", False)]),
        ({"serve_feedback": "kafka://shop/shown"}, [("kafka://shop/shown", "feedback", False)]),
        (
            {"exposures": "/rows", "exposures_format": "exposures"},
            [("/rows", "exposures", True)],
        ),
        (
            {"source_format": "segment", "source": "/landing/{hour}"},
            [("/h/feedback/{day}", "feedback", False), ("/landing/{hour}", "segment", False)],
        ),
        (
            {"source_format": "segment", "source": "/l", "exposures": "/l", "exposures_format": "segment"},
            [("/l", "segment", True)],
        ),
    ],
)
def test_the_settings_name_the_places(given, expected):
    found = exposure_sources(Settings.of(home="/h", **given))
    assert found == [ExposureSource(*one) for one in expected]

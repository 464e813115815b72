"""The commands `lastaisle catalogue ingest` and `lastaisle catalogue show`."""

from __future__ import annotations

import json
import sys

import pytest

from lastaisle import cli
from lastaisle.errors import ExitCode

LINES = [{"item_id": str(number), "title": f"Lamp {number}", "price": 5} for number in range(10)]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(*arguments) runs a command in an empty folder; gives its exit code, its output and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")
    monkeypatch.setenv("COLUMNS", "200")  # a width that is set would stay for other tests

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lastaisle", "catalogue", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, " ".join(printed.err.split())

    return run


def write(folder, rows, name="items.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def test_a_file_is_taken_in_and_shown(run, tmp_path):
    file = write(tmp_path, [*LINES, {"item_id": "out", "available": False}])
    code, _, _ = run("ingest", file, "--report", "ingested.json")
    assert code == 0
    assert json.loads((tmp_path / "ingested.json").read_text())["rows_clean"] == 11
    assert run("show", "--report", "counts.json")[0] == 0
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert (counts["items"], counts["available"], counts["sold_out"]) == (11, 10, 1)
    code, shown, _ = run("show", "3", "out", "nobody")
    assert code == 0
    assert "Lamp 3" in shown
    assert "not in the catalogue: nobody" in shown


def test_the_catalogue_of_a_moment_is_shown(run, tmp_path):
    dated = [{**LINES[0], "valid_from": "2025-10-01T00:00:00Z"}]
    run("ingest", write(tmp_path, dated), "--content", "changes")
    assert "Lamp 0" in run("show", "0", "--at", "2025-10-02")[1]
    assert "not in the catalogue: 0" in run("show", "0", "--at", "2025-09-30")[1]


def test_a_lake_without_catalogue_says_how_to_ingest_one(run):
    code, _, error = run("show")
    assert code == ExitCode.NOT_ENOUGH_DATA
    assert "lastaisle catalogue ingest FILE" in error


def test_the_settings_name_the_place_the_format_and_the_content(run, tmp_path, monkeypatch):
    (tmp_path / "feed.csv").write_text("id,title,availability,price\n1,Lamp,in_stock,5 EUR\n")
    monkeypatch.setenv("LASTAISLE_CATALOGUE", "feed.csv")
    monkeypatch.setenv("LASTAISLE_CATALOGUE_FORMAT", "google_merchant")
    assert run("ingest")[0] == 0
    assert "EUR" in run("show", "1")[1]


def test_without_a_place_the_command_asks_for_one(run):
    code, _, error = run("ingest")
    assert code == ExitCode.WRONG_REQUEST
    assert "LASTAISLE_CATALOGUE" in error


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [("--format", "xml", "items or google_merchant"), ("--content", "some", "full or changes")],
)
def test_an_unknown_format_or_content_names_the_known_ones(run, tmp_path, option, value, wanted):
    code, _, error = run("ingest", write(tmp_path, LINES), option, value)
    assert code == ExitCode.WRONG_REQUEST
    assert wanted in error


def test_a_file_that_shrinks_too_much_needs_an_option(run, tmp_path):
    run("ingest", write(tmp_path, LINES, "a.jsonl"))
    code, _, _ = run("ingest", write(tmp_path, LINES[:2], "b.jsonl"), "--report", "refused.json")
    assert code == ExitCode.FAILED
    (error,) = json.loads((tmp_path / "refused.json").read_text())["files_failed"].values()
    assert "--accept-removals" in error
    assert run("ingest", "b.jsonl", "--accept-removals")[0] == 0
    assert "not in the catalogue: 9" in run("show", "9")[1]


def test_kafka_without_settings_of_a_cluster_is_an_error(run):
    code, _, error = run("ingest", "kafka://shop/items")
    assert code == ExitCode.SOURCE_UNREADABLE
    assert "LASTAISLE_KAFKA" in error

"""Quarantined rows by rule and source: shapes for everybody, payloads for the accounts that may see them."""

import json
import os
import pwd
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.ingest.quarantined import Choice, count_rows, group_rows, since_days_ago
from lastaisle.lake import Lake
from lastaisle.lake.tables import ACCESSES, BATCHES, QUARANTINE, QUARANTINE_SCHEMA
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings import Settings

TODAY = datetime.now(UTC).replace(hour=12)
ME = pwd.getpwuid(os.geteuid()).pw_name
SECRET = "anna@example.org"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Four rows: of a known batch, of the same source a day before, of an unknown batch, and an old row."""
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    lake = Lake(tmp_path / "lake")
    told = [("b1", 0, ["not_json"], SECRET), ("b1", 1, ["price_in_range", "clock_skew"], None)]
    told += [("gone", 0, ["price_in_range"], json.dumps({"user_id": SECRET, SECRET: 1, "price": -5})), None]
    told[-1] = ("b1", 90, ["not_json"], "old")
    rows = [
        {
            "batch_id": batch,
            "source_file": f"{batch}.jsonl",
            "source_row": row,
            "payload": payload,
            "rules": rules,
            "ingested_at": TODAY - timedelta(days=ago),
            "event_date": (TODAY - timedelta(days=ago)).date(),
        }
        for row, (batch, ago, rules, payload) in enumerate(told)
    ]
    lake.append(QUARANTINE, pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), key="rows")
    lake.append(BATCHES, pa.table({"batch_id": ["b1"], "source": ["canonical logs"]}), key="batches")
    PseudonymKeys.load_or_create(Settings.of(home=tmp_path).privacy.key_file)
    return tmp_path


@pytest.fixture
def ask(home, capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["lastaisle", "quarantine", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def requests(home):
    return sorted(Lake(home / "lake").scan(ACCESSES).to_pylist(), key=lambda row: row["at"])


def test_rows_are_counted_by_rule_and_source_with_their_days(home):
    lake, choice = Lake(home / "lake"), Choice(since_days_ago(30, TODAY))
    found = {(group.rule, group.source): group for group in group_rows(lake, choice)}
    assert {name: group.rows for name, group in found.items()} == {
        ("not_json", "canonical logs"): 1,
        ("price_in_range", "canonical logs"): 1,
        ("price_in_range", "gone.jsonl"): 1,
        ("clock_skew", "canonical logs"): 1,
    }
    assert found["clock_skew", "canonical logs"].first_day == (TODAY - timedelta(days=1)).date()
    assert count_rows(lake, choice) == 3, "a row that broke two rules is one row"
    assert count_rows(lake, Choice(since_days_ago(91, TODAY))) == 4
    assert [group.rule for group in group_rows(lake, Choice(date.min, rule="clock_skew"))] == ["clock_skew"]
    assert count_rows(lake, Choice(date.min, source="gone.jsonl")) == 1
    assert group_rows(Lake(home / "none"), choice) == []


def test_days_reach_at_most_to_the_first_day_there_is():
    assert since_days_ago(1, TODAY) == TODAY.date()
    assert since_days_ago(10_000_000, TODAY) == date.min


def test_without_raw_no_value_is_shown_and_no_request_is_written(home, ask):
    code, out, err = ask("--report", str(home / "report.json"))
    assert code == 0
    assert "user_id: text" in out
    for text in (out, err, (home / "report.json").read_text()):
        assert SECRET not in text
    assert Lake(home / "lake").version(ACCESSES) is None


def test_an_account_that_is_not_named_sees_no_payload_and_its_request_is_a_row(home, ask, monkeypatch):
    monkeypatch.setenv("LOGNAME", "boss")
    monkeypatch.setenv("LASTAISLE_RAW_READERS", "boss,anna")
    code, out, err = ask("--raw", "--reason", "curious", "--report", str(home / "report.json"))
    assert (code, SECRET in out + err) == (ExitCode.WRONG_REQUEST, False)
    assert not (home / "report.json").exists()
    assert f"the account {ME} may not see the rows" in err
    (request,) = requests(home)
    assert (request["actor"], request["reason"], request["outcome"]) == (ME, "curious", "refused")
    assert request["what"].startswith("at most 5 quarantined rows since ")


def test_an_account_that_is_named_needs_a_reason_and_the_key(home, ask, monkeypatch):
    monkeypatch.setenv("LASTAISLE_RAW_READERS", f"anna, {ME}")
    code, _, err = ask("--raw")
    assert (code, "needs a --reason" in err) == (ExitCode.WRONG_REQUEST, True)
    key = home / "keys" / "pseudonym.json"
    kept = key.read_text()
    for text, said in (("{", "it cannot read the pseudonym key"), (None, "has no pseudonym key")):
        key.unlink() if text is None else key.write_text(text)
        code, out, err = ask("--raw", "--reason", "why")
        assert (code, said in err, SECRET in out) == (ExitCode.WRONG_REQUEST, True, False)
    key.write_text(kept)
    key.chmod(0o600)
    code, out, _ = ask("--raw", "--reason", "price_in_range rose", "--rows", "1", "--rule", "price_in_range")
    assert code == 0
    assert SECRET in out
    assert [request["outcome"] for request in requests(home)] == ["refused", "refused", "refused", "shown"]


def test_a_request_that_cannot_be_written_is_not_answered(home, ask, monkeypatch):
    monkeypatch.setenv("LASTAISLE_RAW_READERS", ME)
    (home / "lake" / ACCESSES).write_text("no table")
    code, out, _ = ask("--raw", "--reason", "why")
    assert (code, SECRET in out) == (ExitCode.LAKE_UNUSABLE, False)

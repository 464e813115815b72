"""The page of an audit: HTML that loads nothing, a PDF that can be read, and both kept once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.audit import State
from lastaisle.audit.finding import Finding
from lastaisle.audit.month import WrongMonthError, days_of_month
from lastaisle.audit.page import html_of, verdict
from lastaisle.audit.pdf import pdf_of
from lastaisle.audit.store import file_of, folder_of, keep, newest
from lastaisle.errors import ExitCode
from lastaisle.lake import Lake
from lastaisle.settings import Settings
from tests.audit.conftest import NOW, Shop


@pytest.fixture
def found(shop):
    shop.events(3)
    shop.batch()
    return shop.audit()


def test_the_html_page_loads_nothing_and_says_all(found):
    page = html_of(found)
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", page)
    assert page.index("What failed") < page.index("Data map")
    assert verdict(found) in page
    for one in found.findings:
        assert f">{one.name}<" in page
    assert "Privacy officer" in page


def test_the_html_page_runs_nothing_that_a_finding_says(found):
    told = "<script>alert(1)</script>"
    evil = found.of(
        (found.first_day, found.last_day), NOW, [Finding("map", "x", State.FAILED, told, told)], found.tables
    )
    assert "<script>" not in html_of(evil)
    assert pdf_of(evil).startswith(b"%PDF-")


def test_the_pdf_is_the_same_each_time_and_has_few_pages(found):
    content = pdf_of(found)
    assert content == pdf_of(found)
    assert content.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type /Page\b", content)) <= 4


def test_an_audit_is_kept_once(shop, found):
    folder = folder_of(shop.settings)
    assert keep(shop.lake, folder, found)
    files = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(files) == {f"{found.audit_id}.html", f"{found.audit_id}.pdf"}
    again = shop.audit()
    assert again.audit_id == found.audit_id, "its own table changes nothing"
    assert not keep(shop.lake, folder, again)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == files
    assert newest(shop.lake) == found


def test_an_audit_that_was_killed_is_kept_by_the_next(shop, found):
    """Killed before its row is written, with both files or with the first alone."""
    child = subprocess.run(
        [sys.executable, __file__, str(shop.settings.home)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert newest(shop.lake) is None
    (folder_of(shop.settings) / f"{found.audit_id}.pdf").unlink()
    assert keep(shop.lake, folder_of(shop.settings), found)
    names = sorted(path.name for path in folder_of(shop.settings).iterdir() if path.suffix != ".inprogress")
    assert names == [f"{found.audit_id}.html", f"{found.audit_id}.pdf"]
    assert newest(shop.lake) == found


def test_only_files_of_audits_are_found(shop, found):
    keep(shop.lake, folder_of(shop.settings), found)
    assert file_of(folder_of(shop.settings), found.audit_id, "pdf")
    assert file_of(folder_of(shop.settings), found.audit_id, "json") is None
    for name in ("../../keys/pseudonym", "2026-10-01--2026-10-31-0", "", "/etc/passwd"):
        assert file_of(folder_of(shop.settings), name, "html") is None, name


@pytest.mark.parametrize(
    ("text", "now", "days"),
    [
        ("", NOW, (date(2026, 10, 1), date(2026, 10, 31))),
        ("", datetime(2026, 1, 31), (date(2025, 12, 1), date(2025, 12, 31))),
        ("2024-02", NOW, (date(2024, 2, 1), date(2024, 2, 29))),
        ("2026-11", NOW, (date(2026, 11, 1), date(2026, 11, 30))),
    ],
)
def test_a_month_has_its_days(text, now, days):
    assert days_of_month(text, now) == days


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-1", "october", "2026-12", "0001-01", "2026-10-01"])
def test_a_wrong_month_is_refused(text):
    with pytest.raises(WrongMonthError, match="received"):
        days_of_month(text, NOW)


def test_the_command_writes_the_page_and_exits_by_what_failed(shop, found, tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(shop.settings.home))
    month = f"{NOW - timedelta(days=20):%Y-%m}"
    ended = CliRunner().invoke(
        cli.app, ["privacy", "audit", "--month", month, "--out", str(tmp_path / "out")]
    )
    assert ended.exit_code == ExitCode.AUDIT_FAILED, ended.output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".pdf"}
    refused = CliRunner().invoke(cli.app, ["privacy", "audit", "--month", "soon"])
    assert isinstance(refused.exception, WrongMonthError)


def test_nothing_failed_in_an_empty_lake(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    ended = CliRunner().invoke(cli.app, ["privacy", "audit", "--month", "2026-10"])
    assert ended.exit_code == 0, ended.output
    assert "Nothing failed" in ended.output


if __name__ == "__main__":
    from lastaisle.audit import store
    from tests.lake.keeping import die

    (home,) = sys.argv[1:]
    settings = Settings.of(home=Path(home))
    shop = Shop(settings, Lake(settings.lake.url))
    die(Lake, "append", "before")
    store.keep(shop.lake, folder_of(settings), shop.audit())

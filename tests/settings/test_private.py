"""Only the account that runs Lastaisle reads its files, also under the common umask of 022."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lastaisle.settings.private import create_private_files, make_private, tighten


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask_022():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("before", "after"), [(0o755, 0o700), (0o750, 0o700), (0o777, 0o700), (0o700, 0o700), (0o500, 0o500)]
)
def test_an_open_folder_is_closed_to_others_with_a_word(tmp_path, caplog, before, after):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(before)
    make_private(home)
    assert mode(home) == after
    assert (str(home) in caplog.text) == (before != after)


def test_a_new_home_is_private(tmp_path, umask_022):
    make_private(tmp_path / "new" / "home")
    assert mode(tmp_path / "new" / "home") == 0o700


def test_a_folder_that_all_accounts_share_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o1777)
    tighten(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_a_folder_of_another_account_stays_as_it_is(tmp_path, monkeypatch):
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    tighten(tmp_path)
    assert mode(tmp_path) == 0o755


def test_children_inherit_the_umask(tmp_path, umask_022):
    create_private_files()
    subprocess.run([sys.executable, "-c", "open('made', 'w')"], cwd=tmp_path, check=True)
    assert mode(tmp_path / "made") == 0o600


def test_all_that_a_command_writes_is_private(tmp_path):
    home, out, report = (tmp_path / name for name in ("home", "out", "report.json"))
    home.mkdir(mode=0o755)
    code = "import sys; from lastaisle.cli import main; main()"
    small = ("--days", "1", "--sessions-per-day", "20", "--report", str(report))
    for command in (
        ("simulate", "--out", str(out), *small),
        ("ingest", "--source", str(out / "2025-10-01"), "--report", str(report)),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            env={**os.environ, "LASTAISLE_HOME": str(home), "LASTAISLE_GX_SAMPLE_ROWS": "0"},
            umask=0o022,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    written = [report, out, home, *out.rglob("*"), *home.rglob("*")]
    assert any("raw_events" in str(path) for path in written)
    assert {str(path): oct(mode(path)) for path in written if mode(path) & 0o077} == {}

"""The command line of these tests: a home of its own, and two ways to run it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from lastaisle import cli

EVENT = {
    "event_id": "e1",
    "event_type": "item_added",
    "occurred_at": "2025-10-09T12:00:00.120Z",
    "received_at": "2025-10-09T12:00:01.002Z",
    "user_id": "u7",
    "session_id": "s7-1",
    "item_id": "i42",
    "quantity": 1,
    "price": 9.90,
    "currency": "EUR",
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")  # Great Expectations takes seconds


@pytest.fixture
def store(empty_store, tmp_path):
    """An empty MLflow database in the home folder, since to create a database takes seconds."""
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "home" / "mlflow")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own, and return its output and exit code."""
    command = [sys.executable, "-m", "lastaisle.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def call(capsys, monkeypatch):
    """call(*arguments): run the command in this process, and return its output and exit code."""

    def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["lastaisle", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code, printed.out, printed.err)

    return run_here

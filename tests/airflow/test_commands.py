"""bin/airflow, bin/mlflow and bin/lastaisle use the local services' data, from any folder."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lastaisle.settings import Settings
from lastaisle_airflow.local.command import command_environment
from tests.services.required import starts_service

ROOT = Path(__file__).resolve().parents[2]


def call(*command, **variables):
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.run(
        [str(part) for part in command],
        env=inherited | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        check=False,
        umask=0o022,
    )


@pytest.fixture
def installed():
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("the commands in bin/ run in .venv: make setup builds it")


def test_airflow_reads_the_services_folders_and_leaves_the_users_own_alone(installed, tmp_path):
    (tmp_path / "user").mkdir()
    link = tmp_path / "airflow"
    link.symlink_to(ROOT / "bin" / "airflow")
    answer = call(
        *(link, "config", "get-value", "core", "dags_folder"),
        HOME=tmp_path / "user",
        LASTAISLE_HOME=tmp_path / "home",
    )
    assert answer.stdout == f"{ROOT / 'dags'}\n", answer.stderr
    for made in (
        tmp_path / "home",
        tmp_path / "home" / "airflow",
        tmp_path / "home" / "airflow" / "airflow.cfg",
    ):
        assert made.stat().st_mode & 0o077 == 0, made
    assert list((tmp_path / "user").iterdir()) == []


@pytest.mark.service
def test_a_backfill_can_be_asked_for_before_the_first_start(installed, tmp_path):
    starts_service("Airflow's database")
    days = ("--from-date", "2025-10-01", "--to-date", "2025-10-03")
    answer = call(
        *(ROOT / "bin" / "airflow", "backfill", "create", "--dag-id", "ingest_sessions", *days),
        HOME=tmp_path / "user",
        LASTAISLE_HOME=tmp_path / "home",
    )
    assert answer.returncode == 0, answer.stderr
    with sqlite3.connect(tmp_path / "home" / "airflow" / "airflow.db") as database:
        assert database.execute("SELECT count(*) FROM backfill_dag_run").fetchone() == (3,)
    assert not (tmp_path / "user").exists()
    open_to_others = [path for path in (tmp_path / "home").rglob("*") if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_lastaisle_looks_into_the_services_folder(installed, tmp_path):
    refused = call(ROOT / "bin" / "lastaisle", "lag", LASTAISLE_HOME=tmp_path, HOME=tmp_path / "user")
    assert f"'{tmp_path}/landing/{{day}}'" in "".join(refused.stderr.split("\n"))


def test_mlflow_reads_the_services_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    variables = command_environment(Settings.from_env({"LASTAISLE_HOME": str(tmp_path)}))
    assert variables["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert variables["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_variable_that_is_set_already_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.shop:5000")
    assert (
        command_environment(Settings.from_env({"LASTAISLE_HOME": str(tmp_path)}))["MLFLOW_TRACKING_URI"]
        == "http://mlflow.shop:5000"
    )


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_python_that_cannot_run_is_passed_over(tmp_path):
    inactive = program(tmp_path / "python3.13", 'echo "pyenv: python3.13: command not found" >&2; exit 127')
    answer = call(ROOT / "bin" / "find-python", inactive, sys.executable)
    assert answer.stdout == f"{sys.executable}\n"
    assert answer.stderr == ""


def test_the_newest_python_is_found_first(tmp_path):
    for version in ("3.11", "3.12", "3.13"):
        program(tmp_path / f"python{version}", f"echo {tmp_path}/python{version}")
    (tmp_path / "python3.13").unlink()
    answer = call(ROOT / "bin" / "find-python", PATH=tmp_path)
    assert answer.stdout == f"{tmp_path}/python3.12\n"


def test_without_a_suitable_python_the_message_says_why_each_was_refused(tmp_path):
    old = program(tmp_path / "python3.9", 'echo "it is Python 3.9" >&2; exit 1')
    refused = call(ROOT / "bin" / "find-python", old, tmp_path / "none")
    assert refused.returncode == 1
    assert f"{old}: it is Python 3.9" in refused.stderr
    assert f"{tmp_path}/none: not found" in refused.stderr
    assert "make setup PYTHON=" in refused.stderr

"""Services bind to 127.0.0.1 only, name a taken port, and leave no process behind."""

import json
import socket
import subprocess
import sys
import time

import psutil
import pytest

from lastaisle.settings import Settings
from lastaisle_airflow.local import services
from lastaisle_airflow.local.environment import environment
from lastaisle_airflow.local.ports import PortTakenError, check_port
from lastaisle_airflow.local.services import Service, ServiceError, Services
from tests.services.airflow import free_port


@pytest.fixture
def settings(tmp_path):
    return Settings.of(home=tmp_path / "home")


@pytest.fixture
def started(settings, monkeypatch):
    """Services whose parts are plain Python: a parent with a child that ignores SIGTERM."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    monkeypatch.setattr(services, "STOP_SECONDS", 1.0)
    every = Services(settings)
    (settings.home / "logs").mkdir(parents=True)
    every._spawn(Service("parent", (sys.executable, "-c", parent)))
    deadline = time.monotonic() + 20
    while len(every._children["parent"].children()) < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    yield every
    every.stop()


def test_a_taken_port_is_named_with_its_setting_and_holder(settings):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            PortTakenError, match=rf"port {port} on 127\.0\.0\.1 is taken.*LASTAISLE_AIRFLOW_PORT"
        ):
            check_port(port, "LASTAISLE_AIRFLOW_PORT")
    check_port(port, "LASTAISLE_AIRFLOW_PORT")


def test_everything_listens_on_this_machine_only(settings):
    by_name = {service.name: service for service in services.services_of(settings)}
    for service in by_name.values():
        command = " ".join(service.command)
        if service.url:
            assert "--host 127.0.0.1" in command
        assert "0.0.0.0" not in command
    for name in ("airflow-scheduler", "airflow-triggerer"):
        assert "--skip-serve-logs" in by_name[name].command


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        ("", True),
        ("postgresql://mlflow@db/mlflow", True),
        ("http://mlflow:5000", False),
        ("https://mlflow.shop.example", False),
        ("databricks://shop", False),
    ],
)
def test_mlflow_is_started_only_where_no_server_is_named(settings, uri, own):
    settings = settings.replace(mlflow_uri=uri) if uri else settings
    names = {service.name for service in services.services_of(settings)}
    assert ("mlflow" in names) == own
    assert "airflow-scheduler" in names


def test_the_port_of_mlflow_may_be_taken_where_its_server_is_elsewhere(settings):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = settings.replace(airflow_port=free_port(), mlflow_port=other.getsockname()[1])
        Services(taken.replace(mlflow_uri="http://mlflow:5000"))._check_ports()
        with pytest.raises(PortTakenError, match="LASTAISLE_MLFLOW_PORT"):
            Services(taken)._check_ports()


def test_the_folders_of_the_services_are_closed_to_other_accounts(settings, monkeypatch):
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    settings.home.mkdir()
    settings.home.chmod(0o755)
    Services(settings)._make_folders()
    for folder in (settings.home, settings.home / "logs", settings.home / "airflow"):
        assert folder.stat().st_mode & 0o777 == 0o700, folder


@pytest.mark.parametrize("artifacts", ["s3://shop/mlflow", "mlflow-artifacts:/"])
def test_no_folder_is_made_for_artifacts_in_a_store(settings, artifacts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = settings.replace(mlflow_artifacts=artifacts, mlflow_uri="http://mlflow:5000")
    Services(there)._make_folders()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_children_get_the_settings_and_write_byte_code(settings, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "2")
    variables = environment(settings)
    assert "PYTHONDONTWRITEBYTECODE" not in variables
    assert variables["AIRFLOW__CORE__PARALLELISM"] == "2", "a value that the user set stays"
    assert Settings.from_env(variables) == settings


def test_stop_ends_grandchildren_that_ignore_it(started):
    pids = [
        started._children["parent"].pid,
        *(c.pid for c in started._children["parent"].children(recursive=True)),
    ]
    assert len(pids) == 2
    started.stop()
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_a_service_that_died_is_named_with_its_last_lines(settings):
    (settings.home / "logs").mkdir(parents=True)
    every = Services(settings)
    every._spawn(Service("teapot", (sys.executable, "-c", "import sys; sys.exit('short and stout')")))
    every._children["teapot"].wait(20)
    with pytest.raises(ServiceError, match=r"teapot ended with status 1(.|\n)*short and stout"):
        every.check()
    every.stop()


def test_leftovers_of_a_killed_start_are_ended_but_not_a_stranger_with_their_pid(settings):
    settings.home.mkdir(parents=True)
    leftover, stranger = (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(2)
    )
    try:
        created = psutil.Process(leftover.pid).create_time()
        ledger = settings.home / "services.json"
        ledger.write_text(json.dumps([[leftover.pid, created], [stranger.pid, created - 1000.0]]))
        Services(settings)._stop_leftovers()
        assert leftover.poll() is not None
        assert stranger.poll() is None
        assert not ledger.exists()
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize(
    ("given", "runs"), [({}, False), ({"metrics_keys": "k"}, True), ({"otlp": "http://collector:4318"}, True)]
)
def test_metrics_are_exported_where_somebody_gets_them(settings, given, runs):
    names = {service.name for service in services.services_of(settings.replace(**given))}
    assert ("export-metrics" in names) == runs


def test_one_setting_sends_airflows_own_metrics_to_the_collector(settings, monkeypatch):
    for name in ("AIRFLOW__METRICS__OTEL_ON", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert "AIRFLOW__METRICS__OTEL_ON" not in environment(settings)
    variables = environment(settings.replace(otlp="http://127.0.0.1:4318/", metrics_seconds=5))
    assert variables["AIRFLOW__METRICS__OTEL_ON"] == "True"
    assert variables["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] == "http://127.0.0.1:4318/v1/metrics"
    assert variables["OTEL_METRIC_EXPORT_INTERVAL"] == "5000"

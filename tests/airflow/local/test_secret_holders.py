"""Each service on one machine starts without the secrets of the others."""

import sys
from types import SimpleNamespace

import pytest

from lastaisle.settings import Settings
from lastaisle.settings.fields import is_secret
from lastaisle.settings.others import OTHER_VARIABLES
from lastaisle.settings.settings import known_variables
from lastaisle.telemetry.shown import without_password
from lastaisle_airflow.local import command, services
from lastaisle_airflow.local.environment import environment
from lastaisle_airflow.local.secret_holders import (
    API_SERVER,
    HOLDERS,
    MLFLOW,
    SCHEDULER,
    SERVE,
    TRIGGERER,
    for_process,
)
from lastaisle_airflow.local.services import Services, services_of

#: One value for each secret; a name that ends in * is tried with an end.
SECRETS = {name.replace("*", "SHOP"): f"secret-{name}" for name in HOLDERS}


def test_the_table_has_every_secret_that_lastaisle_reads():
    secrets = {name for name, field in known_variables().items() if is_secret(field)}
    secrets |= {other.name for other in OTHER_VARIABLES if other.secret}
    assert secrets <= set(HOLDERS), "a new secret needs a row in secret_holders.HOLDERS"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return the environments with which the services start, by name; no service really starts."""
    found = {}

    class Child:
        pid = 1

        def __init__(self, command, env, **_):
            self.args = tuple(command)
            found[len(found)] = env

        def create_time(self):
            return 0.0

    monkeypatch.setattr(services.psutil, "Popen", Child)
    settings = Settings.of(home=tmp_path, control_topic="kafka://shop/control")
    all_services = Services(settings)
    all_services.environment = {**all_services.environment, **SECRETS}
    all_services._make_folders()
    names = [service.name for service in services_of(settings)]
    for service in services_of(settings):
        all_services._spawn(service)
    return {name: found[number] for number, name in enumerate(names)}


def test_no_service_gets_a_secret_of_another(started):
    assert {MLFLOW, SCHEDULER, TRIGGERER} < set(started)
    for process, variables in started.items():
        allowed = {name.replace("*", "SHOP") for name, holders in HOLDERS.items() if process in holders}
        assert set(variables) & set(SECRETS) == allowed, process
        assert variables["LASTAISLE_HOME"], "all other settings stay"


def test_the_keys_of_the_collector_and_of_the_pseudonyms_are_where_they_are_used(started):
    for name in ("LASTAISLE_SEGMENT_WRITE_KEYS", "LASTAISLE_SEGMENT_SECRET"):
        assert not [process for process, variables in started.items() if name in variables]
    holders = [process for process, variables in started.items() if "LASTAISLE_PSEUDONYM_KEY" in variables]
    assert set(holders) == {SCHEDULER, SERVE}, "LocalExecutor runs the tasks in the scheduler"
    assert [process for process, found in started.items() if "LASTAISLE_SERVE_KEYS" in found] == [SERVE]


def test_the_setup_gets_no_secret_of_a_task(tmp_path, monkeypatch):
    seen = {}

    def run(command, env, **_):
        seen.update(env)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(services.subprocess, "run", run)
    every = Services(Settings.of(home=tmp_path))
    every.environment = {**every.environment, **SECRETS}
    every._make_folders()
    every._run("airflow-setup", (sys.executable, "-c", "pass"))
    assert "LASTAISLE_PSEUDONYM_KEY" not in seen
    assert "AIRFLOW__CORE__FERNET_KEY" in seen


def test_the_mlflow_command_gets_only_its_own_login(tmp_path, monkeypatch):
    seen = {}
    for name, value in SECRETS.items():
        if name not in ("LASTAISLE_LAKE_OPTIONS", "LASTAISLE_MLFLOW_URI"):  # these have a form of their own
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(command.os, "execve", lambda path, words, env: seen.update(env))
    command.run("mlflow", ["--version"], Settings.of(home=tmp_path))
    assert set(seen) & set(SECRETS) == {
        *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        *("LASTAISLE_MLFLOW_URI", "MLFLOW_BACKEND_STORE_URI"),
    }


def test_no_command_line_and_no_message_holds_the_password_of_mlflows_database(tmp_path):
    settings = Settings.of(home=tmp_path, mlflow_uri="postgresql://mlflow:the-password@db/mlflow")
    for service in services_of(settings):
        assert "the-password" not in " ".join(service.command)
    holders = {
        service.name
        for service in services_of(settings)
        if "the-password" in str(for_process(service.name, environment(settings)))
    }
    assert holders == {API_SERVER, MLFLOW, SCHEDULER, SERVE}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "postgresql+psycopg2://mlflow:a%40b@db:5432/mlflow",
            "postgresql+psycopg2://mlflow:***@db:5432/mlflow",
        ),
        ("https://reader:secret@mlflow.shop.example", "https://reader:***@mlflow.shop.example"),
        ("https://:secret@mlflow.shop.example/x", "https://:***@mlflow.shop.example/x"),
        ("http://anna:secret@[shop/x", "http://anna:***@[shop/x"),
        ("http://anna:se:cr@t@shop/x", "http://anna:***@shop/x"),
        ("cannot read http://anna:secret@shop/x", "cannot read http://anna:***@shop/x"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("http://shop:8080/feed?to=anna@shop", "http://shop:8080/feed?to=anna@shop"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
        ("databricks://shop", "databricks://shop"),
        ("databricks", "databricks"),
        ("/home/shop/mlruns", "/home/shop/mlruns"),
    ],
)
def test_an_address_is_shown_without_its_password(address, shown):
    assert without_password(address) == shown


def test_other_variables_stay():
    variables = {"PATH": "/bin", "AIRFLOW__CORE__PARALLELISM": "4", "MLFLOW_TRACKING_USERNAME": "pipeline"}
    assert for_process("anybody", variables) == variables

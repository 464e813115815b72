"""Airflow and MLflow each open their own database and no other, in a real PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

from tests.services.airflow import free_port
from tests.services.required import require_service, starts_service

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "postgres-roles.sh"
PASSWORDS = {"airflow": 'it\'s 100 % $ecret \\ "so"', "mlflow": "another password"}


def programs(versions=Path("/usr/lib/postgresql")):
    """Return the folder of PostgreSQL's programs; Debian keeps them out of PATH, in a folder a version."""
    places = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    places += sorted(versions.glob("*/bin"), reverse=True)
    found = [place for place in places if (place / "initdb").exists() and (place / "postgres").exists()]
    if not found or not shutil.which("psql"):
        require_service("PostgreSQL and psql are not installed: as root, apt-get install postgresql")
    return found[0]


@pytest.fixture(scope="module")
def folder():
    """Return a folder for PostgreSQL; pytest's own folders are closed to the other user, whom it needs."""
    with tempfile.TemporaryDirectory(prefix="lastaisle-pg-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def server(folder):
    """Yield the environment of the superuser's psql, as PostgreSQL's image gives it to its scripts."""
    starts_service("PostgreSQL")
    port, bin_folder = free_port(), programs()
    # PostgreSQL does not run as root.
    other_user = (
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    )
    if other_user:
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"

    def run(*words):
        done = subprocess.run(
            [*other_user, *map(str, words)], capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(
        bin_folder / "initdb",
        "-D",
        data,
        "-U",
        "lastaisle",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
    )
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    run(bin_folder / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
    passwords = {f"{role.upper()}_DB_PASSWORD": password for role, password in PASSWORDS.items()}
    try:
        yield {
            **os.environ,
            **passwords,
            "PGHOST": str(folder),
            "PGPORT": str(port),
            "POSTGRES_USER": "lastaisle",
        }
    finally:
        run(bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def execute(server, role, database, statement, password=None):
    connection = psycopg2.connect(
        host="127.0.0.1" if role != "lastaisle" else server["PGHOST"],
        port=server["PGPORT"],
        user=role,
        dbname=database,
        password=password or PASSWORDS.get(role),
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def give_roles(server, **changed):
    done = subprocess.run(
        ["sh", SCRIPT], env={**server, **changed}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.service
def test_roles_of_an_earlier_volume_take_over_and_stay_apart(server):
    execute(server, "lastaisle", "postgres", "CREATE DATABASE airflow")
    execute(server, "lastaisle", "airflow", "CREATE TYPE state AS ENUM ('queued')")
    execute(server, "lastaisle", "airflow", "CREATE TABLE task (id serial PRIMARY KEY, state state)")
    for _ in range(2):  # it may run again
        give_roles(server)
    execute(server, "airflow", "airflow", "ALTER TABLE task ADD COLUMN try int")
    execute(server, "airflow", "airflow", "ALTER TYPE state ADD VALUE 'running'")
    execute(server, "airflow", "airflow", "INSERT INTO task (state) VALUES ('queued')")
    execute(server, "mlflow", "mlflow", "CREATE TABLE runs (id int)")
    for role, database in (("airflow", "mlflow"), ("mlflow", "airflow"), ("mlflow", "postgres")):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            execute(server, role, database, "SELECT 1")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(server, "mlflow", "mlflow", "CREATE ROLE another SUPERUSER")


@pytest.mark.service
def test_a_new_password_replaces_the_old_one(server):
    give_roles(server, MLFLOW_DB_PASSWORD="a new password")
    execute(server, "mlflow", "mlflow", "SELECT 1", password="a new password")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        execute(server, "mlflow", "mlflow", "SELECT 1")


@pytest.mark.service
def test_a_missing_password_is_named_and_no_role_is_without_one(server):
    without = {name: value for name, value in server.items() if name != "MLFLOW_DB_PASSWORD"}
    done = subprocess.run(["sh", SCRIPT], env=without, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "MLFLOW_DB_PASSWORD" in done.stderr


def test_without_postgresql_ci_fails_and_other_machines_skip(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for ci, outcome in (("true", pytest.fail.Exception), ("", pytest.skip.Exception)):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match="apt-get install postgresql"):
            programs(tmp_path)

"""MLflow servers of tests: started, asked, and ended."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import psutil

from lastaisle_airflow.local.mlflow.accounts import ADMIN, DATABASE, FORM_KEY, PASSWORDS, PIPELINE, READER
from tests.services.required import starts_service
from tests.services.waiting import wait_until

GIVEN = {
    DATABASE: "sqlite:///mlflow.db",
    FORM_KEY: "the-key-of-the-forms",
    PASSWORDS[ADMIN]: "the-password-of-admin",
    PASSWORDS[PIPELINE]: "the-password-of-pipeline",
    PASSWORDS[READER]: "the-password-of-reader",
}


@contextmanager
def running(command, variables, folder, port):
    """Run an MLflow server during a block, until it answers."""
    starts_service("MLflow")
    with (folder / "log").open("ab") as log:
        server = psutil.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until("MLflow", lambda: server.poll() is not None or status(port, "/health") == 200, 120)
        assert server.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        for process in (*server.children(recursive=True), server):
            process.kill()
        server.wait(20)


def status(port, path, account="", password="", method="GET", body=None, **headers):
    """Return the status of an answer; 0 if nobody listens."""
    if account:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{account}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={**headers, "Content-Type": "application/json"},
    )
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0


def command_of(port, artifacts="artifacts"):
    arguments = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--artifacts-destination",
        artifacts,
    ]
    hosts = ["--allowed-hosts", "localhost:*,127.0.0.1:*"]
    return [sys.executable, "-m", "lastaisle_airflow.local.mlflow.accounts", *arguments, *hosts]


def variables_of(folder, **changed):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    database = {DATABASE: f"sqlite:///{folder / 'mlflow.db'}"}
    return {**inherited, **GIVEN, **database, "MLFLOW_DISABLE_TELEMETRY": "true", **changed}

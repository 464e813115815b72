"""Airflow, MLflow and the service on 127.0.0.1: `python -m lastaisle_airflow.local.services`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn
from urllib.parse import urlsplit

import httpx
import psutil
from rich.console import Console

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.registry.links import first_page
from lastaisle.settings import Settings
from lastaisle.settings.private import create_private_files, make_private
from lastaisle_airflow.local import serving
from lastaisle_airflow.local.environment import HOST, airflow_home, environment, has_own_mlflow
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.ports import check_port
from lastaisle_airflow.local.secret_holders import (
    API_SERVER,
    DAG_PROCESSOR,
    EXPORT,
    MLFLOW,
    SCHEDULER,
    SERVE,
    SETUP,
    TRIGGERER,
    for_process,
)

MLFLOW_APP = "lastaisle"  # in pyproject.toml
STOP_SECONDS = 20.0  # time for a service to end by itself; Airflow's scheduler waits for the end of its tasks
READY_SECONDS = 120.0  # time for all services to answer after the start


class ServiceError(LastaisleError):
    """A service did not answer in time, or ended."""

    exit_code = ExitCode.SERVICE_DOWN


@dataclass(frozen=True)
class Service:
    """One child process.

    Attributes:
        name: name of the service in messages; its output goes to <home>/logs/<name>.log.
        command: the command line.
        url: an address that answers when the service is ready; None: the service is ready at once.
    """

    name: str
    command: tuple[str, ...]
    url: str | None = None


def services_of(settings: Settings) -> tuple[Service, ...]:
    """List the services: Airflow's parts, MLflow and the service that answers requests for recommendations.

    MLflow is left out if LASTAISLE_MLFLOW_URI names a server, and the export of metrics if nobody gets them.
    Airflow's triggerer always runs: without it, Airflow's home page shows a part in red that no DAG needs.
    """
    airflow = (sys.executable, "-m", "airflow")
    api = ("api-server", "--host", HOST, "--port", str(settings.services.airflow_port), "--workers", "1")
    base = f"http://{HOST}:{settings.services.airflow_port}"
    # The triggerer's log server would listen on every interface; the API server reads its log files instead.
    triggerer = Service(TRIGGERER, (*airflow, "triggerer", "--skip-serve-logs"))
    return (
        *((_mlflow_of(settings),) if has_own_mlflow(settings) else ()),
        Service(API_SERVER, (*airflow, *api), f"{base}/api/v2/monitor/health"),
        Service(DAG_PROCESSOR, (*airflow, "dag-processor")),
        triggerer,
        Service(SCHEDULER, (*airflow, "scheduler", "--skip-serve-logs")),
        _serve_of(settings),
        *((_export_of(settings),) if settings.metrics.is_on else ()),
    )


def _mlflow_of(settings: Settings) -> Service:
    """Return MLflow's server, which also serves the artifacts that tasks write into their folder."""
    port, artifacts = str(settings.services.mlflow_port), settings.registry.mlflow_artifacts
    # The variable MLFLOW_BACKEND_STORE_URI names the database, since its address may hold a password.
    server = (sys.executable, "-m", "mlflow", "server", "--app-name", MLFLOW_APP, "--workers", "1")
    store = ("--default-artifact-root", artifacts, "--artifacts-destination", artifacts)
    return Service(MLFLOW, (*server, "--host", HOST, "--port", port, *store), f"http://{HOST}:{port}/health")


def _serve_of(settings: Settings) -> Service:
    """Return the service that answers requests for recommendations."""
    command = (sys.executable, "-m", "lastaisle.cli", "serve")
    return Service(
        SERVE,
        (*command, "--host", HOST, "--port", str(settings.serve.port)),
        f"{serving.url_of(settings)}/healthz",
    )


def _export_of(settings: Settings) -> Service:
    """Return the export of the pipeline's metrics."""
    port = settings.metrics.port
    command = (sys.executable, "-m", "lastaisle.cli", "export-metrics", "--host", HOST, "--port", str(port))
    return Service(EXPORT, command, f"http://{HOST}:{port}/healthz")


class Services:
    """The child processes, each in a process group of its own, so that Ctrl-C reaches only the parent.

    Args:
        settings: settings with the folders and ports of the services.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = serving.with_service(settings)
        self.environment = environment(self.settings)
        self._children: dict[str, psutil.Popen] = {}
        self._outputs: list[IO[bytes]] = []
        self._process_ids = settings.home / "services.json"
        self._logs = settings.home / "logs"

    def start(self) -> None:
        """Start all services and wait until they answer.

        Raises:
            PortTakenError: another process listens on a port.
            ServiceError: a service ended, or did not answer in time; the error ends with its last lines.
        """
        self._stop_leftovers()
        self._check_ports()
        self._make_folders()
        deadline = time.monotonic() + READY_SECONDS
        services = {service.name: service for service in services_of(self.settings)}
        api_server = services.pop(API_SERVER)
        mlflow = services.pop(MLFLOW, None)
        if mlflow:
            self._spawn(mlflow)
        self._run(SETUP, (sys.executable, "-m", "lastaisle_airflow.local.airflow.setup"))
        self._spawn(api_server)
        self._wait_for(api_server, deadline)
        # The other services start after the API server: tasks that find no API server would fail.
        for service in services.values():
            self._spawn(service)
        if mlflow:
            self._wait_for(mlflow, deadline)
        self._wait_for(services[SERVE], deadline)

    def _check_ports(self) -> None:
        check_port(self.settings.services.airflow_port, "LASTAISLE_AIRFLOW_PORT")
        check_port(self.settings.serve.port, "LASTAISLE_SERVE_PORT")
        if self.settings.metrics.is_on and self.settings.metrics.port:
            check_port(self.settings.metrics.port, "LASTAISLE_METRICS_PORT")
        if has_own_mlflow(self.settings):
            check_port(self.settings.services.mlflow_port, "LASTAISLE_MLFLOW_PORT")

    def _make_folders(self) -> None:
        for folder in (self.settings.home, self._logs, airflow_home(self.settings)):
            make_private(folder)
        serving.make_key(self.settings)
        artifacts = self.settings.registry.mlflow_artifacts
        if not urlsplit(artifacts).scheme:
            Path(artifacts).mkdir(parents=True, exist_ok=True)
        database = self.settings.registry.mlflow_uri
        if database.startswith("sqlite:///"):
            Path(database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)

    def stop(self) -> None:
        """End all child processes and their children: ask them first, and kill them after STOP_SECONDS."""
        processes: dict[int, psutil.Process] = {}
        for child in reversed(list(self._children.values())):
            with suppress(psutil.Error):
                for process in (child, *child.children(recursive=True)):
                    processes[process.pid] = process
            with suppress(psutil.Error):
                child.terminate()
        _, alive = psutil.wait_procs(list(processes.values()), timeout=STOP_SECONDS)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        for output in self._outputs:
            output.close()
        self._children.clear()
        self._outputs.clear()
        self._process_ids.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure that all services still run.

        Raises:
            ServiceError: a service ended.
        """
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ServiceError(f"{name} ended with status {child.returncode}{self._tail(name)}")

    def login(self) -> tuple[str, str]:
        """Return the user and the password that Airflow generated at its first start."""
        passwords = airflow_home(self.settings) / "simple_auth_manager_passwords.json.generated"
        user, password = next(iter(json.loads(passwords.read_text(encoding="utf-8")).items()))
        return str(user), str(password)

    def _spawn(self, service: Service) -> None:
        output = (self._logs / f"{service.name}.log").open("ab")
        self._outputs.append(output)
        self._children[service.name] = psutil.Popen(
            service.command,
            env=for_process(service.name, self.environment),
            cwd=self.settings.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        known = [[child.pid, child.create_time()] for child in self._children.values()]
        self._process_ids.write_text(json.dumps(known), encoding="utf-8")

    def _run(self, name: str, command: Sequence[str]) -> None:
        """Run a command to its end."""
        with (self._logs / f"{name}.log").open("ab") as output:
            environment = for_process(name, self.environment)
            process = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
        if process.returncode:
            raise ServiceError(f"{name} ended with status {process.returncode}{self._tail(name)}")

    def _wait_for(self, service: Service, deadline: float) -> None:
        def ready() -> bool:
            is_ready = service.url is None or _answers(service.url)
            if not is_ready:
                self.check()
            return is_ready

        if not wait_until(ready, timeout=deadline - time.monotonic(), pause=0.3):
            raise ServiceError(f"{service.name} did not answer at {service.url}{self._tail(service.name)}")

    def _tail(self, name: str) -> str:
        path = self._logs / f"{name}.log"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return f"; see {path}, which ends with:\n  " + "\n  ".join(lines)

    def _stop_leftovers(self) -> None:
        """End the services that a killed start left, if both process id and start time match."""
        if not self._process_ids.exists():
            return
        for pid, created in json.loads(self._process_ids.read_text(encoding="utf-8")):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.create_time() == created:
                    self._children[f"leftover-{pid}"] = process
        self.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, follow_redirects=True, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def running(settings: Settings) -> Iterator[Services]:
    """Run the services during a block. Ctrl-C, SIGTERM, a closed terminal and errors stop them."""
    create_private_files()  # the services and their tasks inherit it
    services = Services(settings)
    before = {name: signal.signal(name, _interrupt) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        services.start()
        yield services
    finally:
        # A second Ctrl-C must not leave some services running.
        ignored = {name: signal.signal(name, signal.SIG_IGN) for name in (signal.SIGINT, *before)}
        services.stop()
        for name, handler in {**ignored, **before}.items():
            signal.signal(name, handler)


def addresses(services: Services) -> Mapping[str, str]:
    """Return the addresses to open, with user, password and API key."""
    user, password = services.login()
    port = services.settings.services.airflow_port
    key = serving.headers_of(services.settings)["Authorization"].removeprefix("Bearer ")
    return {
        "Airflow": f"http://{HOST}:{port}  (user {user}, password {password})",
        "MLflow": first_page(services.settings.services.mlflow_ui),
        "service": f"{serving.url_of(services.settings)}  (API key {key})",
        "logs": str(services.settings.home / "logs"),
    }


def show_addresses(services: Services, console: Console) -> None:
    """Print the addresses to open, with user, password and API key."""
    for label, address in addresses(services).items():
        console.print(f"  [bold]{label:8}[/] {address}", highlight=False)


def serve(services: Services) -> NoReturn:
    """Keep the services up until Ctrl-C.

    Raises:
        ServiceError: a service ended.
    """
    while True:
        time.sleep(2)
        services.check()


def main() -> int:
    """Start the services, print their addresses, and keep them up until Ctrl-C."""
    console = Console()
    try:
        console.print("Starting Airflow, MLflow and the service ...")
        with running(Settings.from_env()) as services:
            show_addresses(services, console)
            console.print("Ctrl-C stops all services.")
            serve(services)
    except KeyboardInterrupt:
        return 0
    except LastaisleError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

"""Airflow and MLflow as child processes on 127.0.0.1: `python -m lastaisle_airflow.local.services`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import psutil
from rich.console import Console

from lastaisle.errors import LastaisleError
from lastaisle.settings import Settings

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[3]
STOP_SECONDS = 20.0  # what a service gets to end by itself; Airflow's scheduler waits for its tasks' ends


class PortTakenError(LastaisleError):
    """A port that something else listens on."""

    exit_code = 2


class ServiceError(LastaisleError):
    """A service that did not come up, or went down."""

    exit_code = 9


@dataclass(frozen=True)
class Service:
    """One child process.

    Attributes:
        name: what it is called in messages; its output goes to <home>/logs/<name>.log.
        command: what runs.
        url: an address that answers once it is ready; None = ready at once.
    """

    name: str
    command: tuple[str, ...]
    url: str | None = None


def airflow_home(settings: Settings) -> Path:
    """Return Airflow's folder: AIRFLOW_HOME, by default inside ours."""
    return Path(os.environ.get("AIRFLOW_HOME") or settings.home / "airflow")


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of services and tasks: these settings, and Airflow's where not set already."""
    home = airflow_home(settings)
    base = f"http://{HOST}:{settings.services.airflow_port}"
    defaults = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",  # each task may hold TensorFlow or DuckDB: this bounds memory
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(settings.services.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # Tasks of a scheduler that died are taken up by the next one after this long; by default after 300 s.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
        # A supervisor notices its task's end only between heartbeats: 5 s of a worker's time lost a task.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 250 MiB for jobs that nothing here submits
    }
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(ROOT), str(ROOT / "plugins"), *filter(None, [inherited.get("PYTHONPATH")])]
    forced = settings.to_env()
    forced["PYTHONPATH"] = os.pathsep.join(paths)
    return {**defaults, **inherited, **forced}


def services_of(settings: Settings) -> tuple[Service, ...]:
    """List what runs: MLflow's pages and Airflow's parts; a triggerer only where it has a topic to watch."""
    airflow = (sys.executable, "-m", "airflow")
    uri, artifacts = settings.registry.mlflow_uri, settings.registry.mlflow_artifacts
    store = ("--backend-store-uri", uri, "--default-artifact-root", artifacts)
    mlflow_port = settings.services.mlflow_port
    mlflow = (sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port))
    api = ("api-server", "--host", HOST, "--port", str(settings.services.airflow_port), "--workers", "1")
    base = f"http://{HOST}:{settings.services.airflow_port}"
    # Its log server would listen on every interface; the API server reads the log files themselves.
    watching = Service("airflow-triggerer", (*airflow, "triggerer", "--skip-serve-logs"))
    return (
        Service("mlflow", (*mlflow, "--workers", "1", *store), f"http://{HOST}:{mlflow_port}/health"),
        Service("airflow-api-server", (*airflow, *api), f"{base}/api/v2/monitor/health"),
        Service("airflow-dag-processor", (*airflow, "dag-processor")),
        *((watching,) if settings.abandonment.control_topic else ()),
        Service("airflow-scheduler", (*airflow, "scheduler", "--skip-serve-logs")),
    )


def check_port(port: int, variable: str) -> None:
    """Find out whether a port is free.

    Raises:
        PortTakenError: it is not, with the process that has it, where the system tells.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(
                f"port {port} on {HOST} is taken{_holder(port)}; stop it, or set {variable}"
            ) from error


def _holder(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f" by process {process.pid} ({' '.join(process.cmdline())[:80]})"
    return ""


class Services:
    """The child processes, each in a process group of its own, so that Ctrl-C reaches only us.

    Args:
        settings: where things are.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = environment(settings)
        self._children: dict[str, psutil.Popen] = {}
        self._outputs: list[IO[bytes]] = []
        self._ledger = settings.home / "services.json"
        self._logs = settings.home / "logs"

    def start(self, timeout: float = 120.0) -> None:
        """Start everything and wait until it answers.

        Raises:
            PortTakenError: a port is taken.
            ServiceError: a service ended, or did not answer in time; the error ends with its last lines.
        """
        self._stop_leftovers()
        check_port(self.settings.services.airflow_port, "LASTAISLE_AIRFLOW_PORT")
        check_port(self.settings.services.mlflow_port, "LASTAISLE_MLFLOW_PORT")
        self._logs.mkdir(parents=True, exist_ok=True)
        for folder in (airflow_home(self.settings), Path(self.settings.registry.mlflow_artifacts)):
            if "://" not in str(folder):
                folder.mkdir(parents=True, exist_ok=True)
        if self.settings.registry.mlflow_uri.startswith("sqlite:///"):
            Path(self.settings.registry.mlflow_uri.removeprefix("sqlite:///")).parent.mkdir(
                parents=True, exist_ok=True
            )
        deadline = time.monotonic() + timeout
        mlflow, api_server, *others = services_of(self.settings)
        self._spawn(mlflow)
        self._run("airflow-setup", (sys.executable, "-m", "lastaisle_airflow.local.setup"))
        self._spawn(api_server)
        self._wait_for(api_server, deadline)
        for service in others:  # only now: the scheduler would start tasks that find no API server, and fail
            self._spawn(service)
        self._wait_for(mlflow, deadline)

    def stop(self) -> None:
        """End all that was started and all that it started: asked first, killed after a while."""
        doomed: dict[int, psutil.Process] = {}
        for child in reversed(list(self._children.values())):
            with suppress(psutil.Error):
                for process in (child, *child.children(recursive=True)):
                    doomed[process.pid] = process
            with suppress(psutil.Error):
                child.terminate()
        _, alive = psutil.wait_procs(list(doomed.values()), timeout=STOP_SECONDS)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        for output in self._outputs:
            output.close()
        self._children.clear()
        self._outputs.clear()
        self._ledger.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure that everything still runs.

        Raises:
            ServiceError: a service ended.
        """
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ServiceError(f"{name} ended with status {child.returncode}{self._tail(name)}")

    def login(self) -> tuple[str, str]:
        """Return the user and the password that Airflow made up at its first start."""
        passwords = airflow_home(self.settings) / "simple_auth_manager_passwords.json.generated"
        user, password = next(iter(json.loads(passwords.read_text(encoding="utf-8")).items()))
        return str(user), str(password)

    def _spawn(self, service: Service) -> None:
        output = (self._logs / f"{service.name}.log").open("ab")
        self._outputs.append(output)
        self._children[service.name] = psutil.Popen(
            service.command,
            env=self.environment,
            cwd=self.settings.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        known = [[child.pid, child.create_time()] for child in self._children.values()]
        self._ledger.write_text(json.dumps(known), encoding="utf-8")

    def _run(self, name: str, command: Sequence[str]) -> None:
        """Run something to its end."""
        with (self._logs / f"{name}.log").open("ab") as output:
            done = subprocess.run(command, env=self.environment, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise ServiceError(f"{name} ended with status {done.returncode}{self._tail(name)}")

    def _wait_for(self, service: Service, deadline: float) -> None:
        while service.url and not _answers(service.url):
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{service.name} did not answer at {service.url}{self._tail(service.name)}"
                )
            time.sleep(0.3)

    def _tail(self, name: str) -> str:
        path = self._logs / f"{name}.log"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return f"; all of it in {path}, at last:\n  " + "\n  ".join(lines)

    def _stop_leftovers(self) -> None:
        """End the services of an earlier start that was killed; pid and start time have to match."""
        if not self._ledger.exists():
            return
        for pid, created in json.loads(self._ledger.read_text(encoding="utf-8")):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.create_time() == created:
                    self._children[f"leftover-{pid}"] = process
        self.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def running(settings: Settings) -> Iterator[Services]:
    """Run the services for the length of a block; Ctrl-C, SIGTERM, a closed terminal and errors stop them."""
    services = Services(settings)
    before = {name: signal.signal(name, _interrupt) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        services.start()
        yield services
    finally:
        # A second Ctrl-C must not leave half of them running.
        ignored = {name: signal.signal(name, signal.SIG_IGN) for name in (signal.SIGINT, *before)}
        services.stop()
        for name, handler in {**ignored, **before}.items():
            signal.signal(name, handler)


def addresses(services: Services) -> Mapping[str, str]:
    """Return what to open, and how to log in."""
    user, password = services.login()
    port = services.settings.services.airflow_port
    return {
        "Airflow": f"http://{HOST}:{port}  (user {user}, password {password})",
        "MLflow": services.settings.services.mlflow_ui,
        "logs": str(services.settings.home / "logs"),
    }


def show_addresses(services: Services, console: Console) -> None:
    """Print what to open, and how to log in."""
    for label, address in addresses(services).items():
        console.print(f"  [bold]{label:8}[/] {address}", highlight=False)


def serve(services: Services) -> NoReturn:
    """Keep everything up until Ctrl-C.

    Raises:
        ServiceError: a service ended.
    """
    while True:
        time.sleep(2)
        services.check()


def main() -> int:
    """Start everything, print where it is, and keep it until Ctrl-C."""
    console = Console()
    try:
        console.print("Starting Airflow and MLflow ...")
        with running(Settings.from_env()) as services:
            show_addresses(services, console)
            console.print("Ctrl-C stops all of it.")
            serve(services)
    except KeyboardInterrupt:
        return 0
    except LastaisleError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

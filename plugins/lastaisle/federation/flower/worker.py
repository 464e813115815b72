"""The process of a silo: a SuperNode, and a worker that answers with the code of the silo's installation.

Flower sends code from the coordinator to the silos, and runs it there. A silo must not do that: the code
could read its rows. So this worker takes the SuperNode's tasks (isolation mode `process`), ignores the code
that came with them, and answers with the ClientApp of this installation. TensorFlow is loaded once, not in
each round.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import httpx
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from lastaisle.federation.flower.client_app import FAILED, client_app
from lastaisle.federation.silo import Silo
from lastaisle.lake.opening import open_lake
from lastaisle.settings import Settings

POLL_SECONDS = 0.2
WAIT_SECONDS = 3.0
TRIES = 3
"""How often a SuperNode tries to reach its coordinator again; then this process waits for the next one."""
_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})

# The SuperNode ends when this process is killed: it tells the coordinator, which then waits for it no longer.
# Flower asks for messages every 3 seconds, and a secure round has four messages; this one asks more often.
_SUPERNODE = """
import os, sys, time, types
from importlib import import_module
from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supernode.cli import flower_supernode
asking = import_module("flwr.supernode.start_client_internal")
asking.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.3)))
start_parent_process_monitor(int(sys.argv.pop(1)))
try:
    flower_supernode()
finally:
    os._exit(1)  # the thread of its HTTP server would keep the process alive for ever
"""

logger = logging.getLogger("lastaisle.federation")


class Worker:
    """Takes the tasks of one SuperNode and answers them."""

    def __init__(self, address: str, secret: bytes, app: ClientApp) -> None:
        self._address, self._app = address, app
        self._client = self._connect(
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=_ACQUIRE)
        )

    def _connect(self, *interceptors: object) -> RuntimeHttpClient:
        """Connect to the SuperNode without retries: it is on this machine, and `_serve` tries again."""
        once = make_simple_http_retry_invoker()
        once.max_tries = 1  # without this number, a SuperNode that ended is asked for ever
        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,  # the SuperNode listens on the loopback interface of this machine only
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec"), *interceptors],
            retry_invoker=once,
        )

    def work_once(self) -> bool:
        """Answer one task if there is one; tell whether there was."""
        taken = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        if not (taken.HasField("task") and taken.token):
            return False
        client = self._connect(RuntimeTokenHttpInterceptor(taken.token))
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        try:
            message, context, _, _ = pull_task_input(client)  # the last value is the coordinator's code
            try:
                reply = self._app(message, context)
            except ValueError as error:  # a kind of message that the app does not know
                reply = Message(Error(code=FAILED, reason=type(error).__name__), reply_to=message)
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
        finally:
            heartbeat.stop()
            client.close()
        return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Join a coordinator, and answer it until this process is ended."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for library in ("flwr", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    settings = Settings.from_env()
    silo = Silo(open_lake(settings), settings.federation.accepted())
    app = client_app(silo)
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="lastaisle-silo-") as folder:
        secret = secrets.token_bytes(32)
        path = Path(folder) / "secret"
        path.touch(mode=0o600)
        path.write_bytes(secret)
        while True:
            _await_coordinator(given.superlink)
            _serve(given, path, secret, app, Path(folder))
            logger.info("the coordinator is gone; this silo waits for the next training")
            time.sleep(WAIT_SECONDS)


def _await_coordinator(address: str) -> None:
    """Wait until the coordinator listens. A SuperNode would wait longer after each try."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT_SECONDS):
                return
        except OSError:
            time.sleep(WAIT_SECONDS)


def _serve(given: argparse.Namespace, path: Path, secret: bytes, app: ClientApp, folder: Path) -> None:
    """Run a SuperNode until it ends, and answer its tasks."""
    port = _free_port()
    command = [sys.executable, "-c", _SUPERNODE, str(os.getpid()), "--superlink", given.superlink]
    command += ["--isolation", "process", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--superexec-auth-secret-file", str(path), "--max-retries", str(TRIES)]
    if given.root_certificates:
        command += ["--root-certificates", given.root_certificates]
    else:
        command += ["--insecure"]
    if given.key:
        command += ["--auth-supernode-private-key", given.key]
    environ = {**os.environ, "FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0"}
    environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    node = subprocess.Popen(command, env=environ)
    try:
        worker = None
        while node.poll() is None:
            try:
                worker = worker or Worker(f"127.0.0.1:{port}", secret, app)
                if worker.work_once():
                    continue
            except httpx.HTTPError as error:  # the SuperNode is not up yet, or ends
                logger.debug("the SuperNode does not answer: %s", type(error).__name__)
            time.sleep(POLL_SECONDS)
    finally:
        node.terminate()
        node.wait()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--superlink", required=True, help="host:port of the coordinator")
    parser.add_argument(
        "--root-certificates", default="", help="the certificate authority of the coordinator"
    )
    parser.add_argument("--key", default="", help="the silo's private key (ECDSA, OpenSSH)")
    return parser


if __name__ == "__main__":
    main()

"""The coordinator's SuperLink, of which only the interface for silos can be reached from outside.

Flower serves three interfaces at one port: Fleet for silos, Control for people who start runs, and Runtime
for the processes of runs. Whoever reaches Control can run code on the coordinator. The coordinator needs
neither Control nor Runtime: it calls their functions in its own process. So all paths but Fleet's answer 404.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization.ssh import load_ssh_public_key
from flwr.app import Context, Message, RecordDict
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID, SubStatus
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.auth.typing import AccountInfo
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.main import create_app
from flwr.superlink.servicer.control.control_handlers import start_run
from flwr.superlink.servicer.runtime import runtime_handlers

from lastaisle.errors import ExitCode, LastaisleError

FLEET = "/v1/fleet/"
HEARTBEAT_SECONDS = 10.0
PULL_SECONDS = 0.3
START_SECONDS = 60.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Silos run their own code (see worker.py), so the code that Flower distributes is empty.
_APP = b"""[project]
name = "federated"
version = "1.0.0"
description = "Silos answer with the code of their own installation."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "lastaisle"

[tool.flwr.app.components]
serverapp = "empty:app"
clientapp = "empty:app"

[tool.flwr.app.config]
"""


class LinkError(LastaisleError):
    """The coordinator cannot listen for silos."""

    exit_code = ExitCode.SERVICE_DOWN


class FleetOnly:
    """An ASGI app that answers 404 outside Fleet's paths."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests of silos and the events of the server's life."""
        if scope["type"] == "lifespan" or str(scope.get("path", "")).startswith(FLEET):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Link:
    """A SuperLink in this process with one run, whose nodes are the silos."""

    def __init__(
        self, host: str, port: int, certificate: str, private_key: str, keys: Mapping[str, bytes]
    ) -> None:
        """Start to listen.

        Args:
            host: the address to listen at.
            port: the port.
            certificate: the file of the TLS certificate; empty = no TLS.
            private_key: the file of its key.
            keys: name of a silo to its public key (PEM); empty = every process that reaches the port.

        Raises:
            LinkError: the port is taken, or the certificate cannot be read.
        """
        app = create_app()
        app.state.enable_supernode_auth = bool(keys)
        self._state = app.state.linkstate_factory.state()
        self.names = {
            self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, 0): name
            for name, key in keys.items()
        }
        self._server = uvicorn.Server(
            uvicorn.Config(
                FleetOnly(app),
                host=host,
                port=port,
                log_level="warning",
                ssl_certfile=certificate or None,
                ssl_keyfile=private_key or None,
            )
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._ended = threading.Event()
        self._start(f"{host}:{port}")
        self.grid, self.context = self._begin_run()

    def _start(self, address: str) -> None:
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise LinkError(
                    f"the coordinator cannot listen at {address}: the port is taken, or the certificate "
                    "cannot be read; its log says which. Free the port, or change "
                    "LASTAISLE_FEDERATION_ADDRESS"
                )
            time.sleep(0.05)

    def _begin_run(self) -> tuple[LocalGrid, Context]:
        """Create a run, and mark it as running by this process."""
        content, _ = build_fab_from_files({"pyproject.toml": _APP, "empty.py": b"app = None\n"})
        account = AccountInfo(flwr_aid=NOOP_FLWR_AID, account_name=NOOP_ACCOUNT_NAME)
        started = start_run(StartRunRequest(fab=Fab(content=content)), account, self._state, None)
        run = self._state.get_run_info(run_ids=[started.run_id])[0]
        task_id = int(run.primary_task_id)
        self._state.claim_task(task_id)
        self._state.activate_task(task_id)
        threading.Thread(target=self._keep_alive, args=(task_id,), daemon=True).start()
        self._task_id = task_id
        TaskIdentity.task_id, TaskIdentity.run_id = task_id, started.run_id
        TaskIdentity.node_id = SUPERLINK_NODE_ID
        task = self._state.get_tasks(task_ids=[task_id])[0]
        grid = LocalGrid(self._state, task)
        grid.set_run(self._state.get_run_info(run_ids=[started.run_id])[0])
        context = Context(
            run_id=started.run_id,
            node_id=SUPERLINK_NODE_ID,
            node_config={},
            state=RecordDict(),
            run_config={},
            series_id=run.series_id,
        )
        return grid, context

    def _keep_alive(self, task_id: int) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            self._state.acknowledge_task_heartbeat(task_id)

    def silos(self) -> dict[int, str]:
        """Return the silos that are there: the id of the node, and the name."""
        nodes = sorted(self.grid.get_node_ids())
        if self.names:
            return {node: self.names[node] for node in nodes}
        return {node: f"silo {place}" for place, node in enumerate(nodes, start=1)}

    def close(self) -> None:
        """Finish the run, and stop to listen."""
        self._ended.set()
        self._state.finish_task(self._task_id, SubStatus.COMPLETED, "")
        self._server.should_exit = True
        self._thread.join(timeout=10)


class _LocalRuntime:
    """Calls the functions behind the Runtime interface without a connection."""

    def __init__(self, state: Any, task: Any) -> None:
        self._given = (state, task)

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        handlers = {
            "GetNodes": runtime_handlers.get_nodes,
            "PushMessages": runtime_handlers.push_messages,
            "PullMessages": runtime_handlers.pull_messages,
            "PushObject": runtime_handlers.push_object,
            "PullObject": runtime_handlers.pull_object,
            "ConfirmMessageReceived": runtime_handlers.confirm_message_received,
        }
        return lambda request: handlers[name](request, *self._given)


class LocalGrid(HttpGrid):  # type: ignore[misc]
    """Flower's grid, which reaches the SuperLink of this process without a connection."""

    def __init__(self, state: Any, task: Any) -> None:
        super().__init__(token="none")
        self._client = _LocalRuntime(state, task)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages, and return the replies that come in time."""
        waiting = {message_id for message_id in self.push_messages(list(messages)) if message_id}
        until = time.monotonic() + (timeout if timeout is not None else float("inf"))
        replies: list[Message] = []
        while waiting and time.monotonic() < until:
            received = list(self.pull_messages(waiting))
            replies.extend(received)
            waiting -= {message.metadata.reply_to_message_id for message in received}
            if waiting:
                time.sleep(PULL_SECONDS)
        return replies


def silo_keys(folder: str) -> dict[str, bytes]:
    """Read the public keys of the silos: north.pub is the key of the silo north.

    Raises:
        LinkError: the folder has no key, or a file is no ECDSA key of OpenSSH.
    """
    files = sorted(Path(folder).expanduser().glob("*.pub"))
    if not files:
        raise LinkError(f"no silo may join: {folder} has no file that ends with .pub; see docs/federated.md")
    keys = {}
    for file in files:
        try:
            key = load_ssh_public_key(file.read_bytes())
        except (ValueError, UnsupportedAlgorithm, OSError) as error:
            raise LinkError(f"{file} is no public key of OpenSSH: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise LinkError(f"{file} is no ECDSA key: make one by `ssh-keygen -t ecdsa -b 384`")
        keys[file.stem] = public_key_to_bytes(key)
    return keys

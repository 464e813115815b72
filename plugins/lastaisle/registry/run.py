"""A run of MLflow as plain data, and whether MLflow's store is there; this module loads no MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lastaisle.settings import Settings

SQLITE: Final = "sqlite:///"
FINISHED, FAILED, KILLED, RUNNING = "FINISHED", "FAILED", "KILLED", "RUNNING"


@dataclass(frozen=True)
class Run:
    """A run as MLflow describes it.

    Attributes:
        run_id: its id.
        status: RUNNING, FINISHED, FAILED or KILLED.
        tags: its tags.
        started: when it was opened, in milliseconds since the epoch.
        ended: when it ended, in milliseconds since the epoch; None while it runs.
    """

    run_id: str
    status: str
    tags: Mapping[str, str]
    started: int = 0
    ended: int | None = None


def has_store(settings: Settings) -> bool:
    """Tell whether MLflow's store is there: a client would create a missing database of SQLite."""
    path = settings.registry.mlflow_uri.removeprefix(SQLITE)
    return path == settings.registry.mlflow_uri or Path(path).exists()

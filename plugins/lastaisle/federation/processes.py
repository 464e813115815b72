"""How the processes of a federated training are started in their own environment of Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lastaisle.environments.environment import python_of
from lastaisle.settings import Settings
from lastaisle.settings.settings import HOME

NAME: Final = "federated"
ROOT: Final = Path(__file__).parents[3]
COORDINATOR: Final = "lastaisle.federation.flower.server_app"
WORKER: Final = "lastaisle.federation.flower.worker"
FEDERATION: Final = ("LASTAISLE_FEDERATION_", "LASTAISLE_SILO_")
_QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONUNBUFFERED": "1",
}


def environments_of(settings: Settings) -> Path:
    """Return the folder in which environments are made."""
    return settings.home / "environments"


def command_of(module: str, settings: Settings, *arguments: str) -> list[str]:
    """Return the command that runs a module in the environment, which the first call makes.

    Raises:
        EnvironmentUnmadeError: the environment cannot be made.
    """
    return [str(python_of(NAME, environments_of(settings))), "-m", module, *arguments]


def coordinator_environ(settings: Settings, folder: Path) -> dict[str, str]:
    """Return the environment of a coordinator: no setting but the federation's, and no secret."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LASTAISLE_")}
    own = {name: value for name, value in settings.to_env().items() if name.startswith(FEDERATION)}
    return _with_code({**environ, **own, HOME: str(settings.home), "FLWR_HOME": str(folder)})


def silo_environ(settings: Settings) -> dict[str, str]:
    """Return the environment of a silo, which reads its own lake."""
    return _with_code({**os.environ, HOME: str(settings.home), "LASTAISLE_LAKE": settings.lake.url})


def _with_code(environ: Mapping[str, str]) -> dict[str, str]:
    """Add the code of this installation, and leave out what belongs to another environment of Python."""
    kept = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    return {**kept, **_QUIET, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}

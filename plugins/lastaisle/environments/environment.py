"""Make an environment of Python from its lock, once; several processes may ask for it at the same time."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lastaisle.errors import ExitCode, LastaisleError

LOCKS: Final = Path(__file__).parents[3] / "environments"
"""The folder of the project that holds the locks."""
_READY: Final = ".ready"
_SHOWN: Final = 2000  # last characters of what uv printed

logger = logging.getLogger(__name__)


class EnvironmentUnmadeError(LastaisleError):
    """An environment of Python could not be made, for example because the package index is away."""

    exit_code = ExitCode.SERVICE_DOWN


def python_of(name: str, folder: Path) -> Path:
    """Return the Python of an environment; the first call installs its lock, which can take minutes.

    An environment whose lock changed is made anew beside the old one. A killed call leaves nothing that a
    later call would take for whole.

    Args:
        name: a folder of `environments/`, such as federated.
        folder: where environments lie, such as `environments` in LASTAISLE_HOME.

    Raises:
        EnvironmentUnmadeError: there is no such lock, or uv could not install it.
    """
    lock = LOCKS / name / "requirements.txt"
    if not lock.is_file():
        known = ", ".join(sorted(path.parent.name for path in LOCKS.glob("*/requirements.txt"))) or "none"
        raise EnvironmentUnmadeError(f"there is no environment {name!r}: {LOCKS} has {known}")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:12]
    place = folder / f"{name}-{digest}"
    python = place / "bin" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f".{name}.lock"):
        if not (place / _READY).exists():
            logger.info("making the environment %s in %s; this can take some minutes", name, place)
            shutil.rmtree(place, ignore_errors=True)
            _uv(name, "venv", "--quiet", "--python", sys.executable, str(place))
            _uv(
                name,
                *("pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode"),
                *("--python", str(python), str(lock)),
            )
            (place / _READY).touch()
    return python


def _uv(name: str, *arguments: str) -> None:
    """Run uv, which stands beside the Python that runs this."""
    beside = Path(sys.executable).with_name("uv")
    command = [str(beside) if beside.exists() else "uv", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=_environ(), check=False)
    except FileNotFoundError as error:
        raise EnvironmentUnmadeError(
            f"the environment {name} cannot be made: there is no command uv beside {sys.executable}"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-_SHOWN:]
        raise EnvironmentUnmadeError(f"the environment {name} cannot be made: {said or done.returncode}")


def _environ() -> dict[str, str]:
    """Return the environment variables without those that would send uv to another environment."""
    left_out = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in left_out}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, which ends with the process."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield

"""Say in one line what failed, for errors of the system and of libraries that a user can mend."""

from __future__ import annotations

from typing import Final

from lastaisle.errors import ExitCode
from lastaisle.telemetry.shown import one_line

#: The packages whose errors tell of a disk, a store, a database or a service, not of a fault in Lastaisle.
_OUTSIDE: Final = {
    "aiobotocore": "the object store",
    "aiohttp": "the network",
    "boto3": "the object store",
    "botocore": "the object store",
    "confluent_kafka": "Kafka",
    "cimpl": "Kafka",
    "gcsfs": "the object store",
    "google": "the object store",
    "httpx": "the network",
    "mlflow": "MLflow",
    "requests": "the network",
    "sqlalchemy": "the database",
    "urllib3": "the network",
}


def describe(error: Exception) -> tuple[str, ExitCode] | None:
    """Return the message and the exit code for an error; None for an error that is a fault in Lastaisle.

    Errors that Lastaisle raises on purpose bring both along, on any floor.
    """
    code = getattr(error, "exit_code", None)
    if code is not None:
        return str(error), ExitCode(code)
    if isinstance(error, OSError) and error.strerror:
        place = f": {one_line(str(error.filename))}" if error.filename else ""
        return (
            f"{error.strerror}{place}. Check the path, its permissions and the room on the disk",
            ExitCode.FAILED,
        )
    if isinstance(error, RecursionError):
        return "a path or a document is nested too deeply", ExitCode.FAILED
    if isinstance(error, MemoryError):
        return "the memory is full. Set a smaller LASTAISLE_BATCH_ROWS, or free memory", ExitCode.FAILED
    package = type(error).__module__.partition(".")[0]
    if package in _OUTSIDE:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return f"{_OUTSIDE[package]} refused: {one_line(first[:500])}", ExitCode.SERVICE_DOWN
    return None

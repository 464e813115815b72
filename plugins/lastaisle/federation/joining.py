"""Check what a silo needs before it joins, and say how its process is started."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lastaisle.errors import ExitCode, LastaisleError, NotEnoughDataError
from lastaisle.federation.processes import WORKER, command_of, silo_environ
from lastaisle.lake.tables import EVENTS

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):(?P<port>\d{1,5})")


class JoinError(LastaisleError):
    """A silo cannot join with these values."""

    exit_code = ExitCode.WRONG_REQUEST


def joining(
    address: str, settings: Settings, lake: Lake, *, root_certificates: str = "", key: str = ""
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a silo's process.

    Args:
        address: host:port of the coordinator.
        settings: of the silo.
        lake: of the silo.
        root_certificates: the file of the authority that signed the coordinator's certificate.
        key: the file of the silo's private key.

    Raises:
        JoinError: an address or a file that cannot be used, or a connection that others could read.
        NotEnoughDataError: the silo has no events.
        EnvironmentUnmadeError: the environment of Flower cannot be made.
    """
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found["port"]) < 65_536:
        raise JoinError(f"the coordinator's address should be host:port, received {address!r}")
    if found["host"] not in LOOPBACK and not (root_certificates and key):
        raise JoinError(
            f"{found['host']} is another machine: give --root-certificates, so that nobody reads or changes "
            "the updates, and --key, so that the coordinator knows this silo"
        )
    if key and not root_certificates:
        raise JoinError("a silo signs by its --key only over TLS: give --root-certificates too")
    arguments = ["--superlink", address]
    for option, path in (("--root-certificates", root_certificates), ("--key", key)):
        if path:
            arguments += [option, str(_readable(option, path))]
    if lake.version(EVENTS) is None:
        raise NotEnoughDataError(f"{lake.url} has no events: ingest this silo's logs before it joins")
    return command_of(WORKER, settings, *arguments), silo_environ(settings)


def _readable(option: str, path: str) -> Path:
    file = Path(path).expanduser().resolve()
    try:
        with file.open("rb"):
            return file
    except (OSError, ValueError) as error:
        raise JoinError(f"{option} {path!r} cannot be read: {error}") from None

"""Commands of federated training.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lastaisle.cli.options import LakeUrl
from lastaisle.cli.terminal import announce, read_settings


def join(
    coordinator: Annotated[str, typer.Argument(help="host:port of the coordinator.")],
    root_certificates: Annotated[
        str, typer.Option(help="File of the authority that signed the coordinator's certificate (PEM).")
    ] = "",
    key: Annotated[str, typer.Option(help="File of this silo's private key (ECDSA, OpenSSH).")] = "",
    lake: LakeUrl = "",
) -> None:
    """Join a coordinator as a silo, and take part in its trainings until this process is ended.

    The silo learns on its own lake, and sends only changes of weights. It runs no code of the coordinator.
    LASTAISLE_SILO_ACCEPTS says under which aggregation it takes part.
    """
    import os

    from lastaisle.federation.joining import joining
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    command, environ = joining(
        coordinator, settings, open_lake(settings), root_certificates=root_certificates, key=key
    )
    accepts = ", ".join(sorted(settings.federation.accepted()))
    announce(f"joins {coordinator} with {settings.lake.url}; accepts aggregation: {accepts}")
    os.execve(command[0], command, environ)

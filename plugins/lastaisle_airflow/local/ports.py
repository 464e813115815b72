"""Find out whether a port on this machine is free."""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle_airflow.local.environment import HOST


class PortTakenError(LastaisleError):
    """Another process listens on a port."""

    exit_code = ExitCode.WRONG_REQUEST


def check_port(port: int, variable: str) -> None:
    """Make sure that a port is free.

    Args:
        port: number of the port on 127.0.0.1.
        variable: the environment variable that sets the port, for the error.

    Raises:
        PortTakenError: another process listens on the port. The error names the process if it can.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(
                f"port {port} on {HOST} is taken{_holder(port)}; stop it, or set {variable}"
            ) from error


def _holder(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f" by process {process.pid} ({' '.join(process.cmdline())[:80]})"
    return ""

"""One of several processes of the service: `python -m lastaisle.serve.worker SOCKET [FOLDER]`."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from lastaisle.serve.run import run_worker
from lastaisle.settings import Settings
from lastaisle.settings.private import create_private_files


def main(arguments: list[str]) -> None:
    """Answer requests on the socket with this file descriptor.

    Args:
        arguments: the file descriptor; and the folder of a packed model, if no registry is followed.
    """
    create_private_files()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    descriptor, *folder = arguments
    run_worker(
        Settings.from_env(), socket.socket(fileno=int(descriptor)), Path(folder[0]) if folder else None
    )


def _end_with_parent() -> None:
    """End this process when its standard input ends: the process that started it is gone then."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])

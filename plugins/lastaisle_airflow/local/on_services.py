"""Do some work on all services, print where to open them, and keep them up until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

from lastaisle.errors import LastaisleError
from lastaisle.settings import Settings
from lastaisle.settings.private import create_private_files, make_private
from lastaisle_airflow.local.services import Services, running, serve, show_addresses

Prepared = TypeVar("Prepared")


def wide_console() -> Console:
    """Return a console with room for the tables, also where the output is no terminal."""
    console = Console()
    console.width = max(console.width, 120)
    return console


def work_on_services(
    settings: Settings,
    console: Console,
    prepare: Callable[[], tuple[Settings, Prepared]],
    work: Callable[[Services, Prepared], bool],
    *,
    keep_up: bool,
    command: str,
) -> int:
    """Start the services, do the work, and return the exit code of the command line.

    Args:
        settings: the settings; their home is made private before anything is written.
        console: the console to print to.
        prepare: is called before the services start; returns their settings, and the logs that `work` needs.
        work: returns whether everything went well.
        keep_up: whether the services stay up after the work, until Ctrl-C.
        command: the command that goes on after a stop, for the message.
    """
    started = time.monotonic()
    create_private_files()
    try:
        make_private(settings.home)
        of_services, prepared = prepare()
        console.print("Starting Airflow, MLflow and the service ...")
        with running(of_services) as services:
            show_addresses(services, console)
            went_well = work(services, prepared)
            console.print(f"\nDone after {time.monotonic() - started:.0f} s.", highlight=False)
            if keep_up:
                show_addresses(services, console)
                console.print("Airflow, MLflow and the service stay up; Ctrl-C stops all of them.")
                serve(services)
            return 0 if went_well else 1
    except KeyboardInterrupt:
        console.print(f"Stopped; `{command}` goes on from here.")
        return 0
    except LastaisleError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return error.exit_code

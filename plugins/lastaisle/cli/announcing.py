"""The command that tells services of releases: `lastaisle releases announce`."""

from __future__ import annotations

from typing import Annotated

import typer

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, read_settings, write
from lastaisle.settings import SettingsError


def announce(
    test: Annotated[bool, typer.Option("--test", help="Send a test message; announce nothing.")] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Send the announcements that are due to the addresses of LASTAISLE_WEBHOOKS."""
    from lastaisle.lake.opening import open_lake
    from lastaisle.release.announcements.announce import announce as run
    from lastaisle.release.announcements.announce import send_test

    settings = read_settings(lake)
    if not settings.announcements.addresses:
        raise SettingsError("LASTAISLE_WEBHOOKS names no address: set it to the addresses of your services")
    found = send_test(settings) if test else run(open_lake(settings), settings)
    write(found.to_dict(), report)
    for line in found.lines() or ["no announcement is due"]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    found.require_delivered()

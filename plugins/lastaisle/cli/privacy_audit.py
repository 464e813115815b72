"""The command that audits privacy: `lastaisle privacy audit`.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, read_settings, write
from lastaisle.errors import ExitCode


def writable_folder(folder: Path | None) -> Path | None:
    """Make the folder of the pages, so that a wrong path stops the command at once."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError, RecursionError) as error:
            raise typer.BadParameter(f"cannot write to {folder}: {error}") from error
        if not os.access(folder, os.W_OK):
            raise typer.BadParameter(f"cannot write to {folder}: this user may not")
    return folder


def audit(
    month: Annotated[str, typer.Option(help="The month (UTC), such as 2026-10; default: the last one.")] = "",
    out: Annotated[
        Path | None,
        typer.Option(callback=writable_folder, help="Folder of the HTML and the PDF; default: audits."),
    ] = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Audit privacy: what is kept and why, what failed, and what nobody knows; as HTML and PDF.

    Exits with 31 if a check failed.
    """
    from lastaisle.audit import State
    from lastaisle.audit.audit import audit as audit_lake
    from lastaisle.audit.month import days_of_month
    from lastaisle.audit.page import verdict
    from lastaisle.audit.store import folder_of, keep
    from lastaisle.lake.opening import open_lake

    now = datetime.now(UTC)
    days = days_of_month(month, now)
    settings = read_settings(lake)
    tables = open_lake(settings)
    found = audit_lake(tables, settings, *days, now=now)
    folder = out or folder_of(settings)
    keep(tables, folder, found)
    write(found.to_dict(), report)
    shown = Table("state", "question", "answer")
    styles = {State.FAILED: "bold red", State.NOT_KNOWN: "yellow", State.OK: "green"}
    for one in found.findings:
        shown.add_row(Text(one.state.value, style=styles[one.state]), Text(one.name), Text(one.told))
    console.print(shown)
    console.print(f"{verdict(found)} {folder / found.audit_id}.html", markup=False, soft_wrap=True)
    if found.count(State.FAILED):
        raise typer.Exit(ExitCode.AUDIT_FAILED)

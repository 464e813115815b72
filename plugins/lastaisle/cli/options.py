"""Options that several commands take."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer


def writable(file: Path | None) -> Path | None:
    """Make the folder of a file that a command writes at its end, so that a wrong path stops it at once."""
    if file is None:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"cannot write {file}: {error}") from error
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise typer.BadParameter(f"cannot write {file}: it is a folder, or this user may not write there")
    return file


def drawable(file: Path | None) -> Path | None:
    """Refuse a chart of a kind that is not drawn, and make the folder as `writable` does."""
    if file is not None and file.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter(f"a chart is a .png or a .svg file, received {str(file)!r}")
    return writable(file)


def in_reach(moment: datetime | None) -> datetime | None:
    """Refuse a moment so far away that no window around it can be counted."""
    if moment is not None and not 1970 <= moment.year <= 9000:
        raise typer.BadParameter(f"a year from 1970 to 9000, received {moment.year}")
    return moment


def moment_of(text: str, option: str, *, end_of_day: bool = False) -> datetime | None:
    """Read a day or a time; of a day the end, if it is asked for."""
    if not text.strip():
        return None
    try:
        if re.fullmatch(r"\d{4}-?W\d\d", text.strip()):
            raise ValueError(text)  # a week would read as its Monday
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{option} is a day such as 2025-10-09 or a time such as 2025-10-09T12:00, received {text!r}"
        ) from error
    if not 1970 <= moment.year <= 9000:
        raise typer.BadParameter(f"{option}: a year from 1970 to 9000, received {moment.year}")
    return moment + timedelta(days=1) if end_of_day and _is_day(text.strip()) else moment


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def at_most_a_year(seconds: float) -> float:
    """Refuse a span of seconds that is negative, no number, or longer than a year."""
    if not 0 <= seconds <= 366 * 86_400:
        raise typer.BadParameter(f"a number of seconds from 0 to a year, received {seconds}")
    return seconds


Report = Annotated[
    Path | None, typer.Option("--report", help="Write the report to this file, as JSON.", callback=writable)
]
Chart = Annotated[
    Path | None, typer.Option(help="Draw a chart to this file, PNG or SVG by its suffix.", callback=drawable)
]
LakeUrl = Annotated[str, typer.Option("--lake", help="Folder or URL of the lake; default: LASTAISLE_LAKE.")]
LogFormat = Annotated[
    str,
    typer.Option(
        "--format",
        help="canonical, segment, ga4, snowplow, yoochoose, taobao, rees46, retailrocket or otto; "
        "default: LASTAISLE_SOURCE_FORMAT.",
    ),
]
Settle = Annotated[
    float,
    typer.Option(
        "--settle",
        help="Leave files that changed in the last SETTLE seconds for the next run.",
        callback=at_most_a_year,
    ),
]
AcceptSchemaChange = Annotated[
    bool, typer.Option("--accept-schema-change", help="Accept fields that vanished or changed their type.")
]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="attention, gru, transformer, hybrid, neighbours, factorization, ncf, ensemble, "
        "popularity, repeat or cooccurrence.",
    ),
]
Hyperparameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="A hyperparameter, as NAME=VALUE; may be repeated.", metavar="NAME=VALUE"),
]
RunId = Annotated[str, typer.Option("--run-id", help="The MLflow run of the candidate.")]

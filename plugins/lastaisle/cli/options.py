"""Options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def _writable(file: Path | None) -> Path | None:
    """Make the folder of a file that a command writes at its end, so that a wrong path stops it at once."""
    if file is None:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot write {file}: {error}") from error
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise typer.BadParameter(f"cannot write {file}: it is a folder, or this user may not write there")
    return file


Report = Annotated[
    Path | None, typer.Option("--report", help="Write the report to this file, as JSON.", callback=_writable)
]
Chart = Annotated[Path | None, typer.Option(help="Draw a chart to this PNG file.", callback=_writable)]
LakeUrl = Annotated[str, typer.Option("--lake", help="Folder or URL of the lake; default: LASTAISLE_LAKE.")]
LogFormat = Annotated[
    str,
    typer.Option(
        "--format",
        help="canonical, segment, yoochoose, taobao, rees46, retailrocket or otto; "
        "default: LASTAISLE_SOURCE_FORMAT.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="attention, gru, transformer, hybrid, neighbours, factorization, ncf, ensemble, "
        "popularity or cooccurrence.",
    ),
]
Hyperparameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="A hyperparameter, as NAME=VALUE; may be repeated.", metavar="NAME=VALUE"),
]
RunId = Annotated[str, typer.Option("--run-id", help="The MLflow run of the candidate.")]

"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Report = Annotated[Path | None, typer.Option("--report", help="Write the report to this file, as JSON.")]
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

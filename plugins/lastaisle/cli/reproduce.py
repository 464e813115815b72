"""The command that repeats the training of a version.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.releases import OneVersion
from lastaisle.cli.terminal import bar, console, open_reproductions, open_stores, write
from lastaisle.errors import ExitCode

PRIVATE = (
    "Private trainings draw secret noise, so no repetition gives the same weights, and each one spends of "
    "the privacy budget. The version was not trained again: its data was read again, and its own weights "
    "were measured."
)


def reproduce(
    version: OneVersion,
    tolerance: Annotated[
        float, typer.Option(help="The greatest difference of a metric that counts as a match.", min=0, max=1)
    ] = 0.005,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Train a version again from its recorded data, start and seed, and tell whether the metrics match.

    A private version is not trained again: its noise is secret, and a repetition would spend of the privacy
    budget. Its data is read again and counted, and its own weights are measured once more.

    Exits with 0 if all metrics match, with 27 if not, and with 14 if maintenance deleted the data.
    """
    from lastaisle.release.reproduce import reproduce as run

    settings, tables, registry = open_stores(lake)
    scratch = open_reproductions(settings)
    with bar("Training") as progress:
        repeated = run(version, tables, registry, scratch, tolerance=tolerance, progress=progress)
    write(repeated.to_dict(), report)
    differing = [metric for metric in repeated.metrics if not metric.matches]
    table = Table("metric", "recorded", "again", "verdict", title=f"version {version}")
    for metric in differing or repeated.metrics:
        again = "" if metric.again is None else f"{metric.again:,.6g}"
        table.add_row(
            metric.metric, f"{metric.recorded:,.6g}", again, "same" if metric.matches else "differs"
        )
    console.print(table)
    for sentence in repeated.differs:
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    if not repeated.trained_again:
        console.print(PRIVATE, soft_wrap=True, markup=False, highlight=False)
    verdict = f"{len(differing)} of {len(repeated.metrics)} metrics differ by more than {tolerance:g}"
    console.print(verdict if differing else f"all {len(repeated.metrics)} metrics match", highlight=False)
    if differing:
        raise typer.Exit(ExitCode.NOT_REPRODUCED)

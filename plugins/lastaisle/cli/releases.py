"""Commands that look after the registered versions: `lastaisle releases`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import open_stores, show


def sync(
    dry_run: Annotated[bool, typer.Option(help="Only show what is lost; change nothing.")] = True,
    artifacts_gone: Annotated[
        bool,
        typer.Option("--artifacts-gone", help="MLflow's whole folder of artifacts is deleted, for good."),
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Name the versions that are gone from MLflow, and set the aliases to the versions that are left."""
    from lastaisle.release.sync import sync as run

    _, tables, registry = open_stores(lake)
    found: dict[str, Any] = run(tables, registry, dry_run=dry_run, artifacts_gone=artifacts_gone).to_dict()
    show(found, report)

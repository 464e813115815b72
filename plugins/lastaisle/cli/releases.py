"""Commands that look after the registered versions: `lastaisle releases`."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, open_stores, show, write
from lastaisle.errors import ExitCode


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


def verify(
    version: Annotated[
        str, typer.Option(help="Only this version; default: all versions with an alias.")
    ] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Compare the files of the versions in MLflow with their digests in the ledger."""
    from lastaisle.release.verify import verify as run

    _, tables, registry = open_stores(lake)
    found = run(tables, registry, version or None)
    write({"versions": [dataclasses.asdict(one) for one in found]}, report)
    for one in found:
        said = one.reason or f"digest {one.received}" + (
            f", but {one.recorded_in} has {one.expected}" if not one.may_serve else ""
        )
        named = f"version {one.version}" + (f" ({', '.join(one.aliases)})" if one.aliases else "")
        console.print(f"{named}: {one.outcome}: {said}", soft_wrap=True, markup=False, highlight=False)
    if not found:
        console.print(f"{registry.model_name} has no version with an alias", markup=False, highlight=False)
    if not all(one.may_serve for one in found):
        raise typer.Exit(ExitCode.MODEL_DAMAGED)

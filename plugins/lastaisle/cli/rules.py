"""The command about the rules that pin and promote items.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, read_settings, write


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file of rules.")],
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Check a file of rules, beside the catalogue if the lake has one, and list what may surprise.

    Exits with 2 if the file has an error; each error names its line.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.serve.shown.rule_check import check_rules

    checked = check_rules(file, open_lake(read_settings(lake)), datetime.now(UTC))
    write({"rules": [asdict(rule) for rule in checked]}, report)
    for rule in checked:
        items = "a filter" if rule.items is None else f"{rule.items:,} item{'s' * (rule.items != 1)}"
        console.print(f"{rule.name}: {rule.state}, {items}", markup=False, highlight=False, soft_wrap=True)
        for warning in rule.warnings:
            console.print(
                f"warning: {rule.name}: {warning}",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    console.print(f"{file}: no error, {len(checked)} rules", markup=False, highlight=False, soft_wrap=True)

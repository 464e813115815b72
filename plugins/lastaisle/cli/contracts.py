"""Commands about data contracts.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lastaisle.cli.options import Report
from lastaisle.cli.terminal import console, errors, write
from lastaisle.errors import ExitCode

if TYPE_CHECKING:
    from data_contracts.check import Check


def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Paths, or names of packaged contracts.")
    ],
    report: Report = None,
) -> None:
    """List every error of some contracts, each with its place, and what may surprise.

    A contract without errors is enforced as written: docs/contracts.md tells what of the Open Data Contract
    Standard is enforced where.

    Exits with 0 if no contract has an error, and with 2 if one has.
    """
    from data_contracts.check import check_contract

    checks = [check_contract(file) for file in files]
    write({"contracts": [checked.to_dict() for checked in checks]}, report)
    for checked in checks:
        _show(checked)
    if any(checked.errors for checked in checks):
        raise typer.Exit(ExitCode.WRONG_REQUEST)


def _show(checked: Check) -> None:
    def tell(line: str, **style: Any) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True, **style)

    for error in checked.errors:
        tell(f"error: {error}", style="red")
    for warning in checked.warnings:
        tell(f"warning: {checked.path}: {warning}", style="yellow")
    if checked.errors:
        counted = f"{len(checked.errors)} error{'s' if len(checked.errors) > 1 else ''}"
        tell(f"{checked.path}: {counted}")
    for table in checked.tables:
        tell(
            f"{checked.path}: {table.name} {table.version}: no error, {len(table.fields)} fields, "
            f"{len(table.rules)} rules of a row, {len(table.batch_rules)} rules of a batch"
        )


def diff(
    old: Annotated[str, typer.Argument(help="Name of a packaged contract, or path of a contract.")],
    new: Annotated[str, typer.Argument(help="Name or path of the contract that follows.")],
    report: Report = None,
) -> None:
    """Show the changes from one version of a contract to the next, and whom they break.

    A change breaks senders if an accepted row may now be refused (a field newly required or unique, a
    stricter rule). It breaks readers of the anonymized rows if they lose a column or its meaning, or meet
    values that were refused before (a field dropped or pseudonymized, a rule removed, loosened or made a
    warning). It breaks privacy if a value becomes less private. Additions break no side.

    Exits with 0 if nothing breaks, with 11 if a change breaks a side and the version is the next major, and
    with 12 if the version does not fit the changes (breaking: next major; addition: next minor).
    """
    from data_contracts.compatibility import compare
    from data_contracts.contract import load_contract

    comparison = compare(load_contract(old), load_contract(new))
    write(comparison.to_dict(), report)
    for change in comparison.changes:
        console.print(str(change), markup=False)
        if change.old is not None or change.new is not None:
            console.print(f"    {change.old}  →  {change.new}", markup=False, highlight=False)
    problem, level = comparison.version_problem, comparison.level or "unchanged"
    console.print(
        f"{comparison.table} {comparison.old_version} → {comparison.new_version}: {level}", markup=False
    )
    if problem:
        errors.print(f"error: {problem}", style="red", markup=False, highlight=False)
    if problem or comparison.breaking:
        raise typer.Exit(ExitCode.UNMARKED_CHANGE if problem else ExitCode.BREAKING_CHANGE)

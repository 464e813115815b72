"""Check every table of a contract, and list all errors at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.contract import Contract, compile_table
from data_contracts.document import find_contract, read_document, tables_of
from data_contracts.errors import ContractError, Problems


@dataclass(frozen=True)
class Check:
    """The result of the check of one file.

    Attributes:
        path: the YAML file.
        errors: every error, each with its place.
        warnings: what loads and may surprise, each with its place.
        tables: the tables without errors, compiled.
    """

    path: Path
    errors: tuple[ContractError, ...]
    warnings: tuple[str, ...]
    tables: tuple[Contract, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dictionary for JSON."""
        return {
            "path": str(self.path),
            "errors": [
                {"where": error.where, "line": error.line, "reason": error.reason} for error in self.errors
            ],
            "warnings": list(self.warnings),
            "tables": [
                {
                    "name": table.name,
                    "version": table.version,
                    "fields": [field.name for field in table.fields],
                    "rules": [rule.name for rule in table.rules],
                    "batch_rules": [rule.name for rule in table.batch_rules],
                }
                for table in self.tables
            ],
        }


def check_contract(name_or_path: str | Path) -> Check:
    """Check all tables of a contract, by the name of a packaged contract or by its path."""
    problems = Problems(Path(name_or_path))
    tables: list[Contract] = []
    with problems.at("file"):
        problems.path = find_contract(name_or_path)
        document = read_document(problems.path, problems)
        for table in tables_of(problems.path, document):
            place, before = f"schema.{table.name}", len(problems.errors)
            compiled = compile_table(problems, document, table)
            if len(problems.errors) == before and not problems.in_document(place):
                tables.append(compiled)
    shown = {str(error): error for error in problems.errors}  # errors of all tables come once for each table
    return Check(problems.path, tuple(shown.values()), tuple(problems.warnings), tuple(tables))

"""docs/exit-codes.md names every code with its one meaning, and every class of errors with its code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from lastaisle.errors import MEANINGS, ExitCode

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data_contracts", "models", "plugins/lastaisle", "plugins/lastaisle_airflow")
BUILTIN = {"Exception", "ValueError"}


def error_classes() -> dict[str, tuple[list[str], int | None]]:
    """Return every class of errors in the source, with its bases and the code that it sets itself."""
    classes_by_name: dict[str, tuple[list[str], int | None]] = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                    assert node.name not in classes_by_name, f"two classes are called {node.name}"
                    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                    classes_by_name[node.name] = (bases, own_code(node))
    return classes_by_name


def own_code(node: ast.ClassDef) -> int | None:
    """Return the code that a class sets: a member of ExitCode, or a number on the floors below it."""
    for line in node.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "exit_code":
            text = ast.unparse(line.value)
            return ExitCode[text.removeprefix("ExitCode.")] if text.startswith("ExitCode.") else int(text)
    return None


def code_of(name: str, classes: dict[str, tuple[list[str], int | None]]) -> int | None:
    """Return the code of a class or of its nearest base class with a code; None if there is none."""
    if name not in classes:
        return None
    bases, code = classes[name]
    return (
        code if code is not None else next((c for b in bases if (c := code_of(b, classes)) is not None), None)
    )


def documented() -> list[list[str]]:
    """Return the cells of each row of the table in the documentation."""
    lines = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| \d+ ", line)
    ]


def test_each_code_has_one_row_with_its_name_and_its_meaning():
    rows = [(int(code), name, meaning) for code, name, meaning, *_ in documented()]
    assert rows == [(code.value, code.name, MEANINGS[code]) for code in ExitCode]
    assert len({meaning for *_, meaning in rows}) == len(rows)
    assert len(ExitCode.__members__) == len(ExitCode), "two names for one code"


def test_each_class_of_errors_stands_in_the_row_of_its_code():
    classes = error_classes()
    expected = {name: code for name in classes if (code := code_of(name, classes)) is not None}
    rows = {name: int(code) for code, *_, names in documented() for name in re.findall(r"`(\w+)`", names)}
    assert rows == expected
    assert len(rows) > 25


def test_only_errors_that_lastaisle_catches_itself_have_no_code():
    classes = error_classes()
    without = {name for name in classes if code_of(name, classes) is None}
    assert without == {
        *("PayloadError", "SchemaUnreadableError", "UnknownFieldError"),
        *("FilterError", "YamlFileError"),
    }, (
        "a reader of messages catches PayloadError and SchemaUnreadableError and sends the message to "
        "quarantine; the compiler of contracts makes a ContractError of UnknownFieldError; the service "
        "answers a FilterError with the status 422; the readers of mappings and rules make errors of their "
        "own of a YamlFileError"
    )


def test_no_other_code_is_given_as_a_number():
    for file in (ROOT / "plugins").rglob("*.py"):
        numbers = re.findall(r"(?:exit_code\s*=|typer\.Exit\()\s*\d+", file.read_text(encoding="utf-8"))
        assert not numbers, f"{file}: {numbers}: use ExitCode"

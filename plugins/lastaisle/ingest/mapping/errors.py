"""The error of a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lastaisle.errors import ExitCode, LastaisleError


class MappingError(LastaisleError):
    """A mapping cannot be compiled.

    Attributes:
        path: the YAML file.
        problems: every place in the document that is wrong, with the reason.
    """

    exit_code = ExitCode.WRONG_REQUEST

    def __init__(self, path: Path | str, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path}: {where}: {reason}" for where, reason in problems))
        self.path = Path(path)
        self.problems = tuple(problems)

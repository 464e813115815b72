"""The error of this package."""

from __future__ import annotations

from pathlib import Path


class ContractError(Exception):
    """A contract cannot be compiled.

    Attributes:
        path: the YAML file.
        where: the place in the document, such as `schema.raw_events.properties.price.logicalTypeOptions`.
        reason: the reason, with the value received.
        exit_code: the exit code of the command line.
    """

    exit_code = 2

    def __init__(self, path: Path | str, where: str, reason: str) -> None:
        super().__init__(f"{path}: {where}: {reason}")
        self.path = Path(path)
        self.where = where
        self.reason = reason

"""The one error of this package."""

from __future__ import annotations

from pathlib import Path


class ContractError(Exception):
    """A contract that cannot be compiled.

    Attributes:
        path: the YAML file.
        where: the place inside the document, as `schema.raw_events.properties.price.logicalTypeOptions`.
        reason: what is wrong, with the value received.
        exit_code: what the command line exits with.
    """

    exit_code = 2

    def __init__(self, path: Path | str, where: str, reason: str) -> None:
        super().__init__(f"{path}: {where}: {reason}")
        self.path = Path(path)
        self.where = where
        self.reason = reason

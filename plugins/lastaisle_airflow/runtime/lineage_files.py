"""Keep the events of OpenLineage in files on this machine: a file a day, one event a line.

OpenLineage's client imports this module by the name in its settings.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from openlineage.client.serde import Serde
from openlineage.client.transport import Config, Transport

if TYPE_CHECKING:
    from openlineage.client.client import Event

KEEP_DAYS = 90


@dataclass
class DayFilesConfig(Config):
    """The settings of the files.

    Attributes:
        folder: where the files lie.
        keep_days: how many days are kept.
    """

    folder: str
    keep_days: int = KEEP_DAYS

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> Self:
        """Return the settings that the JSON of a transport holds."""
        return cls(str(params["folder"]), int(params.get("keep_days", KEEP_DAYS)))


class DayFiles(Transport):
    """Appends each event to the file of its day; the first event of a day deletes the files of old days.

    Processes of tasks write at the same time. Each line is written at once, so that lines never mix.
    """

    kind = "day_files"
    config_class = DayFilesConfig

    def __init__(self, config: DayFilesConfig) -> None:
        self._folder = Path(config.folder)
        self._keep = timedelta(days=config.keep_days)

    def emit(self, event: Event) -> None:
        """Append an event."""
        today = datetime.now(UTC).date()
        file = self._folder / f"{today}.jsonl"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget(today - self._keep)
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(opened, f"{Serde.to_json(event)}\n".encode())
        finally:
            os.close(opened)

    def _forget(self, oldest: date) -> None:
        for file in self._folder.glob("????-??-??.jsonl"):
            if file.stem < oldest.isoformat():
                file.unlink(missing_ok=True)

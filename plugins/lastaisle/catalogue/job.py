"""The settings that all batches of the catalogue share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self, TypeAlias

from data_contracts.contract import Contract, load_contract
from lastaisle.catalogue.formats import catalogue_adapter
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.sources.adapter import Adapter
from lastaisle.lake import Lake
from lastaisle.lake.tables import ITEMS
from lastaisle.settings import Settings

#: Whether a file lists the whole catalogue, or only the items that changed.
Content: TypeAlias = Literal["full", "changes"]


@dataclass(frozen=True)
class CatalogueJob:
    """The settings that all batches of the catalogue share.

    Attributes:
        lake: holds the tables.
        form: the adapter.
        content: whether each file lists the whole catalogue, or only changes.
        contract: the contract of items.
        options: see `IngestOptions`; `gx_sample_rows`, `memory_limit` and `accept_schema_change` count here.
        max_removed: the greatest share of the listed items that one full file may remove.
        now: the time of ingestion, with a time zone; the current time by default.
    """

    lake: Lake
    form: Adapter
    content: Content = "full"
    contract: Contract = field(default_factory=lambda: load_contract(ITEMS))
    options: IngestOptions = field(default_factory=IngestOptions)
    max_removed: float = 0.5
    now: datetime | None = None

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        lake: Lake,
        *,
        accept_removals: bool = False,
        accept_schema_change: bool = False,
    ) -> Self:
        """Return the job that the settings name.

        Args:
            settings: the settings.
            lake: holds the tables.
            accept_removals: whether a full file may remove any share of the items.
            accept_schema_change: whether fields may disappear or change their type.
        """
        catalogue = settings.catalogue
        return cls(
            lake,
            catalogue_adapter(catalogue.format),
            content=catalogue.content,
            options=IngestOptions.from_settings(settings, accept_schema_change=accept_schema_change),
            max_removed=1.0 if accept_removals else catalogue.max_removed,
        )

    @property
    def identity(self) -> str:
        """The format and the content; under another identity a known file is read anew."""
        return f"catalogue {self.form.identity} {self.content}"

"""The adapter that the settings name: a packaged format, or a mapping."""

from __future__ import annotations

from data_contracts.contract import Contract
from lastaisle.ingest.mapping.read import read_mapping
from lastaisle.ingest.sources import Adapter, adapter
from lastaisle.settings import Settings


def chosen_adapter(settings: Settings, contract: Contract) -> Adapter:
    """Return the adapter that the settings name.

    Raises:
        SourceError: the format is unknown.
        MappingError: the mapping cannot be compiled.
    """
    sources = settings.sources
    return read_mapping(sources.mapping, contract) if sources.mapping else adapter(sources.format)

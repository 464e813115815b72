"""One adapter a file; each turns the lines of one format into canonical fields."""

from __future__ import annotations

from lastaisle.errors import SourceError
from lastaisle.ingest.sources import (
    canonical,
    ga4,
    otto,
    posthog,
    rees46,
    retailrocket,
    segment,
    snowplow,
    taobao,
    yoochoose,
)
from lastaisle.ingest.sources.adapter import Adapter

_ADAPTERS: dict[str, Adapter] = {
    module.ADAPTER.name: module.ADAPTER
    for module in (
        *(canonical, segment, posthog, ga4, snowplow),
        *(yoochoose, taobao, rees46, retailrocket, otto),
    )
}
ADAPTERS: tuple[str, ...] = tuple(_ADAPTERS)


def adapter(name: str) -> Adapter:
    """Return the adapter of a format.

    Raises:
        SourceError: the format is unknown; the message names the known formats.
    """
    if name not in _ADAPTERS:
        raise SourceError(f"there is no format {name!r}; formats are {', '.join(ADAPTERS)}")
    return _ADAPTERS[name]


__all__ = ["ADAPTERS", "Adapter", "adapter"]

"""The lake that the settings name."""

from __future__ import annotations

import json

from lastaisle.lake.lake import Lake
from lastaisle.settings import Settings


def open_lake(settings: Settings) -> Lake:
    """Return the lake, with the storage options that delta-rs needs to reach it."""
    return Lake(settings.lake.url, lake_options(settings))


def lake_options(settings: Settings) -> dict[str, str]:
    """Return the storage options that LASTAISLE_LAKE_OPTIONS holds."""
    options: dict[str, str] = json.loads(settings.lake.options.get_secret_value() or "{}")
    return options

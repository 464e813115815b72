"""The lake that the settings name."""

from __future__ import annotations

import json

from lastaisle.lake.lake import Lake
from lastaisle.settings import Settings, SettingsError


def open_lake(settings: Settings) -> Lake:
    """Return the lake, with the options by which delta-rs reaches it.

    Raises:
        SettingsError: LASTAISLE_LAKE_OPTIONS is no JSON object of texts; its value is never shown.
    """
    return Lake(settings.lake, lake_options(settings))


def lake_options(settings: Settings) -> dict[str, str]:
    """Read LASTAISLE_LAKE_OPTIONS; see `open_lake`."""
    try:
        options = json.loads(settings.lake_options or "{}")
    except json.JSONDecodeError as error:
        raise SettingsError(f"LASTAISLE_LAKE_OPTIONS is no JSON: {error.msg} at {error.pos}") from None
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise SettingsError(
            "LASTAISLE_LAKE_OPTIONS should be a JSON object of delta-rs' storage options, such as"
            ' {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, all values texts'
        )
    return options

"""The settings, read from the environment in this one place."""

from __future__ import annotations

from lastaisle.settings.errors import SettingsError
from lastaisle.settings.settings import Settings, address_at

__all__ = ["Settings", "SettingsError", "address_at"]

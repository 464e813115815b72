"""The error of the settings."""

from __future__ import annotations

from lastaisle.errors import ExitCode, LastaisleError


class SettingsError(LastaisleError):
    """An environment variable whose name is unknown, or whose value cannot be used."""

    exit_code = ExitCode.WRONG_REQUEST

"""The errors of the service that its user can mend."""

from __future__ import annotations

from lastaisle.errors import ExitCode, RegistryError


class VersionUnavailableError(RegistryError):
    """The version that an alias has cannot be had: MLflow is away, or the version cannot serve."""


class MlflowAwayError(VersionUnavailableError):
    """MLflow cannot be asked."""

    exit_code = ExitCode.SERVICE_DOWN

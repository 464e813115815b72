"""The errors of the registry that are more than a missing version or alias."""

from __future__ import annotations

from lastaisle.errors import ExitCode, LastaisleError, RegistryError


class MissingArtifactError(RegistryError):
    """A run does not have an artifact, for example because `mlflow gc` removed the deleted run."""


class ArtifactsUnreachableError(LastaisleError):
    """MLflow's folder of artifacts is missing or empty, though MLflow names runs that lie in it."""

    exit_code = ExitCode.SERVICE_DOWN


class BeingTrainedError(LastaisleError):
    """Another process that lives trains the same candidate, or makes the same online update."""

    exit_code = ExitCode.BEING_TRAINED

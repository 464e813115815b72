"""The errors of the registry that are more than a missing version or alias."""

from __future__ import annotations

from lastaisle.errors import RegistryError


class MissingArtifactError(RegistryError):
    """A run does not have an artifact, for example because `mlflow gc` removed the deleted run."""

"""Serve the packed model of a folder, without MLflow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lastaisle.serve.following.served import ServedVersion
from lastaisle.settings import SettingsError
from models.checkout_model import MANIFEST, CheckoutModel, sha256_of


class FixedVersion:
    """The model of a folder; it never changes.

    Args:
        folder: the packed files, as `mlflow artifacts download` fetches them.

    Raises:
        SettingsError: the folder holds no packed model, or a damaged one.
    """

    problem = ""
    age_seconds: float | None = None

    def __init__(self, folder: Path) -> None:
        try:
            model = CheckoutModel(folder)
            digest = sha256_of(folder / MANIFEST)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{folder} holds no packed model that can be served: {error}. Name the folder `light` of a "
                "registered version"
            ) from error
        name, now = folder.resolve().name, datetime.now(UTC)
        self.current = ServedVersion(model, name, f"folder-{digest[:12]}", "", "", digest, now)

    def start(self) -> None:
        """Do nothing: there is nothing to follow."""

    def stop(self) -> None:
        """Do nothing: there is nothing to follow."""

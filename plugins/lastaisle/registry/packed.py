"""The models that services pull: packed under a run, checked by their digest, opened as a service does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from lastaisle.registry.errors import MissingArtifactError
from lastaisle.registry.runs import Runs, is_missing
from lastaisle.registry.tags import DIGEST
from models.checkout_model import MANIFEST, damage_of
from models.error_stream import without_notes
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM
from models.serving.served import ServedModel
from models.stored import DamagedModelError, digest_of

if TYPE_CHECKING:
    from lastaisle.settings import Settings
    from lastaisle.settings.sections import PrivacySettings
    from models.recommender import Recommender

MODEL = "recommender"


class PackedModels(Runs):
    """The packed models of the runs and of the versions.

    Args:
        settings: where MLflow is, and the names of experiment and model.

    Attributes:
        model_name: the name of the registered model.
        alias_moved_by_hand: put_back or adopt; see lastaisle.release.by_hand.
        settings: the settings of the installation.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.model_name = settings.registry.model_name
        self._exclude_seen = settings.serving.exclude_seen
        self.alias_moved_by_hand = settings.registry.alias_moved_by_hand
        self.settings = settings

    @property
    def privacy(self) -> PrivacySettings:
        """What private trainings may spend; see lastaisle.privacy.budget."""
        return self.settings.privacy

    @property
    def served(self) -> str:
        """The objective whose lists services show by default: next_item or new_item."""
        return NEW_ITEM if self._exclude_seen else NEXT_ITEM

    def log_packed(self, recommender: Recommender, folder: Path) -> None:
        """Log the model that services pull under the active run, and its digest as a tag of the run."""
        # It loads TensorFlow. Most processes that open the registry pack no model.
        from models.serving import export

        packed = export.package(recommender, folder / MODEL, exclude_seen=self._exclude_seen)
        with without_notes():  # MLflow asks the model once, for its example
            logged = mlflow.pyfunc.log_model(name=MODEL, **packed)
        with self._fetched(f"models:/{logged.model_id}", f"the model of run {logged.run_id}") as files:
            self.set_tag(logged.run_id, DIGEST, digest_of(files))

    def load_served(self, run_id: str) -> ServedModel:
        """Open the model that a run packed, as a service opens it.

        Raises:
            MissingArtifactError: the run has no packed model, or its files are gone.
            DamagedModelError: the files are not those that the run packed, or do not open.
        """
        named = f"the model of run {run_id}"
        model_id = self._logged_model(run_id)
        if model_id is None:
            raise MissingArtifactError(f"{named} is gone from {self.uri}: train again")
        return self._open(f"models:/{model_id}", named, self.tags(run_id).get(DIGEST))

    def load_version(self, version: str, digest: str | None) -> ServedModel:
        """Open a version, as a service opens it.

        Args:
            version: its number.
            digest: the digest that the ledger has of it; None = unknown, as of older releases.

        Raises:
            MissingArtifactError: the version or its files are gone.
            DamagedModelError: the files have another digest, or do not open.
        """
        return self._open(f"models:/{self.model_name}/{version}", self._name_of(version), digest)

    def digest_of_version(self, version: str) -> str:
        """Return the digest of the files that a service gets for a version.

        Raises:
            MissingArtifactError: the version or its files are gone.
        """
        with self._fetched(f"models:/{self.model_name}/{version}", self._name_of(version)) as files:
            return digest_of(files)

    def recorded_digest(self, version: str) -> str | None:
        """Return the digest that MLflow has of a version; None if it has none.

        Raises:
            MissingArtifactError: there is no such version.
        """
        try:
            found = self.client.get_model_version(self.model_name, version)
        except MlflowException as error:
            if not version.isdigit() or is_missing(error):
                named = self._name_of(version)
                raise MissingArtifactError(f"{named} is gone from {self.uri}: {error.message}") from error
            raise
        digest: str | None = found.tags.get(DIGEST)
        return digest

    def require_digest(self, version: str, digest: str | None) -> None:
        """Refuse a version whose files have another digest than the ledger has; None = not known.

        Raises:
            DamagedModelError: the files are not those that were registered.
        """
        if digest is not None and (received := self.digest_of_version(version)) != digest:
            raise DamagedModelError(
                f"{self._name_of(version)} in {self.uri} is not what was registered: the ledger has the "
                f"digest {digest}, received {received}"
            )

    def _name_of(self, version: str) -> str:
        return f"version {version} of {self.model_name}"

    def _open(self, uri: str, named: str, digest: str | None) -> ServedModel:
        with self._fetched(uri, named) as files:
            received = digest_of(files)
            if digest is not None and received != digest:
                damage = next(filter(None, (damage_of(each.parent) for each in files.rglob(MANIFEST))), None)
                raise DamagedModelError(
                    f"{named} in {self.uri} is not what was trained: expected the digest {digest}, received "
                    f"{received}{f' ({damage})' if damage else ''}"
                )
            return ServedModel(files, named)

    @contextmanager
    def _fetched(self, uri: str, named: str) -> Iterator[Path]:
        """Fetch the files of a packed model into a folder of their own, as a service gets them."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                files = download_artifacts(artifact_uri=uri, dst_path=folder)
            except (MlflowException, FileNotFoundError) as error:
                if isinstance(error, MlflowException) and not is_missing(error):
                    raise
                raise MissingArtifactError(f"{named} is gone from {self.uri}: {error}") from error
            yield Path(files)

    def run_of_logged_model(self, model_id: str) -> str | None:
        """Return the run that packed a model; None if there is no such model, or it was deleted."""
        try:
            run_id = self.client.get_logged_model(model_id).source_run_id
        except MlflowException as error:
            if not is_missing(error):
                raise
            return None
        return None if run_id is None else str(run_id)

    def _logged_model(self, run_id: str) -> str | None:
        """Return the model that a run logged for services; None if there is none, or its files are gone."""
        outputs = self._run(run_id).outputs
        models = outputs.model_outputs if outputs else []
        if not models:
            return None
        model_id = str(models[-1].model_id)
        try:
            files = self.client.list_logged_model_artifacts(model_id)
        except MlflowException as error:
            if not is_missing(error):
                raise
            return None
        return model_id if files else None

"""Versions of one registered model in MLflow: packed, registered, named by aliases and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from lastaisle.errors import RegistryError
from lastaisle.registry.plan import Champion, TrainingPlan
from lastaisle.registry.runs import Runs
from lastaisle.registry.tags import PLAN
from models import recommender as recommenders
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM
from models.options import TrainingOptions
from models.serving import export

if TYPE_CHECKING:
    from lastaisle.settings import Settings
    from models.recommender import Recommender

# Artifact folder of a run: all that a warm start needs; the model that services pull has only part of it.
STATE = "state"
MODEL = "recommender"
DESCRIPTION = (
    "The next items of a session at the checkout. Services pull the alias `champion`, which moves only "
    "through the gate or a rollback, and every move stands in the table `releases`."
)


class Registry(Runs):
    """The runs of one MLflow experiment and the versions of one registered model.

    Args:
        settings: where MLflow is, and the names of experiment and model.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.model_name = settings.registry.model_name
        self._exclude_seen = settings.serving.exclude_seen

    @property
    def served(self) -> str:
        """The objective whose lists services show by default: next_item or new_item."""
        return NEW_ITEM if self._exclude_seen else NEXT_ITEM

    def log_model(self, run_id: str, recommender: Recommender, folder: Path) -> None:
        """Log the state that a warm start needs, and the model that services pull, under the active run."""
        state = folder / STATE
        recommender.save(state)
        self.client.log_artifacts(run_id, str(state), STATE)
        self.log_packed(recommender, folder)

    def log_packed(self, recommender: Recommender, folder: Path) -> None:
        """Log only the model that services pull, under the active run."""
        mlflow.pyfunc.log_model(
            name=MODEL, **export.package(recommender, folder / MODEL, exclude_seen=self._exclude_seen)
        )

    def load_recommender(self, run_id: str) -> Recommender:
        """Load the trained model of a run, able to learn on."""
        return recommenders.load(self.download(run_id, STATE))

    def version_for_run(self, run_id: str) -> str | None:
        """Return the version registered from a run, if there is one."""
        versions = self.client.search_model_versions(f"name = '{self.model_name}' and run_id = '{run_id}'")
        return min((str(version.version) for version in versions), key=int, default=None)

    def register(self, run_id: str, tags: Mapping[str, str]) -> str:
        """Register a run's model as a version, once a run.

        Raises:
            RegistryError: the run logged no model.
        """
        version = self.version_for_run(run_id)
        if version is not None:
            return version
        outputs = self._run(run_id).outputs
        models = outputs.model_outputs if outputs else []
        if not models:
            raise RegistryError(f"run {run_id} of {self.uri} logged no model to register: train again")
        try:
            self.client.create_registered_model(self.model_name, description=DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        model_id = models[-1].model_id
        created = self.client.create_model_version(
            self.model_name, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id
        )
        return str(created.version)

    def set_version_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; a tag that it has already gets the new value."""
        for name, value in tags.items():
            self.client.set_model_version_tag(self.model_name, version, name, value)

    def describe_version(self, version: str, text: str) -> None:
        """Write the description that people see beside a version."""
        self.client.update_model_version(self.model_name, version, text)

    def versions_with(self, tag: str) -> list[str]:
        """Return the versions that have a tag, the newest first."""
        versions = self.client.search_model_versions(f"name = '{self.model_name}'")
        return sorted(
            (str(version.version) for version in versions if tag in version.tags), key=int, reverse=True
        )

    def delete_version(self, version: str) -> None:
        """Delete a version; its run stays."""
        self.client.delete_model_version(self.model_name, version)

    def run_of(self, version: str) -> str:
        """Return the run that trained a version.

        Raises:
            RegistryError: there is no such version; the error lists the versions that exist.
        """
        versions = self.client.search_model_versions(f"name = '{self.model_name}'")
        runs = {str(entry.version): str(entry.run_id) for entry in versions}
        if version not in runs:
            known = ", ".join(sorted(runs, key=int)) or "none"
            raise RegistryError(f"{self.model_name} has no version {version!r} in {self.uri}; it has {known}")
        return runs[version]

    def aliases(self) -> dict[str, str]:
        """Return alias to version."""
        try:
            model = self.client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        return {alias: str(version) for alias, version in model.aliases.items()}

    def set_aliases(self, versions_by_alias: Mapping[str, str | None]) -> dict[str, str | None]:
        """Move aliases to these versions (None = remove the alias); return the aliases that moved."""
        held = self.aliases()
        moved = {alias: version for alias, version in versions_by_alias.items() if held.get(alias) != version}
        for alias, version in moved.items():
            if version is None:
                self.client.delete_registered_model_alias(self.model_name, alias)
            else:
                self.client.set_registered_model_alias(self.model_name, alias, version)
        return moved

    def champion(self, version: str) -> Champion:
        """Describe a version that serves."""
        run_id = self.run_of(version)
        plan = TrainingPlan.from_json(self.tags(run_id)[PLAN])
        # The round trip adds the options that are newer than the run.
        options = TrainingOptions.from_dict(plan.options).to_dict()
        return Champion(version, run_id, plan.run_key, plan.window.end, plan.architecture, options)

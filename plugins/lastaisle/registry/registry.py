"""Versions of one registered model in MLflow: packed, registered, named by aliases and loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.artifacts import list_artifacts
from mlflow.exceptions import MlflowException

from lastaisle.errors import RegistryError
from lastaisle.registry.packed import PackedModels
from lastaisle.registry.plan import Champion, TrainingPlan
from lastaisle.registry.runs import is_missing, set_at_once
from lastaisle.registry.tags import ALIASES_SET, BASE, PLAN, RUN_KEY, STATES_TOLD
from models import by_name
from models.options import TrainingOptions

if TYPE_CHECKING:
    from models.recommender import Recommender

# Artifact folder of a run: all that a warm start needs; the model that services pull has only part of it.
STATE = "state"
DESCRIPTION = (
    "The next items of a session at the checkout. Services pull the alias `champion`, which moves only "
    "through the gate or a rollback, and every move stands in the table `releases`."
)

logger = logging.getLogger(__name__)


class Registry(PackedModels):
    """The runs of one MLflow experiment and the versions of one registered model.

    Args:
        settings: where MLflow is, and the names of experiment and model.
    """

    def log_model(self, run_id: str, recommender: Recommender, folder: Path) -> None:
        """Log the state that a warm start needs, and the model that services pull, under the active run."""
        state = folder / STATE
        recommender.save(state)
        self.client.log_artifacts(run_id, str(state), STATE)
        self.log_packed(recommender, folder)

    def load_recommender(self, run_id: str) -> Recommender:
        """Load the trained model of a run, able to learn on."""
        return by_name.load(self.download(run_id, STATE))

    def version_for_run(self, run_id: str) -> str | None:
        """Return the version registered from a run, if there is one."""
        return next(iter(self._versions_of(run_id)), None)

    def _versions_of(self, run_id: str) -> dict[str, Mapping[str, str]]:
        """Return the tags of every version registered from a run, by version, the oldest first."""
        versions = self.client.search_model_versions(f"name = '{self.model_name}' and run_id = '{run_id}'")
        return {
            str(entry.version): entry.tags for entry in sorted(versions, key=lambda one: int(one.version))
        }

    def register(self, run_id: str, tags: Mapping[str, str]) -> str:
        """Register a run's model as a version, once a run, also if several processes register it at once.

        Each process may make a version. Then each removes all but the first, whose number is the smallest.

        Raises:
            RegistryError: the run logged no model, or the model was deleted.
        """
        if self.version_for_run(run_id) is None:
            self._create_version(run_id, tags)
        first, *doubles = self._versions_of(run_id).items()
        for version, tags_of_double in doubles:
            if tags_of_double.get(RUN_KEY) == tags[RUN_KEY]:  # people may have registered the run themselves
                logger.warning("version %s doubles version %s of %s: deleted", version, first[0], run_id)
                self.delete_version(version)
        return first[0]

    def _create_version(self, run_id: str, tags: Mapping[str, str]) -> None:
        model_id = self._logged_model(run_id)
        if model_id is None:
            raise RegistryError(f"run {run_id} of {self.uri} has no model to register: train again")
        try:
            self.client.create_registered_model(self.model_name, description=DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self.client.create_model_version(
            self.model_name, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id
        )

    def is_whole(self, run_id: str, *artifacts: str) -> bool:
        """Tell whether a run still has the model for services, and these artifacts.

        Raises:
            ArtifactsUnreachableError: MLflow's folder of artifacts is missing or empty.
        """
        self.require_artifacts_folder(run_id)
        return self._logged_model(run_id) is not None and all(
            self.has_artifact(run_id, path) for path in artifacts
        )

    def set_version_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; a tag that it has already gets the new value."""
        for name, value in tags.items():
            set_at_once(
                partial(self.client.set_model_version_tag, self.model_name, version, name, value),
                is_there=partial(self._has_version_tag, version, name),
            )

    def _has_version_tag(self, version: str, name: str) -> bool:
        return name in self.client.get_model_version(self.model_name, version).tags

    def describe_version(self, version: str, text: str) -> None:
        """Write the description that people see beside a version."""
        self.client.update_model_version(self.model_name, version, text)

    def description_of(self, version: str) -> str:
        """Return the description of a version; empty if it has none."""
        return self.client.get_model_version(self.model_name, version).description or ""

    def descriptions(self) -> dict[str, str]:
        """Return the description of each version of the model, by version."""
        found = self.client.search_model_versions(f"name = '{self.model_name}'")
        return {str(one.version): one.description or "" for one in found}

    def versions_with(self, tag: str) -> list[str]:
        """Return the versions that have a tag, the newest first."""
        versions = self.client.search_model_versions(f"name = '{self.model_name}'")
        return sorted(
            (str(version.version) for version in versions if tag in version.tags), key=int, reverse=True
        )

    def all_versions(self) -> list[str]:
        """Return the versions of the model, the oldest first, without versions of online updates."""
        found = self.client.search_model_versions(f"name = '{self.model_name}'")
        return sorted((str(one.version) for one in found if BASE not in one.tags), key=int)

    def delete_version(self, version: str) -> None:
        """Delete a version, if it is still there; its run stays."""
        try:
            self.client.delete_model_version(self.model_name, version)
        except MlflowException as error:
            if not is_missing(error):
                raise

    def find_run_of(self, version: str) -> str | None:
        """Return the run that trained a version; None if there is no such version."""
        if not version.isdigit():
            return None
        try:
            return str(self.client.get_model_version(self.model_name, version).run_id)
        except MlflowException as error:
            if not is_missing(error):
                raise
            return None

    def run_of(self, version: str) -> str:
        """Return the run that trained a version.

        Raises:
            RegistryError: there is no such version; the error lists the versions that exist.
        """
        run_id = self.find_run_of(version)
        if run_id is None:
            versions = self.client.search_model_versions(f"name = '{self.model_name}'")
            known = ", ".join(sorted((str(entry.version) for entry in versions), key=int)) or "none"
            raise RegistryError(f"{self.model_name} has no version {version!r} in {self.uri}; it has {known}")
        return run_id

    def has_packed(self, version: str) -> bool:
        """Tell whether the artifacts of a version hold the model that services load."""
        place = self.client.get_model_version_download_uri(self.model_name, version)
        return any(file.path.rpartition("/")[2] == "MLmodel" for file in list_artifacts(place))

    def aliases(self) -> dict[str, str]:
        """Return alias to version."""
        return self.aliases_with_mark()[0]

    def aliases_with_mark(self) -> tuple[dict[str, str], str | None]:
        """Return alias to version, and the last move of the ledger whose aliases were all set.

        MLflow answers both at once. No move is known before the first, and in registries of older releases.
        """
        model = self._model()
        if model is None:
            return {}, None
        aliases = {alias: str(version) for alias, version in model.aliases.items()}
        return aliases, model.tags.get(ALIASES_SET)

    def _model(self) -> Any:
        """Return the registered model; None before the first version."""
        try:
            return self.client.get_registered_model(self.model_name)
        except MlflowException as error:
            if not is_missing(error):
                raise
            return None

    def _has_alias(self, alias: str) -> bool:
        return alias in self.aliases()

    def mark_aliases(self, move_id: str) -> None:
        """Note the move of the ledger whose aliases are all set; without a model there is nothing to note."""
        self._mark(ALIASES_SET, move_id)

    def are_states_told(self, move_id: str) -> bool:
        """Tell whether the descriptions of all versions tell this move of the ledger."""
        model = self._model()
        return model is None or model.tags.get(STATES_TOLD) == move_id

    def mark_states_told(self, move_id: str) -> None:
        """Note the move of the ledger that the descriptions of all versions tell."""
        self._mark(STATES_TOLD, move_id)

    def _mark(self, name: str, move_id: str) -> None:
        """Set a tag of the registered model to a move of the ledger."""
        model = self._model()
        if model is None or model.tags.get(name) == move_id:
            return
        set_at_once(
            lambda: self.client.set_registered_model_tag(self.model_name, name, move_id),
            is_there=lambda: name in self._model().tags,
        )

    def set_aliases(self, versions_by_alias: Mapping[str, str | None]) -> dict[str, str | None]:
        """Move aliases to these versions (None = remove the alias); return the aliases that moved."""
        held = self.aliases()
        moved = {alias: version for alias, version in versions_by_alias.items() if held.get(alias) != version}
        for alias, version in moved.items():
            if version is None:
                self.client.delete_registered_model_alias(self.model_name, alias)
            else:
                set_at_once(
                    partial(self.client.set_registered_model_alias, self.model_name, alias, version),
                    is_there=partial(self._has_alias, alias),
                )
        return moved

    def plan_of(self, run_id: str) -> TrainingPlan:
        """Return the plan of the training that a run holds.

        Raises:
            RegistryError: no such run, or a run that is no training.
        """
        plan = self.tags(run_id).get(PLAN)
        if plan is None:
            raise RegistryError(f"the run {run_id!r} has no tag {PLAN!r}: it is no training of lastaisle")
        return TrainingPlan.from_json(plan)

    def champion(self, version: str) -> Champion:
        """Describe a version that serves."""
        return self._describe(version, self.run_of(version))

    def start_of(self, plan: TrainingPlan) -> Champion:
        """Describe the version that a warm start begins with.

        Raises:
            RegistryError: the version's run is gone.
        """
        assert plan.warm_start_version is not None, "it starts from scratch"
        run_id = plan.warm_start_run_id or self.run_of(plan.warm_start_version)
        return self._describe(plan.warm_start_version, run_id)

    def _describe(self, version: str, run_id: str) -> Champion:
        plan = self.plan_of(run_id)
        # The round trip adds the options that are newer than the run.
        options = TrainingOptions.from_dict(plan.options).to_dict()
        return Champion(
            version=version,
            run_id=run_id,
            run_key=plan.run_key,
            window_end=plan.window.end,
            architecture=plan.architecture,
            options=options,
            warm_start_version=plan.warm_start_version,
            warm_start_run_id=plan.warm_start_run_id,
            half_learned_until=plan.half_learned_until,
        )

"""MLflow as the store of runs and versions: what of its client the pipeline needs, without its noise."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastaisle.errors import RegistryError
from lastaisle.registry.plan import Champion, TrainingPlan

if TYPE_CHECKING:
    from lastaisle.settings import Settings
    from models.recommender import Recommender

RUN_KEY = "run_key"
KIND = "lastaisle.kind"
PLAN = "lastaisle.plan"
# Artifact folder of a run with what a warm start needs and the model that services pull lacks.
STATE = "state"
MODEL = "recommender"
DESCRIPTION = (
    "The next items of a session at the checkout. Services pull the alias `champion`, which moves only "
    "through the gate or a rollback, and every move stands in the table `releases`."
)

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
}


class Registry:
    """The runs of one MLflow experiment and the versions of one registered model.

    Args:
        settings: where MLflow is, and the names of experiment and model.
    """

    def __init__(self, settings: Settings) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # also where it was imported before
        self.uri = settings.registry.mlflow_uri
        self.model_name = settings.registry.model_name
        self._experiment = settings.registry.experiment
        self._artifacts = settings.registry.mlflow_artifacts
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self.client = mlflow.MlflowClient(self.uri, self.uri)
        self._experiment_id: str | None = None

    @property
    def experiment_id(self) -> str:
        """The experiment's id; it is created at first use, with its folder of artifacts."""
        if self._experiment_id is None:
            from mlflow.exceptions import MlflowException

            experiment = self.client.get_experiment_by_name(self._experiment)
            if experiment is None:
                try:
                    self.client.create_experiment(self._experiment, artifact_location=self._artifacts)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                        raise
                experiment = self.client.get_experiment_by_name(self._experiment)
            self._experiment_id = str(experiment.experiment_id)
        return self._experiment_id

    # Runs

    @contextmanager
    def run(self, name: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Open a run; it is FINISHED after the block, FAILED after an exception, and RUNNING if killed."""
        import mlflow

        with mlflow.start_run(
            experiment_id=self.experiment_id, run_name=name, tags=dict(tags), log_system_metrics=False
        ) as run:
            yield run.info.run_id

    def finished_run(self, run_key: str) -> str | None:
        """Return the finished run of this training, if there is one."""
        runs = self._runs(run_key)
        return next((run.info.run_id for run in runs if run.info.status == "FINISHED"), None)

    def finished_runs(self, run_key: str) -> dict[str, dict[str, str]]:
        """Return the tags of every finished run of this name, by run id."""
        runs = self._runs(run_key)
        return {run.info.run_id: dict(run.data.tags) for run in runs if run.info.status == "FINISHED"}

    def discard_unfinished(self, run_key: str) -> None:
        """Delete runs of this training that died midway, with the models they logged."""
        for run in self._runs(run_key):
            if run.info.status == "FINISHED":
                continue
            for model in self.client.search_logged_models(
                [self.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
            ):
                self.client.delete_logged_model(model.model_id)
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
            self.client.delete_run(run.info.run_id)

    def _runs(self, run_key: str) -> list[Any]:
        return list(self.client.search_runs([self.experiment_id], f"tags.{RUN_KEY} = '{run_key}'"))

    def tags(self, run_id: str) -> dict[str, str]:
        """Return a run's tags.

        Raises:
            RegistryError: no such run.
        """
        return dict(self._run(run_id).data.tags)

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return a run's metrics, each at its last step."""
        return dict(self._run(run_id).data.metrics)

    def times(self, run_id: str) -> tuple[int, int]:
        """Return when a run started and ended, in milliseconds since the epoch."""
        info = self._run(run_id).info
        return info.start_time, info.end_time

    def _run(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            raise RegistryError(f"{self.uri} has no run {run_id!r}: {error.message}") from error

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log hyperparameters."""
        from mlflow.entities import Param

        self.client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log metrics; "recall@20" becomes "recall_at_20", since MLflow allows no @."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(metric_name(name), float(value), now, 0) for name, value in metrics.items()],
        )

    def read_text(self, run_id: str, path: str) -> str | None:
        """Return a text artifact of a run; None if it has none of this name."""
        folder = path.rpartition("/")[0]
        if path not in {file.path for file in self.client.list_artifacts(run_id, folder or None)}:
            return None
        return Path(self.client.download_artifacts(run_id, path)).read_text(encoding="utf-8")

    # Models and versions

    def log_model(self, run_id: str, recommender: Recommender, folder: Path) -> None:
        """Log what a warm start needs, and the model that services pull, under the active run."""
        state = folder / STATE
        recommender.save(state)
        self.client.log_artifacts(run_id, str(state), STATE)
        self.log_packed(recommender, folder)

    def log_packed(self, recommender: Recommender, folder: Path) -> None:
        """Log the model that services pull, alone, under the active run."""
        import mlflow

        from models.serving.export import package

        mlflow.pyfunc.log_model(name=MODEL, **package(recommender, folder / MODEL))

    def load_recommender(self, run_id: str) -> Recommender:
        """Load the trained model of a run, able to learn on."""
        from models.recommender import load

        return load(Path(self.client.download_artifacts(run_id, STATE)))

    def version_for_run(self, run_id: str) -> str | None:
        """Return the version registered from a run, if there is one."""
        found = self.client.search_model_versions(f"name = '{self.model_name}' and run_id = '{run_id}'")
        return min((str(version.version) for version in found), key=int, default=None)

    def register(self, run_id: str, tags: Mapping[str, str]) -> str:
        """Register a run's model as a version, once a run.

        Raises:
            RegistryError: the run logged no model.
        """
        from mlflow.exceptions import MlflowException

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
        """Set tags of a version; ones that it has keep their newest value."""
        for name, value in tags.items():
            self.client.set_model_version_tag(self.model_name, version, name, value)

    def describe_version(self, version: str, text: str) -> None:
        """Write the description that people see beside a version."""
        self.client.update_model_version(self.model_name, version, text)

    def run_of(self, version: str) -> str:
        """Return the run that trained a version.

        Raises:
            RegistryError: no such version, with those that exist.
        """
        found = self.client.search_model_versions(f"name = '{self.model_name}'")
        runs = {str(entry.version): str(entry.run_id) for entry in found}
        if version not in runs:
            known = ", ".join(sorted(runs, key=int)) or "none"
            raise RegistryError(f"{self.model_name} has no version {version!r} in {self.uri}; it has {known}")
        return runs[version]

    def aliases(self) -> dict[str, str]:
        """Return alias to version."""
        from mlflow.exceptions import MlflowException

        try:
            model = self.client.get_registered_model(self.model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        return {alias: str(version) for alias, version in model.aliases.items()}

    def set_aliases(self, wanted: Mapping[str, str | None]) -> dict[str, str | None]:
        """Move aliases to these versions, None = take it away; return those that had to move."""
        held = self.aliases()
        moved = {alias: version for alias, version in wanted.items() if held.get(alias) != version}
        for alias, version in moved.items():
            if version is None:
                self.client.delete_registered_model_alias(self.model_name, alias)
            else:
                self.client.set_registered_model_alias(self.model_name, alias, version)
        return moved

    def champion(self, version: str) -> Champion:
        """Describe a version that serves."""
        from models.options import TrainingOptions

        run_id = self.run_of(version)
        plan = TrainingPlan.from_json(self.tags(run_id)[PLAN])
        options = TrainingOptions.from_dict(plan.options).to_dict()  # some may be younger than the run
        return Champion(version, run_id, plan.run_key, plan.window.end, plan.architecture, options)


def metric_name(name: str) -> str:
    """Return a metric's name as MLflow takes it: "recall@20" is "recall_at_20"."""
    return name.replace("@", "_at_")

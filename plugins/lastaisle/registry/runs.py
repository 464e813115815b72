"""The runs of one MLflow experiment: opened, found, logged to and read."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import LifecycleStage, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS
from mlflow.utils.uri import is_local_uri

from lastaisle.errors import RegistryError
from lastaisle.registry.errors import ArtifactsUnreachableError, BeingTrainedError, MissingArtifactError
from lastaisle.registry.lease import LEASE, holder, is_alive, lease_tags, renewed
from lastaisle.registry.run import FINISHED, KILLED, RUNNING, SQLITE, Run
from lastaisle.registry.tags import RUN_KEY
from lastaisle.settings.sections import AT_SERVER
from lastaisle.telemetry.shown import without_password

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lastaisle.settings import Settings


class Runs:
    """The runs of one MLflow experiment.

    Args:
        settings: where MLflow is, and the names of experiment and model.

    Attributes:
        uri: where MLflow is, for messages: without the password that its address may hold.
        client: MLflow's client. Only this room and tests use it; all others use the methods.
    """

    def __init__(self, settings: Settings) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # also if imported earlier
        self.settings = settings
        address = settings.registry.mlflow_uri
        self.uri = without_password(address)
        self._experiment = settings.registry.experiment
        artifacts = settings.registry.mlflow_artifacts
        # The server gives each experiment a folder of its own. MLflow's accounts know the experiment by it.
        self._artifacts = None if artifacts == AT_SERVER else artifacts
        if address.startswith(SQLITE):
            Path(address.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(address)
        mlflow.set_registry_uri(address)
        self.client = mlflow.MlflowClient(address, address)
        self._experiment_id: str | None = None

    @property
    def experiment_id(self) -> str:
        """The experiment's id; the experiment is created at first use, with its folder of artifacts."""
        if self._experiment_id is None:
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

    def experiment_tags(self) -> dict[str, str]:
        """Return the tags of the experiment."""
        return dict(self.client.get_experiment(self.experiment_id).tags)

    def set_experiment_tag(self, name: str, value: str) -> None:
        """Set a tag of the experiment, also if another process sets it at the same moment."""
        set_at_once(
            lambda: self.client.set_experiment_tag(self.experiment_id, name, value),
            is_there=lambda: name in self.experiment_tags(),
        )

    # Opening and ending

    @contextmanager
    def run(self, name: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Open a run; it is FINISHED after the block, FAILED after an exception, and RUNNING if killed."""
        with self._ended(self.begin_run(name, tags)) as run_id:
            yield run_id

    @contextmanager
    def training_run(self, run_key: str, tags: Mapping[str, str], name: str = "") -> Iterator[str]:
        """Open the run of a training, as `run` does; one process at a time may hold it.

        Runs of this training that died midway are deleted first. During the block the run's lease is renewed
        (see lastaisle.registry.lease).

        Args:
            run_key: names the training.
            tags: of the run.
            name: the name that people see; default the run_key.

        Raises:
            BeingTrainedError: another process that lives holds a run of this training.
        """
        self._discard_unfinished(run_key)
        run_id = self.begin_run(name or run_key, {**tags, RUN_KEY: run_key, **lease_tags()})
        self._require_first(run_key, run_id)
        with self._ended(run_id), renewed(self.client, run_id):
            yield run_id

    @contextmanager
    def _ended(self, run_id: str) -> Iterator[str]:
        """Make a run the active run of a block, and end it after the block."""
        mlflow.set_experiment(
            experiment_id=self.experiment_id
        )  # MLflow refuses a run outside the active experiment
        with mlflow.start_run(run_id=run_id, log_system_metrics=False):
            yield run_id

    def begin_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Begin a run that `end_run` ends, and return its id."""
        run = self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def resume_run(self, run_id: str) -> None:
        """Say that a run that ended goes on."""
        self.client.update_run(run_id, status=RUNNING)

    def end_run(self, run_id: str, status: str = FINISHED) -> None:
        """End a run."""
        self.client.set_terminated(run_id, status)

    def delete_run(self, run_id: str) -> None:
        """Delete a run; MLflow keeps it among the deleted runs until `mlflow gc`."""
        self.client.delete_run(run_id)

    def _discard_unfinished(self, run_key: str) -> None:
        """Delete runs of this training that died midway, with the models they logged.

        Raises:
            BeingTrainedError: the process of such a run lives.
        """
        unfinished = [run for run in self.find_runs({RUN_KEY: run_key}) if run.status != FINISHED]
        for run in unfinished:
            if run.status == RUNNING and is_alive(run.tags):
                raise _being_trained(run_key, run)
        for run in unfinished:
            self._discard(run)

    def _discard(self, run: Run) -> None:
        for model in self.client.search_logged_models(
            [self.experiment_id], filter_string=f"source_run_id = '{run.run_id}'"
        ):
            self.client.delete_logged_model(model.model_id)
        if run.status == RUNNING:
            self.end_run(run.run_id, KILLED)
        self.client.delete_run(run.run_id)

    def _require_first(self, run_key: str, run_id: str) -> None:
        """Give way to the run that another process opened at the same moment, if that run is the first."""
        running = [run for run in self.find_runs({RUN_KEY: run_key}) if run.status == RUNNING]
        first = min(running, key=lambda run: (run.started, run.run_id))
        if first.run_id != run_id and is_alive(first.tags):
            self._discard(next(run for run in running if run.run_id == run_id))
            raise _being_trained(run_key, first)

    # Finding

    def find_runs(self, tags: Mapping[str, str]) -> list[Run]:
        """Return the runs that have all these tags, the newest first."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return [_described(run) for run in self.client.search_runs([self.experiment_id], wanted)]

    def unfinished_runs(self) -> list[Run]:
        """Return the trainings that are not FINISHED, the newest first; the experiment is not created."""
        experiment = self.client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return []
        wanted = f"attributes.status != '{FINISHED}'"
        found = map(_described, self.client.search_runs([experiment.experiment_id], wanted))
        return [run for run in found if RUN_KEY in run.tags]

    def trainings(self, since: datetime) -> list[Run]:
        """Return the trainings that began since a moment, the newest first; no experiment is created."""
        experiment = self.client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return []
        wanted = f"tags.`{RUN_KEY}` != '' and attributes.start_time >= {int(since.timestamp() * 1000)}"
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([experiment.experiment_id], wanted, page_token=token)
            found += map(_described, page)
            token = page.token
            if not token:
                return found

    def finished_run(self, run_key: str) -> str | None:
        """Return the finished run of this training, if there is one."""
        return next(iter(self.finished_runs(run_key)), None)

    def finished_runs(self, run_key: str) -> dict[str, Mapping[str, str]]:
        """Return the tags of every finished run of this name, by run id."""
        return {run.run_id: run.tags for run in self.find_runs({RUN_KEY: run_key}) if run.status == FINISHED}

    # Reading

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

    def has_run(self, run_id: str) -> bool:
        """Tell whether MLflow has a run, also if people moved it to the deleted runs."""
        try:
            self.client.get_run(run_id)
        except MlflowException as error:
            if not is_missing(error):
                raise
            return False
        return True

    def is_active(self, run_id: str) -> bool:
        """Tell whether MLflow has a run, and people did not delete it."""
        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == LifecycleStage.ACTIVE)
        except MlflowException as error:
            if not is_missing(error):
                raise
            return False

    def _run(self, run_id: str) -> Any:
        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            if not is_missing(error):
                raise
            raise RegistryError(f"{self.uri} has no run {run_id!r}: {error.message}") from error

    def has_artifact(self, run_id: str, path: str) -> bool:
        """Tell whether a run has an artifact, a file or a folder that is not empty.

        Raises:
            RegistryError: no such run.
        """
        self._run(run_id)
        folder = path.rpartition("/")[0]
        files = self.client.list_artifacts(run_id, folder or None)
        found = next((file for file in files if file.path == path), None)
        return found is not None and not (found.is_dir and not self.client.list_artifacts(run_id, path))

    def require_artifacts_folder(self, run_id: str) -> None:
        """Refuse a local folder of artifacts that is not there at all, such as a disk that is not mounted.

        Raises:
            ArtifactsUnreachableError: the folder in which all runs lie is missing or empty.
        """
        uri = str(self._run(run_id).info.artifact_uri)
        if not is_local_uri(uri):
            return
        folder = Path(local_file_uri_to_path(uri)).parents[1]  # of <folder>/<run>/artifacts
        if not folder.is_dir() or not any(folder.iterdir()):
            raise ArtifactsUnreachableError(
                f"the folder {folder}, in which {self.uri} keeps its artifacts, is missing or empty: mount "
                "the folder. If the artifacts are deleted for good, say so: "
                "lastaisle releases sync --artifacts-gone --no-dry-run"
            )

    def read_text(self, run_id: str, path: str) -> str | None:
        """Return a text artifact of a run; None if it has none of this name.

        Raises:
            RegistryError: no such run.
        """
        if not self.has_artifact(run_id, path):
            return None
        return self.download(run_id, path).read_text(encoding="utf-8")

    def download(self, run_id: str, path: str) -> Path:
        """Return where an artifact of a run lies on this machine, after fetching it if need be.

        Raises:
            MissingArtifactError: the run, or the artifact, is gone.
        """
        try:
            return Path(self.client.download_artifacts(run_id, path))
        except MlflowException as error:
            if not is_missing(error):
                raise
            raise MissingArtifactError(
                f"{self.uri} has no artifact {path!r} of run {run_id!r}: {error.message}"
            ) from error

    # Logging

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        """Set a tag of a run, also if another process sets it at the same moment."""
        set_at_once(
            lambda: self.client.set_tag(run_id, name, value), is_there=lambda: name in self.tags(run_id)
        )

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log hyperparameters."""
        self.client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics; "recall@20" becomes "recall_at_20", since MLflow allows no @.

        Args:
            run_id: the run.
            metrics: name to value.
            step: the number of the epoch, period or trial that was measured.
        """
        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(metric_name(name), float(value), now, step) for name, value in metrics.items()],
        )

    def log_text(self, run_id: str, text: str, path: str) -> None:
        """Log a text as the artifact `path`."""
        self.client.log_text(run_id, text, path)

    def log_json(self, run_id: str, data: Mapping[str, Any], path: str) -> None:
        """Log an object as the JSON artifact `path`."""
        self.client.log_dict(run_id, dict(data), path)

    def log_table(
        self, run_id: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], path: str
    ) -> None:
        """Log rows as the JSON artifact `path`, which MLflow shows as a table; a second call replaces it."""
        self.client.log_dict(run_id, {"columns": list(columns), "data": [list(row) for row in rows]}, path)
        tables = json.loads(self.tags(run_id).get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
        table = {"path": path, "type": "table"}
        if table not in tables:
            self.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*tables, table]))

    def log_figure(self, run_id: str, figure: Figure, path: str) -> None:
        """Log a figure as the picture `path`."""
        self.client.log_figure(run_id, figure, path)

    def log_file(self, run_id: str, file: Path, folder: str | None = None) -> None:
        """Log a file under its own name, in a folder of the run's artifacts."""
        self.client.log_artifact(run_id, str(file), folder)


def _described(run: Any) -> Run:
    info = run.info
    ended = None if info.end_time is None else int(info.end_time)
    return Run(str(info.run_id), str(info.status), dict(run.data.tags), int(info.start_time), ended)


def _being_trained(run_key: str, run: Run) -> BeingTrainedError:
    began = datetime.fromtimestamp(run.started / 1000, UTC).isoformat(timespec="seconds")
    return BeingTrainedError(
        f"{run_key} is being trained since {began} by {holder(run.tags)} (MLflow run {run.run_id}): wait for "
        f"its end. If that process died, try again {LEASE.total_seconds():g} seconds after this sign"
    )


def set_at_once(set_value: Callable[[], object], *, is_there: Callable[[], bool]) -> None:
    """Set a tag or an alias in MLflow, also if another process sets it at the same moment.

    MLflow's SQL store inserts what it has not found. If two processes do so at once, the second insertion is
    an error, and the tag or alias is there: now it can be set.

    Args:
        set_value: sets it.
        is_there: tells whether it is there, with whichever value.

    Raises:
        MlflowException: it cannot be set for another reason.
    """
    try:
        set_value()
    except MlflowException:
        if not is_there():
            raise
        set_value()


def is_missing(error: MlflowException) -> bool:
    """Tell whether MLflow says that there is no such thing, and not that it cannot answer."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def metric_name(name: str) -> str:
    """Return a metric's name as MLflow takes it: "recall@20" is "recall_at_20"."""
    return name.replace("@", "_at_")

"""A run belongs to its registry's experiment, whatever experiment the process used before."""

import mlflow
import pytest

from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings


@pytest.fixture
def another_experiment(tmp_path):
    """Make an experiment of another store the active one, as a notebook does."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'notebook.db'}")
    for name in ("first", "second", "third"):
        mlflow.set_experiment(name)
    yield
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def test_runs_of_two_experiments_follow_each_other_in_one_process(tmp_path, another_experiment):
    settings = Settings.of(home=tmp_path)
    registries = [Registry(settings), Registry(settings.replace(experiment="reproductions"))]
    for registry in [*registries, registries[0]]:
        with registry.run("a run", {}) as run_id:
            mlflow.log_metric("recall", 0.5)
        run = registry.client.get_run(run_id)
        assert run.data.metrics == {"recall": 0.5}
        assert run.info.experiment_id == registry.experiment_id
        assert run.info.status == "FINISHED"

"""Log a replay as an MLflow run with its metrics by period, its report and its chart."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lastaisle.registry.registry import Registry
from lastaisle.registry.revision import git_revision
from lastaisle.replay.chart import draw


def log_replay(report: Mapping[str, Any], params: Mapping[str, Any], registry: Registry) -> str:
    """Log a replay's report; return the run's id.

    The step of each metric is the number of the period. The means over periods are logged as `mean_…`.

    Args:
        report: the report that `lastaisle.replay.replay.replay` returned.
        params: the log, the model and the hyperparameters of the replay.
        registry: the MLflow server, with the experiment for replays.
    """
    with registry.run("replay", {"lastaisle.git_revision": git_revision()}) as run_id:
        registry.log_params(run_id, params)
        for step, period in enumerate(report["periods"], start=1):
            for strategy, metrics in period["strategies"].items():
                named = {f"{strategy}/{name}": value for name, value in metrics.items()}
                registry.log_metrics(run_id, named, step)
        means = {
            f"{strategy}/mean_{name}" if name != "train_seconds" else f"{strategy}/total_{name}": value
            for strategy, metrics in report["summary"].items()
            for name, value in metrics.items()
        }
        registry.log_metrics(run_id, means)
        registry.log_json(run_id, report, "replay.json")
        with tempfile.TemporaryDirectory() as folder:
            draw(report, Path(folder) / "replay.png")
            registry.log_file(run_id, Path(folder) / "replay.png")
    return run_id

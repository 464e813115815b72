"""How long does it take from the landing of an hour's events to the gate's decision, on the real scheduler?

    python benchmarks/landing_to_gate.py [--events 50000] [--hours 4] [--chart FILE]

Airflow with LocalExecutor and SQLite, and MLflow run on this machine. A champion is trained on the hours
before. Then the file of a simulated hour lands in the source folder as a whole, as an upload does, and the
hour's partition is run. The landed hour evaluates the candidate (LASTAISLE_PARTITION=hour,
LASTAISLE_HOLDOUT_HOURS=1). The hour before, with a sample of older hours, trains the candidate. The benchmark
prints the parts of the time, from Airflow's own records: the run of each task; the imports in that run
(measured afterwards, in a process with the same modules as a forked task); and orchestration, which is the
time in which no task ran. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ingestion.simulated_hours import ingest_hours, write_hours
from lastaisle.settings import Settings
from lastaisle_airflow.local.airflow.api import AirflowApi, Run
from lastaisle_airflow.local.environment import HOST
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.services import Services, running

DAGS = ("ingest_sessions", "retrain_incremental")
PATH = (*(f"ingest_sessions.{task}" for task in ("plan_batches", "ingest_batches", "anonymize_shard")),)
PATH += ("ingest_sessions.announce",)
PATH += tuple(
    f"retrain_incremental.{task}" for task in ("plan_window", "train_and_evaluate", "release_candidate")
)
# A task's process is forked from the scheduler and has its modules. Then it reads the file of its DAG.
FORKED = "import airflow.cli.commands.scheduler_command, airflow.jobs.scheduler_job_runner, "
FORKED += "airflow.sdk.execution_time.task_runner, airflow.utils.db, fastapi"
_INGESTION = "import airflow.providers.standard.decorators.python, lastaisle_airflow.tasks.ingestion"
_LEARNING = "import airflow.providers.standard.decorators.python, "
_LEARNING += "lastaisle_airflow.tasks.training, lastaisle_airflow.tasks.release"
_MLFLOW = "duckdb, lastaisle.lake, lastaisle.release, mlflow, mlflow.store.tracking.sqlalchemy_store"
_PLOTS = "data_contracts.contract, matplotlib.figure, matplotlib.backends.backend_agg"
IMPORTS = {
    "plan_batches": f"{_INGESTION}, lastaisle.ingest.listing",
    "ingest_batches": f"{_INGESTION}, duckdb, lastaisle.ingest.run, data_contracts.quality.gx_types",
    "anonymize_shard": f"{_INGESTION}, duckdb, lastaisle.privacy.anonymize",
    "announce": _INGESTION,
    "plan_window": f"{_LEARNING}, {_MLFLOW}, models.by_name",
    "train_and_evaluate": (
        f"{_LEARNING}, {_MLFLOW}, {_PLOTS}, models.online.model, models.sequential.attention"
    ),
    "release_candidate": f"{_LEARNING}, {_MLFLOW}, {_PLOTS}, markdown_it",
}


@dataclass(frozen=True)
class Step:
    """One task between landing and decision; moments in seconds after the landing.

    Attributes:
        name: name of the task.
        start: start of the task's process.
        end: end of the task.
        imports: seconds of imports in the task.
    """

    name: str
    start: float
    end: float
    imports: float


def first_champion(settings: Settings, files: Mapping[str, Path]) -> None:
    """Ingest the hours before the landing, and release a first champion, by the pipeline's own steps."""
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.registry.registry import Registry
    from lastaisle.release.release import release_candidate
    from lastaisle.training.planning import plan_window
    from lastaisle.training.train import train_candidate

    lake, registry = Lake(settings.lake.url), Registry(settings)
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    end = ingest_hours(files, lake, keys)[-1] + timedelta(hours=1)
    run_id = train_candidate(plan_window(lake, settings, end), lake, registry)
    evaluate_candidate(run_id, lake, registry)
    decision = release_candidate(run_id, lake, registry, actor="benchmark")
    assert decision.promote, decision.reasons


def wait_until_idle(services: Services, api: AirflowApi) -> None:
    """Wait until Airflow has read the DAGs and no run is in progress."""

    def idle() -> bool:
        services.check()
        known = {each["dag_id"] for each in api.get("/dags", limit=100)["dags"]}
        return set(DAGS) <= known and all(run.finished for name in DAGS for run in api.runs(name))

    if not wait_until(idle, timeout=180):
        raise RuntimeError("Airflow has unfinished runs, or has not read the DAGs, after 180 s")


def land(file: Path, settings: Settings, key: str, api: AirflowApi) -> datetime:
    """Move the hour's file to the source folder, run its partition, and return the moment of the move."""
    folder = Path(settings.source_at(datetime.fromisoformat(f"{key}:00:00+00:00")))
    folder.mkdir(parents=True)
    landed = datetime.now(UTC)
    file.rename(folder / "part-0.jsonl")
    api.post("/dags/ingest_sessions/dagRuns", {"logical_date": None, "partition_key": key})
    return landed


def decided(services: Services, api: AirflowApi, key: str, timeout: float = 400.0) -> dict[str, Run]:
    """Wait for the end of the partition's training; return the partition's runs."""

    def finished() -> dict[str, Run] | None:
        services.check()
        found = {name: run for name in DAGS if (run := api.newest_by_partition(name).get(key))}
        failed = [name for name, run in found.items() if run.state == "failed"]
        assert not failed, f"failed: {failed}"
        if len(found) == len(DAGS) and found["retrain_incremental"].finished:
            return found
        return None

    runs = wait_until(finished, timeout, pause=0.5)
    if runs is None:
        raise RuntimeError(f"no decision within {timeout:.0f} s")
    return runs


def import_seconds(services: Services) -> dict[str, float]:
    """Measure the imports of each task, each in its own process."""
    found = {}
    for task, statement in IMPORTS.items():
        timed = f"{FORKED}, time; t=time.perf_counter(); {statement}; print(time.perf_counter()-t)"
        done = subprocess.run(
            [sys.executable, "-c", timed], env=services.environment, capture_output=True, check=True
        )
        found[task] = float(done.stdout.split()[-1])
    return found


def steps_of(
    api: AirflowApi, runs: Mapping[str, Run], landed: datetime, imports: Mapping[str, float]
) -> list[Step]:
    """Return the tasks between landing and decision, in the order of their starts."""
    steps = []
    for name, run in runs.items():
        for task in api.tasks(run):
            if f"{name}.{task['task_id']}" in PATH and task["start_date"]:
                start, end = (
                    (datetime.fromisoformat(task[which]) - landed).total_seconds()
                    for which in ("start_date", "end_date")
                )
                steps.append(Step(task["task_id"], start, end, min(imports[task["task_id"]], end - start)))
    return sorted(steps, key=lambda step: step.start)


def summed(steps: list[Step]) -> dict[str, float]:
    """Split the time from landing to decision into orchestration, imports and work."""
    wall = steps[-1].end
    busy, reached = 0.0, 0.0
    for step in steps:
        busy += max(step.end - max(step.start, reached), 0.0)
        reached = max(reached, step.end)
    imports = sum(step.imports for step in steps)
    parts = {"wall": wall, "orchestration": wall - busy, "imports": imports, "work": busy - imports}
    return {name: round(seconds, 1) for name, seconds in parts.items()}


def draw(steps: list[Step], total: Mapping[str, float], file: Path, title: str) -> None:
    """Draw each task as a bar over time: waiting for its start, imports, work."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=110, layout="tight")
    axes = figure.subplots()
    reached = 0.0
    for row, step in enumerate(steps):
        parts = (
            (min(reached, step.start), step.start, "#d8b365", "orchestration"),
            (step.start, step.start + step.imports, "#9a9a9a", "imports"),
            (step.start + step.imports, step.end, "#1b6ca8", "work"),
        )
        for start, end, colour, label in parts:
            axes.barh(row, end - start, left=start, color=colour, label=None if row else label)
        axes.text(step.end + 0.5, row, f"{step.end - step.start:.1f} s", va="center", fontsize=8)
        reached = max(reached, step.end)
    axes.set_yticks(range(len(steps)), [step.name for step in steps])
    axes.invert_yaxis()
    axes.set(xlabel="seconds after landing", title=title, xlim=(0, 1.1 * total["wall"]))
    axes.legend(loc="lower left", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file)


def tabulated(steps: list[Step], total: Mapping[str, float]) -> Table:
    """Return the steps as a table; a step waits from the end of the steps before to its own start."""
    table = Table("task", "waited s", "imports s", "work s", "ended at s")
    reached = 0.0
    for step in steps:
        waited = max(step.start - reached, 0.0)
        work = step.end - step.start - step.imports
        table.add_row(step.name, *(f"{seconds:.1f}" for seconds in (waited, step.imports, work, step.end)))
        reached = max(reached, step.end)
    table.add_section()
    values = (total[name] for name in ("orchestration", "imports", "work", "wall"))
    table.add_row("all", *(f"{seconds:.1f}" for seconds in values))
    return table


def measured(settings: Settings, file: Path, key: str) -> tuple[list[Step], Any]:
    """Start the services, land the hour, and return the steps and the decision."""
    with running(settings) as services:
        api = AirflowApi(f"http://{HOST}:{settings.services.airflow_port}", *services.login())
        wait_until_idle(services, api)
        landed = land(file, settings, key, api)
        runs = decided(services, api, key)
        decision = api.result(runs["retrain_incremental"], "release_candidate")
        return steps_of(api, runs, landed, import_seconds(services)), decision


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--hours", type=int, default=4, help="hours before the landed one, for a champion")
    parser.add_argument("--chart", type=Path, help="a PNG file for the breakdown")
    parser.add_argument("--airflow-port", type=int, default=8187)
    parser.add_argument("--mlflow-port", type=int, default=5187)
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory(prefix="lastaisle-landing-") as folder:
        home = Path(folder)
        settings = Settings.of(
            home=home / "home",
            source=str(home / "landing" / "{hour}"),
            partition="hour",
            holdout_hours=1.0,
            settle_seconds=0.0,
            airflow_port=given.airflow_port,
            mlflow_port=given.mlflow_port,
            serve_port=0,
        )
        settings.home.mkdir(parents=True)
        began = time.perf_counter()
        files = write_hours(home, given.events, given.hours)
        *before, key = files
        first_champion(settings, {each: files[each] for each in before})
        ready = time.perf_counter() - began
        steps, decision = measured(settings, files[key], key)
    total = summed(steps)
    Console(width=110).print(tabulated(steps, total))
    title = f"{given.events:,} events landing to the gate's decision: {total['wall']:.0f} s on two cores"
    if given.chart:
        draw(steps, total, given.chart, title)
    result = {"benchmark": "landing_to_gate", "events": given.events, **total, "decision": decision}
    print(json.dumps({**result, "preparation_seconds": round(ready, 1)}))


if __name__ == "__main__":
    main()

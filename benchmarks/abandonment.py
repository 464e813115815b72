"""How long does it take from abandoned checkouts to a refreshed challenger, on a real scheduler and broker?

    python benchmarks/abandonment.py [--sessions 3000] [--chart FILE]

Airflow with LocalExecutor and SQLite, MLflow and Apache Kafka run on this machine. A champion is trained on
two simulated days. Then the next day's events up to 18 o'clock land in the topic, with abandoned checkouts
among them. The benchmark starts one run of ingestion, as the schedule would. All later steps start by
themselves. Other DAGs are paused. Prints the end of each step, in seconds after the landing; the last line is
JSON. Takes about four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lastaisle.settings import Settings
from lastaisle.simulate import DayOfLogs, ShopOptions, simulate
from lastaisle_airflow.local.airflow.api import AirflowApi, AirflowApiError, Run
from lastaisle_airflow.local.environment import HOST
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.services import Services, running

ROOT = Path(__file__).resolve().parents[1]
SOURCE, CONTROL = "clicks", "lastaisle-control"
REFRESH = "refresh_on_abandonment"
DAGS = ("ingest_sessions", "detect_abandonment", REFRESH)
HOUR = 18  # the day's events up to this hour land
WATCHED = {"group.id": "lastaisle", "enable.auto.commit": False, "auto.offset.reset": "earliest"}


def before(day: DayOfLogs, hour: int) -> list[str]:
    """Return the lines of a day that happened before an hour."""
    limit, name = f"{day.day.isoformat()}T{hour:02}", '"occurred_at":"'
    return [line for line in day.lines if line.partition(name)[2][: len(limit)] < limit]


def first_champion(settings: Settings, days: list[DayOfLogs]) -> None:
    """Ingest whole days, and train and release a first champion on them, by the pipeline's own steps."""
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.ingest.run import ingest
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.registry.registry import Registry
    from lastaisle.release.release import release_candidate
    from lastaisle.training.planning import plan_window
    from lastaisle.training.train import train_candidate

    lake, registry = Lake(settings.lake.url), Registry(settings)
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    for each in days:
        file = settings.home / f"{each.day.isoformat()}.jsonl"
        file.write_text("".join(f"{line}\n" for line in each.lines))
        end = datetime(each.day.year, each.day.month, each.day.day, tzinfo=UTC) + timedelta(days=1)
        ingest(str(file), "canonical", lake, keys, now=end)
    run_id = train_candidate(plan_window(lake, settings, end), lake, registry)
    evaluate_candidate(run_id, lake, registry)
    decision = release_candidate(run_id, lake, registry, actor="benchmark")
    assert decision.promote, decision.reasons


def produce(config: Mapping[str, Any], lines: list[str]) -> datetime:
    """Send the lines, and return the moment at which the broker had all lines."""
    from confluent_kafka import Producer

    producer = Producer({**config, "acks": "all", "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for line in lines:
        producer.produce(SOURCE, line.encode())
    assert producer.flush(60) == 0
    return datetime.now(UTC)


def made_ready(services: Services, api: AirflowApi) -> None:
    """Wait until Airflow has read the DAGs, and unpause the DAGs of this benchmark."""

    def all_read() -> bool:
        services.check()
        return set(DAGS) <= {each["dag_id"] for each in api.get("/dags", limit=100)["dags"]}

    wait_until(all_read, timeout=180)
    for name in DAGS:
        api.pause(name, paused=False)


def refreshed(services: Services, api: AirflowApi, timeout: float = 400.0) -> Run:
    """Wait for the end of the run that refreshes the champion; return the run."""

    def finished() -> Run | None:
        services.check()
        with suppress(AirflowApiError):  # while a run is queued, Airflow 3.3.2 answers with status 500
            for run in api.runs(REFRESH):
                assert run.state != "failed", api.tasks(run)
                states = {task["task_id"]: task["state"] for task in api.tasks(run)}
                if run.finished and states["release_candidate"] == "success":
                    return run
        return None

    run = wait_until(finished, timeout, pause=0.5)
    if run is None:
        raise RuntimeError(f"no refresh within {timeout:.0f} s")
    return run


def moments(settings: Settings, api: AirflowApi, run: Run) -> dict[str, datetime]:
    """Return the end of each step, by the records of Airflow, the lake and the ledger."""
    from lastaisle.lake import Lake
    from lastaisle.registry.ledger import Ledger

    lake = Lake(settings.lake.url)
    (ingested,) = api.runs("ingest_sessions")
    noticed = min(row["noticed_at"] for row in lake.scan("abandonments").to_pylist())
    events = api.get("/assets/events", limit=200, order_by="timestamp")["asset_events"]
    heard = next(each["timestamp"] for each in events if each["name"] == "abandoned_checkouts")
    ends = {task["task_id"]: task["end_date"] for task in api.tasks(run)}
    moves = {move.action: move.moved_at for move in Ledger(lake, settings.registry.model_name).moves()[-2:]}
    tasks = {task["task_id"]: task["end_date"] for task in api.tasks(ingested)}
    registered = moves.pop("register")
    (decided,) = moves.values()
    assert run.start is not None
    return {
        "ingested": datetime.fromisoformat(tasks["anonymize_shard"]),
        "noticed": noticed,
        "heard by the watcher": datetime.fromisoformat(heard),
        "run started": run.start,
        "planned": datetime.fromisoformat(ends["plan_refresh"]),
        "trained and evaluated": datetime.fromisoformat(ends["train_and_evaluate"]),
        "challenger registered": registered,
        "decided": decided,
    }


def measured(settings: Settings, config: Mapping[str, Any], lines: list[str]) -> dict[str, Any]:
    """Start the services, land the events, and return the seconds from landing to the end of each step."""
    with running(settings) as services:
        api = AirflowApi(f"http://{HOST}:{settings.services.airflow_port}", *services.login())
        made_ready(services, api)
        landed = produce(config, lines)
        api.post("/dags/ingest_sessions/dagRuns", {"logical_date": None, "conf": {}})
        run = refreshed(services, api)
        found = moments(settings, api, run)
        decision = api.result(run, "release_candidate")
    seconds = {name: round((moment - landed).total_seconds(), 1) for name, moment in found.items()}
    return {"seconds": seconds, "promoted": decision["promoted"], "reasons": decision["reasons"]}


def draw(seconds: Mapping[str, float], file: Path) -> None:
    """Draw each step as a bar that begins at the end of the step before."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), dpi=110, layout="tight")
    axes = figure.subplots()
    start = 0.0
    for row, end in enumerate(seconds.values()):
        axes.barh(row, end - start, left=start, color="#1b6ca8")
        axes.text(end + 0.5, row, f"{end:.0f} s", va="center", fontsize=8)
        start = end
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.invert_yaxis()
    axes.set(xlabel="seconds after landing", title="From abandoned checkouts to a refreshed version")
    axes.set_xlim(0, 1.1 * start)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file)


def once(sessions: int, ports: tuple[int, int]) -> dict[str, Any]:
    """Measure once, with a new folder, broker and Airflow."""
    sys.path.insert(0, str(ROOT))
    from tests.services.kafka import Broker, make_topic

    start = datetime.now(UTC).date() - timedelta(days=3)  # older events start no refresh
    *days, last = simulate(ShopOptions(start=start, days=3, sessions_per_day=sessions))
    with tempfile.TemporaryDirectory(prefix="lastaisle-abandonment-") as folder:
        home, kafka = Path(folder) / "home", Path(folder) / "kafka"
        home.mkdir()
        kafka.mkdir()
        settings = Settings.of(
            home=home,
            source=f"kafka://shop/{SOURCE}",
            control_topic=f"kafka://shop/{CONTROL}",
            drain_cron="0 0 1 1 *",  # ingestion runs when the benchmark says so
            airflow_port=ports[0],
            mlflow_port=ports[1],
            serve_port=0,
        )
        first_champion(settings, days)
        broker = Broker(kafka).start()
        try:
            for topic in (SOURCE, CONTROL):
                make_topic(broker, name=topic)
            extra = {**broker.config, **WATCHED}
            os.environ["AIRFLOW_CONN_SHOP"] = json.dumps({"conn_type": "kafka", "extra": extra})
            os.environ["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] = "True"
            return measured(settings, broker.config, before(last, HOUR))
        finally:
            broker.kill()


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=3000, help="sessions on an average day")
    parser.add_argument("--chart", type=Path, help="a PNG file")
    parser.add_argument("--airflow-port", type=int, default=8188)
    parser.add_argument("--mlflow-port", type=int, default=5188)
    given = parser.parse_args()
    found = once(given.sessions, (given.airflow_port, given.mlflow_port))
    table = Table("step", "ended after s")
    for name, seconds in found["seconds"].items():
        table.add_row(name, f"{seconds:.1f}")
    Console().print(table)
    if given.chart:
        draw(found["seconds"], given.chart)
    print(json.dumps({"benchmark": "abandonment", "sessions": given.sessions, **found}))


if __name__ == "__main__":
    main()

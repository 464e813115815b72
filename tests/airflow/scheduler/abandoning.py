"""A shop with abandoned checkouts: its sessions, its first champion, and the outcome of its runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lastaisle.lake import Lake
from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
from lastaisle_airflow.local.airflow.api import Run
from tests.services.airflow import Airflow

ITEMS = 40
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
REFRESH = "refresh_on_abandonment"


def session(name: str, begin: datetime, *ending: str) -> list[bytes]:
    """Return the events of a session in which each item determines the next item."""
    item = sum(name.encode()) % ITEMS
    rows = []
    for step, kind in enumerate(["item_viewed"] * 5 + list(ending)):
        rows.append(
            {
                "event_id": f"{name}-{step}",
                "event_type": kind,
                "occurred_at": (begin + timedelta(seconds=20 * step)).isoformat(),
                "user_id": f"user-{name}",
                "session_id": name,
                "consent": {"analytics": True, "personalization": True},
            }
            | ({"item_id": f"item-{item}"} if kind == "item_viewed" else {})
        )
        item = (3 * item + 1) % ITEMS
    return [json.dumps(row).encode() for row in rows]


def left_session(name: str, number: int) -> list[bytes]:
    """Return the events of a session that left its checkout a few minutes ago."""
    begin = NOW - timedelta(minutes=10) + timedelta(seconds=number)
    return session(name, begin, "checkout_started", "checkout_abandoned")


def first_champion(settings: Settings) -> None:
    """Ingest two days, train on them, and release the result, with the pipeline's functions."""
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.ingest.run import ingest
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.release.release import release_candidate
    from lastaisle.training.planning import plan_window
    from lastaisle.training.train import train_candidate

    lake, registry = Lake(settings.lake.url), Registry(settings)
    begin, end = NOW - timedelta(hours=47), NOW - timedelta(minutes=30)
    times = [begin + (end - begin) * number / 900 for number in range(900)]
    lines = [line for number, at in enumerate(times) for line in session(f"past-{number}", at)]
    history = settings.home / "history.jsonl"
    history.write_bytes(b"\n".join(lines) + b"\n")
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    ingest(str(history), "canonical", lake, keys, now=NOW)
    run_id = train_candidate(plan_window(lake, settings, end), lake, registry)
    evaluate_candidate(run_id, lake, registry)
    assert release_candidate(run_id, lake, registry, actor="test").promote


def over(airflow: Airflow, dag_id: str, count: int) -> list[Run]:
    """Wait until a DAG has at least `count` runs and all are over; return the runs."""

    def finished_runs() -> list[Run] | None:
        runs = airflow.api.runs(dag_id)
        return runs if len(runs) >= count and all(run.finished for run in runs) else None

    runs: list[Run] = airflow.wait_for(f"{count} runs of {dag_id}", finished_runs, timeout=300)
    return runs


def trained(airflow: Airflow, runs: Sequence[Run]) -> list[Run]:
    """Return the runs that trained a model."""
    return [run for run in runs if airflow.states(run).get("train_and_evaluate") == ["success"]]


def misses(airflow: Airflow) -> list[str]:
    """Return the reports of missed deadlines."""
    folder = airflow.home / "airflow" / "logs" / "executor_callbacks"
    texts = [log.read_text(errors="replace") for log in folder.rglob("*") if log.is_file()]
    return [line for text in texts for line in text.splitlines() if "missed its deadline" in line]

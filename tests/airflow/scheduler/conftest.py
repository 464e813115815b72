"""The Airflows that the test files of this folder share, one file after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.airflow.scheduler.topics import CLICKS, CONTROL, FEEDBACK
from tests.services.airflow import Airflow, running_airflow
from tests.services.kafka import make_topic


@pytest.fixture(scope="session")
def hourly_airflow(tmp_path_factory) -> Iterator[Airflow]:
    """An Airflow that ingests hours of files, learns days by counting, and gives a refresh three seconds."""
    home = tmp_path_factory.mktemp("hourly")
    given = {
        "LASTAISLE_PARTITION": "hour",
        "LASTAISLE_LEARN_EVERY": "day",
        "LASTAISLE_ARCHITECTURE": "cooccurrence",
        "LASTAISLE_SETTLE_SECONDS": "0",
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SOURCE": str(home / "landing" / "{hour}"),
        "LASTAISLE_REFRESH_DEADLINE_MINUTES": "0.05",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
    }
    retry_soon(home / "airflow")
    with running_airflow(home, (), **given) as started:
        yield started


def retry_soon(airflow_home: Path) -> None:
    """Let tasks be tried again after one second and after three, so that a test need not wait minutes."""
    policy = airflow_home / "config" / "airflow_local_settings.py"
    policy.parent.mkdir(parents=True)
    policy.write_text(
        "from datetime import timedelta\n\n\n"
        "def task_policy(task):\n"
        "    task.retry_delay = timedelta(seconds=1)\n"
    )


@pytest.fixture(scope="session")
def kafka_airflow(broker, tmp_path_factory) -> Iterator[Airflow]:
    """An Airflow that drains a topic into hours, with two shards, and watches a control topic."""
    for topic in (CLICKS, CONTROL, FEEDBACK):
        make_topic(broker, name=topic)
    just_over = datetime.now(UTC) - timedelta(minutes=3)  # the clock starts one run, and no other run today
    watched = {"group.id": "lastaisle", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    given = {
        "LASTAISLE_ARCHITECTURE": "cooccurrence",
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SOURCE": f"kafka://shop/{CLICKS}",
        "LASTAISLE_CONTROL_TOPIC": f"kafka://shop/{CONTROL}",
        "LASTAISLE_EXPOSURES": f"kafka://shop/{FEEDBACK}",
        "LASTAISLE_RUN_ROWS": "300",
        "LASTAISLE_BATCH_ROWS": "100",
        "LASTAISLE_SHARDS": "2",
        "LASTAISLE_PARTITION": "hour",
        "LASTAISLE_LATENESS_MINUTES": "30",
        "LASTAISLE_DRAIN_CRON": f"{just_over:%M %H} * * *",
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "kafka", "extra": broker.config | watched}),
    }
    with running_airflow(tmp_path_factory.mktemp("kafka-airflow"), (), **given) as started:
        yield started

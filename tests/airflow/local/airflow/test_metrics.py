"""Airflow's own metrics reach the collector that LASTAISLE_OTLP names."""

import subprocess
import sys

import pytest

from tests.services.airflow import environment_of
from tests.services.otlp import receiving
from tests.services.required import starts_service

pytestmark = pytest.mark.service

#: The scheduler begins so. A process sends its last metrics when it ends.
_COUNTS = """
from airflow.observability import stats
from airflow.observability.metrics import stats_utils

stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
stats.incr("scheduler_heartbeat", 3)
"""


def test_a_process_of_airflow_sends_its_metrics(tmp_path):
    starts_service("a process of Airflow")
    with receiving() as (address, received):
        environ = environment_of(tmp_path, LASTAISLE_OTLP=address)
        ended = subprocess.run(
            [sys.executable, "-c", _COUNTS], env=environ, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 0, ended.stderr
    sent = {
        metric.name: metric.sum.data_points[0].as_int
        for path, request in received
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if path == "/v1/metrics"
    }
    assert sent["airflow.scheduler_heartbeat"] == 3

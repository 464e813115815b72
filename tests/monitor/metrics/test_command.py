"""The command that exports the metrics, as a process of its own, and the collector that it sends to."""

import os
import re
import subprocess
import sys

import httpx
import pytest

from tests.services.otlp import receiving
from tests.services.required import starts_service
from tests.services.waiting import wait_until

pytestmark = pytest.mark.service


def test_the_command_serves_the_metrics_and_sends_them_once_more_when_it_ends(tmp_path):
    starts_service("the export of metrics")
    log = tmp_path / "log"
    environ = {**os.environ, "LASTAISLE_HOME": str(tmp_path), "LASTAISLE_METRICS_KEYS": "a key"}
    environ["LASTAISLE_METRICS_SECONDS"] = "3600"  # what is sent is sent at the end
    with receiving() as (address, received):
        command = [sys.executable, "-m", "lastaisle.cli", "export-metrics", "--port", "0", "--otlp", address]
        _read_and_end(command, environ, log)
    assert any(path == "/v1/metrics" for path, _ in received), log.read_text()


def _read_and_end(command, environ, log):
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
    try:
        (url,) = wait_until(
            "the address", lambda: re.findall(r"are at (http://127\.0\.0\.1:\d+/metrics)", log.read_text())
        )
        assert httpx.get(url).status_code == 401
        read = wait_until(
            "all parts", lambda: _all_up(httpx.get(url, headers={"Authorization": "Bearer a key"}).text)
        )
        assert "# TYPE lastaisle_shop_ctr_ratio gauge" in read
    finally:
        process.terminate()
        process.wait(20)


def _all_up(text):
    """Return the text if each part was read."""
    parts = re.findall(r"^lastaisle_up\{.*\} ([01])\.0$", text, re.MULTILINE)
    return text if parts and "0" not in parts else None

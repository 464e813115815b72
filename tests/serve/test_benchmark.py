"""The benchmark of the service runs, against a real service and a real MLflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT
from tests.services.required import require_service, starts_service

pytestmark = [pytest.mark.service, pytest.mark.training]

SCRIPT = ROOT / "benchmarks" / "serving.py"


@pytest.mark.parametrize(
    ("options", "path", "swaps"),
    [(["--shadow", "1"], "/v1/recommendations", [0, 2, 0]), (["--feedback"], "/v1/feedback", [0])],
    ids=["lists", "feedback"],
)
def test_the_benchmark_prints_one_line_a_setting(monkeypatch, options, path, swaps):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import serving

    try:
        serving.find_vegeta()
    except SystemExit as missing:
        require_service(str(missing))
    starts_service("the service")
    command = [sys.executable, str(SCRIPT), "--quick", "--model", "cooccurrence", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {line["path"] for line in lines} == {path}
    assert [(line["items"], line["rate"], line["failed"], line["swaps"]) for line in lines] == [
        (100, 50, 0, number) for number in swaps
    ]
    assert all(0 < line["p50_ms"] <= line["p90_ms"] <= line["p99_ms"] for line in lines)
    assert all(line["achieved"] >= 45 for line in lines)


def test_a_missing_load_generator_is_named_with_its_installation(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import serving

    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(SystemExit, match=r"go install github\.com/tsenart/vegeta/v12@"):
        serving.find_vegeta()

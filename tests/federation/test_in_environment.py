"""What imports Flower is checked in the environment of Flower, in one process."""

import os
import subprocess
from pathlib import Path

import pytest

from lastaisle.environments.environment import python_of
from lastaisle.federation.processes import ROOT
from tests.federation.checks import CHECKS
from tests.services.silos import ENVIRONMENTS

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def checked():
    """Run all checks; return what the process printed."""
    python = python_of("federated", ENVIRONMENTS)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
    environ |= {"FLWR_TELEMETRY_ENABLED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    file = Path(__file__).with_name("checks.py")
    return subprocess.run([python, str(file)], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_environment_of_flower(checked, name):
    assert name in checked.stdout.split(), checked.stderr[-3000:]

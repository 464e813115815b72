"""Opening the dashboard loads nothing heavy: Airflow's API server shows it, too."""

import subprocess
import sys

HEAVY = ("tensorflow", "keras", "mlflow", "great_expectations", "matplotlib")


def test_the_pages_load_neither_tensorflow_nor_mlflow():
    script = f"import sys, lastaisle.dashboard.app; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

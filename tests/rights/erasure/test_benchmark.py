import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "erasure.py"


def test_the_benchmark_erases_and_proves_it() -> None:
    options = ["--events", "20000", "--subjects", "4000", "--erase", "1", "20"]
    ran = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=True)
    one, many = json.loads(ran.stdout.splitlines()[-1])["runs"]
    assert (one["subjects"], many["subjects"]) == (1, 20)
    for run in (one, many):
        assert run["events"] == 20_000
        assert run["found"] == 0
        assert run["rows"] >= run["subjects"]
        assert run["files_scanned"] > 40

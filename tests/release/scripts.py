"""Scripts that tests start in processes of their own, and processes that such scripts fork."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def told_by(module, folder):
    """Run a script of the tests on a folder, and return the lines of JSON that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "LASTAISLE_GIT_REVISION": "test"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def fork(work):
    """Run a function in a forked process, and return the id of the process."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def forked(work):
    """Run a function in a forked process, and return the exit status of the process."""
    return os.waitpid(fork(work), 0)[1]

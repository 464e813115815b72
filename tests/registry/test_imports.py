"""What the registry loads: a process that packs no model needs no TensorFlow, which costs seconds."""

import subprocess
import sys

PROGRAM = """
import sys
import lastaisle.registry.registry
import lastaisle.release.release
import lastaisle.release.rollback
import lastaisle.rights.models
sys.exit(sorted({"tensorflow", "keras"} & sys.modules.keys()) or None)
"""


def test_to_open_the_registry_to_release_and_to_roll_back_loads_no_tensorflow():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr

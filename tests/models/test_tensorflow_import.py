"""TensorFlow writes nothing to the error stream while it loads, and errors of other code stay there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.error_stream import without_notes

ROOT = Path(__file__).resolve().parents[2]
LOADED = """
import sys
from models.tensorflow_import import tf
print("an error of the task", file=sys.stderr)
print(int(tf.constant(3)))
"""


@pytest.mark.training
def test_loading_writes_no_note_to_the_error_stream():
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ended = subprocess.run(
        [sys.executable, "-c", LOADED],
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("3\n", "an error of the task\n")


def test_only_notes_and_warnings_of_c_code_are_held_back(capfd):
    with pytest.raises(ImportError), without_notes():
        os.write(
            2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        )
        os.write(2, b"I0000 00:00:1795637647.101011   12611 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"E0000 00:00:1795637647.101011   12611 cuda.cc:3] no device\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"a word of Python\n")
        raise ImportError
    assert capfd.readouterr().err == (
        "E0000 00:00:1795637647.101011   12611 cuda.cc:3] no device\na word of Python\n"
    )


def test_models_load_tensorflow_in_one_place():
    alone = {"tensorflow_import.py"}
    direct = [
        str(path.relative_to(ROOT))
        for floor in ("models", "plugins")
        for path in (ROOT / floor).rglob("*.py")
        if path.name not in alone and re.search(r"^\s*(import|from) tensorflow\b", path.read_text(), re.M)
    ]
    assert direct == []

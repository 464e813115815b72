import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from models.by_name import create
from models.options import TrainingOptions
from tests.models.toys import rings

pytestmark = pytest.mark.training

OPTIONS = TrainingOptions(
    embedding_size=8, epochs=2, batch_size=64, negatives=20, learning_rate=0.02, max_length=8, dropout=0.0
)
WORKER = """
import sys
import numpy as np
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
from models.sequential.distributed import distribute
from models.by_name import create
from tests.models.sequential.test_distributed import OPTIONS
from tests.models.toys import rings
model = create("attention", OPTIONS)
distribute(model, strategy)
report = model.fit(rings(60, 1))
np.savez(sys.argv[1], losses=report.losses, **model.arrays())
"""


def free_ports(n):
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def test_two_workers_learn_the_same_as_one_worker(tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    started = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", WORKER, str(tmp_path / f"{index}.npz")]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        errors = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(one[-2000:] for one in errors)
    one, other = (dict(np.load(tmp_path / f"{index}.npz")) for index in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
    alone = create("attention", OPTIONS)
    report = alone.fit(rings(60, 1))
    np.testing.assert_allclose(one["losses"], report.losses, rtol=1e-3)
    np.testing.assert_allclose(one["table"], alone.arrays()["table"], atol=0.02)
    assert one["adam/steps"] == alone.arrays()["adam/steps"] == report.steps

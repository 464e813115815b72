"""Do two workers learn as well as one worker? Two processes on this machine train one model on the same log.

The argument is a file of sessions (one session of item ids per line, in time order). Its first nine tenths
train, the last tenth tests. Without an argument the sessions are artificial. One worker and two workers train
the same model, and the script prints recall@20 with a bootstrap interval over sessions for each. Takes a
minute on artificial sessions.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

WORKERS, RESAMPLES = 2, 500


def split(source: str) -> tuple[Any, Any]:
    """Return the training sessions and the test sessions."""
    from lastaisle.evaluation.benchmark import read_sessions

    if source:
        log = read_sessions(source)
    else:
        sys.path.insert(0, str(Path(__file__).parent))
        from scaling import sessions_of

        log = sessions_of(2_000, 10_000)
    cut = len(log) * 9 // 10
    return log.select(slice(0, cut)), log.select(slice(cut, None))


def work(source: str, output: str) -> None:
    """Train as one of the workers that TF_CONFIG names, or alone. The first worker writes its figures."""
    import tensorflow as tf

    # This comes before any other use of TensorFlow, because it sets up the workers' connections.
    shared = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if shared else None
    from models.by_name import create
    from models.data.sequences import next_item_examples
    from models.evaluation.ranking import rank_targets
    from models.sequential.base import SequenceModel
    from models.sequential.distributed import distribute

    train, test = split(source)
    model = create("attention")
    assert isinstance(model, SequenceModel)
    if strategy:
        distribute(model, strategy)
    report = model.fit(train)
    if strategy and strategy.cluster_resolver.task_id:
        return
    ranking = rank_targets(model, next_item_examples(test))
    hits = (ranking.ranks > 0) & (ranking.ranks <= 20)
    low, high = interval(hits, ranking.unit)
    found = {"recall@20": float(hits.mean()), "low": low, "high": high, "train_seconds": report.seconds}
    Path(output).write_text(json.dumps(found), encoding="utf-8")


def interval(hits: np.ndarray, unit: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean hit; shoppers or sessions are resampled."""
    _, place = np.unique(unit, return_inverse=True)
    sums, counts = np.bincount(place, hits), np.bincount(place)
    drawn = np.random.default_rng(1).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def train_on(n_workers: int, source: str) -> dict[str, float]:
    """Start the workers, wait for them, and return the figures of the first worker.

    Raises:
        SystemExit: a worker failed; its output says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "found.json")
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_workers)]
        addresses = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
        for probe in probes:
            probe.close()
        started = []
        for index in range(n_workers):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(task)} if n_workers > 1 else None
            command = [sys.executable, __file__, "work", source, output]
            started.append(subprocess.Popen(command, env=environment))
        codes = [process.wait() for process in started]
        if any(codes):
            raise SystemExit("a worker failed; see above")
        found: dict[str, float] = json.loads(Path(output).read_text(encoding="utf-8"))
        return found


def main() -> None:
    """Train with one worker and with two workers, and print the figures of both."""
    source = sys.argv[1] if len(sys.argv) > 1 else ""
    table = Table("workers", "recall@20", "95 % interval", "train s")
    for n_workers in (1, WORKERS):
        found = train_on(n_workers, source)
        print(json.dumps({"workers": n_workers, **found}), flush=True)
        bounds = f"{found['low']:.4f} to {found['high']:.4f}"
        table.add_row(str(n_workers), f"{found['recall@20']:.4f}", bounds, f"{found['train_seconds']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:4])
    else:
        main()

"""What does a service pay for a packed model, as it is served and as a SavedModel of TensorFlow?

Three kinds answer the same sessions, each in a fresh process:

- light: `CheckoutModel` of the packed files, without MLflow;
- pyfunc: the registered model, loaded by MLflow;
- savedmodel: the same scorer as a SavedModel, called by TensorFlow, for the comparison.

The arguments are the numbers of items (default: 3000 and 43000). The `attention` model is trained for one
pass over made-up sessions, since only the sizes matter. Each kind runs in an environment of its requirements
alone. `--no-environment` runs all in this environment, and leaves out the sizes. `load_seconds` counts the
imports, the load and the first answer, when the files have been read before. `model_mib` counts all files of
the model, and `peak_rss_mib` (Linux) the process after the hundred rows. `sessions_per_second` counts the
sessions that one thread answers in calls of so many sessions; `light` answers them by `recommend_all`.
`largest_difference` is between an answered score and the trained model's. Takes about four minutes on two
cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from models.recommender import Recommender

KINDS = ("light", "pyfunc", "savedmodel")
SIZES = (3_000, 43_000)
SESSIONS = 20_000
TARGETS = {
    "environment_mib": 430,
    "load_seconds": 2.0,
    "p50_ms": {3_000: 0.5, 43_000: 1.0},
    "hundred_rows_ms": {3_000: 20.0, 43_000: 20.0},
    "peak_rss_mib": {3_000: 200, 43_000: 200},
}
"""The most that `light` and `pyfunc` may need. 450 MB are 430 MiB. `p50_ms` is that of `light`."""
FIGURES = ("environment_mib", "model_mib", "load_seconds", "p50_ms", "hundred_rows_ms", "peak_rss_mib")
BATCHES = (1, 4, 8, 16, 32)
PACKAGES = {
    "light": ("ai-edge-litert", "numpy"),
    "pyfunc": ("ai-edge-litert", "mlflow-skinny", "numpy", "pandas"),
    "savedmodel": ("mlflow", "numpy", "pandas", "tensorflow"),
}
"""What a service installs for each kind, with the versions of this environment."""

SERVICE = """
import json, statistics, sys, time
began = time.perf_counter()
kind, folder, requests = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
K = 20

def light():
    sys.path.insert(0, folder)
    from checkout_model import CheckoutModel
    model = CheckoutModel(folder)
    return lambda sessions: model.recommend_all([(session, None) for session in sessions], k=K)

def pyfunc():
    import mlflow.pyfunc, pandas as pd
    model = mlflow.pyfunc.load_model(folder)
    def ask(sessions):
        answer = model.predict(pd.DataFrame({"items": sessions}), params={"k": K})
        return list(zip(answer["items"], answer["scores"]))
    return ask

def savedmodel():
    import numpy as np, tensorflow as tf
    score = tf.saved_model.load(folder)
    items = ["", *json.load(open(folder + "/vocabulary.json"))["items"]]
    index = {item: row for row, item in enumerate(items) if row}
    def ask(sessions):
        longest = max(map(len, sessions))
        rows = np.zeros((len(sessions), longest), np.int32)
        for row, session in zip(rows, sessions):
            row[longest - len(session):] = [index[item] for item in session]
        scores = score.score(tf.constant(rows)).numpy()
        scores[:, 0] = -np.inf
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), 1), 1)
        return [([items[i] for i in ids], row[ids].tolist()) for ids, row in zip(best, scores)]
    return ask

ask = {"light": light, "pyfunc": pyfunc, "savedmodel": savedmodel}[kind]()
ask(requests[:1])
load_seconds = time.perf_counter() - began

def median_ms(batches):
    taken = []
    for batch in batches:
        start = time.perf_counter()
        ask(batch)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)

p50_ms = median_ms([[session] for session in requests] * 3)
hundred_rows_ms = median_ms([requests[:100]] * 50)
sessions_per_second = {}
for size in json.loads(sys.argv[4]):
    batches = [requests[at : at + size] for at in range(0, len(requests) - size + 1, size)]
    sessions_per_second[size] = round(1000 * size / median_ms(batches * 2))
status = open("/proc/self/status") if sys.platform == "linux" else []
peak = [line for line in status if line.startswith("VmHWM")]
print(json.dumps({
    "load_seconds": load_seconds, "p50_ms": p50_ms, "hundred_rows_ms": hundred_rows_ms,
    "sessions_per_second": sessions_per_second,
    "peak_rss_mib": int(peak[0].split()[1]) / 1024 if peak else None, "answers": ask(requests),
}))
"""
"""What each process runs. It imports nothing of this project."""


def trained(n_items: int) -> Recommender:
    """Return an `attention` model of this many items, trained for one pass."""
    from models.by_name import create
    from models.options import TrainingOptions
    from scaling import sessions_of

    model = create("attention", TrainingOptions(epochs=1, half_life=None))
    model.fit(sessions_of(n_items, SESSIONS))
    return model


def write(model: Recommender, folder: Path) -> dict[str, Path]:
    """Write the model as each kind, and return the folders."""
    import mlflow

    from models.serving.export import package
    from models.tensorflow_import import tf

    folders = {kind: folder / kind for kind in KINDS}
    mlflow.pyfunc.save_model(str(folders["pyfunc"]), **package(model, folder / "files"))
    folders["light"] = folder / "files" / "light"
    scorer = model.scorer()
    tf.saved_model.save(scorer, str(folders["savedmodel"]), signatures={"score": scorer.score})
    model.vocabulary.save(folders["savedmodel"] / "vocabulary.json")
    return folders


def environment(kind: str, folder: Path) -> Path:
    """Make an environment with the packages that a kind needs, and return its Python."""
    tensorflow = packages_distributions()["tensorflow"][0]  # a smaller build on some platforms
    names = [tensorflow if name == "tensorflow" else name for name in PACKAGES[kind]]
    pins = [f"{name}=={version(name)}" for name in names]
    python, uv = folder / "bin" / "python", [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    subprocess.run([*install, *pins], check=True)
    return python


def mib(folder: Path) -> float:
    """Return the size of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def measure(kind: str, python: Path, folder: Path, requests: Path) -> dict[str, Any]:
    """Run a kind in a fresh process, after one run that fills the caches of the files."""
    command = [str(python), "-c", SERVICE, kind, str(folder), str(requests), json.dumps(BATCHES)]
    for _ in range(2):
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def largest_difference(answers: list[Any], model: Recommender, sessions: list[list[str]]) -> float:
    """Return the largest difference of an answered score from the score that the trained model gives."""
    largest = 0.0
    for (items, scores), session in zip(answers, sessions, strict=True):
        theirs = model.scores(model.vocabulary.encode(session)[None].astype(np.int32))[0]
        largest = max(largest, float(np.abs(theirs[model.vocabulary.encode(items)] - scores).max()))
    return largest


def measured(n_items: int, pythons: dict[str, Path], sizes: dict[str, float]) -> list[dict[str, Any]]:
    """Return the figures of each kind for a catalogue of this size."""
    model = trained(n_items)
    generator = np.random.default_rng(3)
    lengths = generator.integers(1, 10, 200)
    requests = [[f"i{item}" for item in generator.integers(0, n_items, length)] for length in lengths]
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = write(model, folder)
        asked = folder / "requests.json"
        asked.write_text(json.dumps(requests))
        for kind in KINDS:
            found = measure(kind, pythons[kind], folders[kind], asked)
            answers = found.pop("answers")
            by_batch = found.pop("sessions_per_second")
            found = {name: value and round(value, 3) for name, value in found.items()}
            results.append(
                {
                    "kind": kind,
                    "items": n_items,
                    "environment_mib": sizes.get(kind),
                    "model_mib": round(mib(folders[kind]), 2),
                    **found,
                    "sessions_per_second": by_batch,
                    "largest_difference": largest_difference(answers, model, requests),
                }
            )
    return results


def missed(result: dict[str, Any]) -> list[str]:
    """Return the targets that a result misses, with its figures."""
    found = []
    for name, most in TARGETS.items():
        limit = most.get(result["items"]) if isinstance(most, dict) else most
        ours = result["kind"] == "light" or (result["kind"] == "pyfunc" and name != "p50_ms")
        if ours and limit is not None and (result[name] or 0) > limit:
            found.append(f"{result['kind']}, {result['items']:,} items: {name} {result[name]} > {limit}")
    return found


def main() -> None:
    """Measure every kind, and print each as JSON and all as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--no-environment", action="store_true")
    asked = parser.parse_args()
    pythons, sizes = dict.fromkeys(KINDS, Path(sys.executable)), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        if not asked.no_environment:
            for kind in KINDS:
                pythons[kind] = environment(kind, Path(folder) / kind)
                sizes[kind] = round(mib(Path(folder) / kind), 1)
        by_batch = [f"{size} at once" for size in BATCHES]
        table = Table(
            "kind",
            "items",
            *FIGURES,
            *by_batch,
            "difference",
            title='"at once": sessions per second, so many in a call',
        )
        problems = []
        for n_items in asked.items:
            for result in measured(n_items, pythons, sizes):
                print(json.dumps(result), flush=True)
                figures = ("" if result[name] is None else f"{result[name]:,.2f}" for name in FIGURES)
                difference = f"{result['largest_difference']:.0e}"
                rates = (f"{rate:,}" for rate in result["sessions_per_second"].values())
                table.add_row(result["kind"], f"{result['items']:,}", *figures, *rates, difference)
                problems += missed(result)
    Console(width=160).print(table)
    for problem in problems:
        print(f"missed: {problem}")


if __name__ == "__main__":
    main()

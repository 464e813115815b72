"""How does the cost grow with the catalogue and with the sessions, each from 10 thousand to 1 million?

The sessions are artificial: the popularity follows Zipf's law, and the next item is mostly near the item
before. For every point the script trains one epoch of the default model, ranks 1,000 targets among all items,
and serves the exported model, one session at a time. Training and serving run in separate processes, so that
each has its own peak memory. All points take about half an hour on two cores. SIZES as arguments choose
fewer:

    python benchmarks/scaling.py [--models attention neighbours] [--chart FILE.png] [10000 100000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lastaisle.telemetry.memory import peak_rss_mib

if TYPE_CHECKING:
    from models.data.sequences import SessionLog

SIZES = (10_000, 100_000, 1_000_000)
FIXED = 100_000  # items while sessions grow, and sessions while items grow
PREDICTIONS, REQUESTS = 1_000, 50
COLUMNS = (
    "train_seconds",
    "targets_per_second",
    "predictions_per_second",
    "train_rss_mib",
    "serve_ms",
    "serve_rss_mib",
)


def sessions_of(n_items: int, n_sessions: int, seed: int = 1) -> SessionLog:
    """Make sessions of two to ten items. Every item occurs: items never drawn get sessions of one item.

    The sessions of one item come first. They have no target.
    """
    from models.data.sequences import SessionLog

    generator = np.random.default_rng(seed)
    popularity = np.cumsum(1.0 / np.arange(1, n_items + 1))
    place_of_rank = generator.permutation(n_items)

    def draw(size: int) -> np.ndarray:
        drawn = np.searchsorted(popularity, generator.random(size) * popularity[-1], side="right")
        return place_of_rank[np.minimum(drawn, n_items - 1)]

    steps = np.empty((n_sessions, 10), np.int32)
    steps[:, 0] = draw(n_sessions)
    for position in range(1, steps.shape[1]):
        near = (steps[:, position - 1] + generator.integers(1, 4, n_sessions)) % n_items
        steps[:, position] = np.where(generator.random(n_sessions) < 0.8, near, draw(n_sessions))
    lengths = np.minimum(1 + generator.geometric(0.35, n_sessions), steps.shape[1])
    events = steps[np.arange(steps.shape[1]) < lengths[:, None]]
    never = np.setdiff1d(np.arange(n_items, dtype=np.int32), events)
    lengths = np.concatenate([np.ones(len(never), np.int64), lengths])
    return SessionLog(
        np.concatenate([never, events]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.array([f"i{item}" for item in range(n_items)], dtype=object),
        np.arange(len(lengths), dtype=np.float64),
    )


def train(model: str, n_items: int, n_sessions: int, folder: Path) -> dict[str, float]:
    """Train one epoch, rank the targets, and export the model into the folder."""
    from models.by_name import create
    from models.data.sequences import next_item_examples
    from models.evaluation.ranking import rank_targets, summarize
    from models.options import TrainingOptions
    from models.serving.export import export_artifact

    log = sessions_of(n_items, n_sessions)
    recommender = create(model, TrainingOptions(epochs=1, half_life=None))
    report = recommender.fit(log)
    examples = next_item_examples(sessions_of(n_items, PREDICTIONS, seed=2))
    examples = examples.select(slice(0, PREDICTIONS))
    began = perf_counter()
    ranking = rank_targets(recommender, examples)
    rate = len(examples) / (perf_counter() - began)
    export_artifact(recommender, folder)
    return {
        "items": report.items,
        "targets": report.targets,
        "train_seconds": report.seconds,
        "targets_per_second": report.targets_per_second,
        "predictions_per_second": rate,
        "hit_rate@20": summarize(ranking)["hit_rate@20"],
        "train_rss_mib": peak_rss_mib(),
    }


def serve(folder: Path) -> dict[str, float]:
    """Answer single sessions with the model that `train` exported; return the median time of an answer."""
    from models.checkout_model import CheckoutModel

    model = CheckoutModel(folder / "light")
    seconds = []
    for request in range(REQUESTS):
        began = perf_counter()
        model.recommend([f"i{request}", f"i{request + 1}", f"i{request + 3}"])
        seconds.append(perf_counter() - began)
    return {"serve_ms": 1000 * median(seconds[5:]), "serve_rss_mib": peak_rss_mib()}


def measure(model: str, n_items: int, n_sessions: int) -> dict[str, Any]:
    """Return one point; training and serving run in separate processes."""
    point: dict[str, Any] = {"model": model, "items": n_items, "sessions": n_sessions}
    with tempfile.TemporaryDirectory() as folder:
        for what in (["train", model, str(n_items), str(n_sessions), folder], ["serve", folder]):
            command = [sys.executable, __file__, *what]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            point |= json.loads(done.stdout.splitlines()[-1])
    return point


def growth(points: list[dict[str, Any]], what: str) -> str:
    """Return a sentence on how the cost grows from the fewest items, or sessions, to the most."""
    fixed = {"items": "sessions", "sessions": "items"}[what]
    found = sorted((point for point in points if point[fixed] == FIXED), key=lambda point: point[what])
    first, last = found[0], found[-1]
    train, memory, answer = (
        f"{last[name] / first[name]:.1f} times" for name in ("train_seconds", "train_rss_mib", "serve_ms")
    )
    return (
        f"From {first[what]:,} to {last[what]:,} {what}, an epoch takes {train} as long and {memory} "
        f"the memory, and an answer {answer} as long."
    )


def draw(points: dict[tuple[str, int, int], dict[str, Any]], file: Path) -> None:
    """Draw time, memory and latency: over items on the left, over sessions on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), dpi=100, layout="constrained")
    rows = {
        "train_seconds": "train one epoch, s",
        "predictions_per_second": "predictions ranked a second",
        "serve_ms": "serve one session, ms",
        "train_rss_mib": "peak memory, training, MiB",
    }
    panels = figure.subplots(len(rows), 2, sharex="col", sharey="row")
    for line, (name, label) in enumerate(rows.items()):
        for axes, what, fixed in zip(panels[line], ("items", "sessions"), ("sessions", "items"), strict=True):
            for model in dict.fromkeys(model for model, _, _ in points):
                found = [p for (m, *_), p in points.items() if m == model and p[fixed] == FIXED]
                found.sort(key=lambda point: point[what])
                axes.plot([p[what] for p in found], [p[name] for p in found], marker="o", label=model)
            axes.set(xscale="log", yscale="log")
            axes.grid(alpha=0.3)
        panels[line][0].set_ylabel(label)
    panels[0][0].set_title(f"items grow, {FIXED:,} sessions")
    panels[0][1].set_title(f"sessions grow, {FIXED:,} items")
    panels[-1][0].set_xlabel("items")
    panels[-1][1].set_xlabel("sessions")
    panels[0][0].legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def main() -> None:
    """Measure every point, print each as JSON and all as a table, and draw the chart on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--models", nargs="+", default=["attention"])
    parser.add_argument("--chart", type=Path)
    asked = parser.parse_args()
    table = Table(
        *[
            "model",
            "items",
            "sessions",
            "train_s",
            "targets/s",
            "predictions/s",
            "MiB",
            "serve_ms",
            "serve_MiB",
        ]
    )
    points = {}
    for model in asked.models:
        for n_items, n_sessions in dict.fromkeys(
            [*((size, FIXED) for size in asked.sizes), *((FIXED, size) for size in asked.sizes)]
        ):
            point = points[model, n_items, n_sessions] = measure(model, n_items, n_sessions)
            print(json.dumps(point), flush=True)
            table.add_row(
                model, f"{n_items:,}", f"{n_sessions:,}", *(f"{point[name]:,.1f}" for name in COLUMNS)
            )
    Console(width=120).print(table)
    for what in ("items", "sessions"):
        print(growth([point for point in points.values() if point["model"] == asked.models[0]], what))
    if asked.chart:
        draw(points, asked.chart)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        print(json.dumps(train(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))))
    elif sys.argv[1:2] == ["serve"]:
        print(json.dumps(serve(Path(sys.argv[2]))))
    else:
        main()

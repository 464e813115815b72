"""The objectives next item, next in the cart and next bought: the gain on their own targets, and the cost.

    python benchmarks/objectives.py

The attention model learns six days of the simulated shop, once for each choice of objectives. Then it ranks
every target of the seventh day among all items. Shoppers of the simulated shop put viewed items into the cart
by chance, so these targets do not differ from other targets. The figures thus show the loss from learning
with few targets, and the cost of weights. Weights gain where shoppers only view some items: see
tests/models/evaluation/test_objectives.py. Takes about two minutes on two cores. Prints a JSON line per
model, and then a table.
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.sessions.windows import Window, evaluation_sessions, training_sessions
from lastaisle.simulate import ShopOptions, write_logs

if TYPE_CHECKING:
    from models.data.sequences import Examples, SessionLog
    from models.recommender import Recommender

SHOP = ShopOptions(days=7)
TRAINED_FOR = {
    "next item": {},
    "cart or purchase": {"objective_view": 0.0},
    "purchase": {"objective_view": 0.0, "objective_cart": 0.0},
    "multi-task 1, 3, 5": {"objective_cart": 3.0, "objective_purchase": 5.0},
}
METRICS = ("recall@20", "mrr@20")


def sessions(home: Path) -> tuple[SessionLog, SessionLog]:
    """Simulate a shop, ingest its logs, and return the training sessions and the evaluation sessions."""
    logs = write_logs(home / "logs", SHOP)
    lake, keys = Lake(str(home / "lake")), PseudonymKeys.load_or_create(home / "keys.json", environ={})
    for file in logs.files:
        ingest(file, "canonical", lake, keys)
    start = datetime.combine(SHOP.start, time(), UTC)
    cut, end = start + timedelta(days=SHOP.days - 1), start + timedelta(days=SHOP.days)
    read = training_sessions(lake, Window(start, cut, half_life_hours=24), end, None)
    return read.log, evaluation_sessions(lake, cut, end, None).log


def measure(model: Recommender, examples: Examples) -> dict[str, dict[str, float]]:
    """Return the metrics on each objective's targets, and the number of targets."""
    from models.evaluation.objectives import objectives_of
    from models.evaluation.ranking import rank_targets, summarize

    ranking = rank_targets(model, examples)
    parts = {"next_item": ranking}
    parts |= {name: ranking.select(rows) for name, rows in objectives_of(examples).items()}
    return {
        name: {"targets": len(part), **{metric: summarize(part, (20,))[metric] for metric in METRICS}}
        for name, part in parts.items()
    }


def main() -> None:
    """Train for each choice of objectives, and print its metrics on each kind of target."""
    from models.by_name import create
    from models.data.sequences import next_item_examples
    from models.options import TrainingOptions

    with tempfile.TemporaryDirectory() as folder:
        log, later = sessions(Path(folder))
    examples = next_item_examples(later)
    table = Table("trained for", "targets", title="simulated shop: recall@20 / mrr@20, in %")
    for name, weights in TRAINED_FOR.items():
        model = create("attention", TrainingOptions.from_dict(weights))
        report = model.fit(log)
        found = measure(model, examples)
        print(json.dumps({"trained_for": name, "targets": report.targets, "reached": found}))
        if len(table.columns) == 2:
            for objective, metrics in found.items():
                table.add_column(f"{objective} ({metrics['targets']:,})")
        cells = (
            " / ".join(f"{100 * metrics[metric]:.2f}" for metric in METRICS) for metrics in found.values()
        )
        table.add_row(name, f"{report.targets:,}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()

"""Accuracy of the default model on the public splits, beside the baselines and what the literature reports.

Trains on each split's train part and ranks every test target among all items of the train part, as
`lastaisle benchmark accuracy` does. Takes about ten minutes on two cores. The data are not in the project:
LASTAISLE_DATA names their folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lastaisle.benchmark import benchmark_accuracy

SPLITS = ("diginetica", "yoochoose64")
MODELS = ("popularity", "cooccurrence", "neighbours", "attention", "gru", "ensemble")
COLUMNS = ("train_seconds", "targets_per_second", "predictions_per_second", "peak_rss_mib")


def main() -> None:
    """Measure each model on each split that is there."""
    data = Path(os.environ.get("LASTAISLE_DATA", "../shared/data"))
    table = Table("split", "model", "hit_rate@20", "mrr@20", "train s", "targets/s", "predictions/s", "MiB")
    for split in SPLITS:
        folder = data / split
        if not folder.is_dir():
            print(f"skipped {split}: no folder {folder}; set LASTAISLE_DATA", file=sys.stderr)
            continue
        for model in MODELS:
            report = benchmark_accuracy(folder / "train_sessions.txt", folder / "test_pairs.tsv", model)
            metrics = {name: round(100 * report["metrics"][name], 2) for name in ("hit_rate@20", "mrr@20")}
            print(json.dumps({"split": split, "model": model, **metrics, **{c: report[c] for c in COLUMNS}}))
            table.add_row(
                split, model, *map(str, metrics.values()), *(f"{report[name]:,.0f}" for name in COLUMNS)
            )
    Console().print(table)


if __name__ == "__main__":
    main()

"""Accuracy on the public splits: the ensemble, its members alone, and popularity, with the defaults.

The script trains on the train part of each split, and ranks every test target among all items of the train
part, as `lastaisle benchmark accuracy` does. Takes about an hour on two cores; --models NAME … measures fewer
models. The data are not in the project. LASTAISLE_DATA names their folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.benchmark import benchmark_accuracy
from models.by_name import MODEL_NAMES

SPLITS = ("diginetica", "yoochoose64")
MODELS = ("popularity", "cooccurrence", "neighbours", "attention", "gru", "ensemble")
COLUMNS = ("train_seconds", "targets_per_second", "predictions_per_second", "peak_rss_mib")


def main() -> None:
    """Measure each model on each split that exists."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODEL_NAMES, default=MODELS)
    models = parser.parse_args().models
    data = Path(os.environ.get("LASTAISLE_DATA", "../shared/data"))
    table = Table("split", "model", "hit_rate@20", "mrr@20", "train s", "targets/s", "predictions/s", "MiB")
    for split in SPLITS:
        folder = data / split
        if not folder.is_dir():
            print(f"skipped {split}: no folder {folder}; set LASTAISLE_DATA", file=sys.stderr)
            continue
        for model in models:
            report = benchmark_accuracy(folder / "train_sessions.txt", folder / "test_pairs.tsv", model)
            metrics = {name: round(100 * report["metrics"][name], 2) for name in ("hit_rate@20", "mrr@20")}
            print(json.dumps({"split": split, "model": model, **metrics, **{c: report[c] for c in COLUMNS}}))
            table.add_row(
                split, model, *map(str, metrics.values()), *(f"{report[name]:,.0f}" for name in COLUMNS)
            )
    Console().print(table)


if __name__ == "__main__":
    main()

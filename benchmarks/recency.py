"""The gain from giving old sessions less weight: the attention model with a half-life and without.

    python benchmarks/recency.py [FOLDER …]

A folder has a public split's train_sessions.txt, with one session of item ids per line, oldest first. The
default is the folder of diginetica in LASTAISLE_DATA. The script reads only the train part, so that no test
part decides a choice: the last tenth of the sessions evaluates, the others train. Half-lives are shares of
the training sessions. Takes about ten minutes per split on two cores. Prints a JSON line per training, and
then a table.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.benchmark import read_sessions

HALF_LIVES = (None, 0.25, 0.1)
EVALUATION_SHARE = 0.1
METRICS = ("hit_rate@20", "mrr@20")


def main() -> None:
    """Measure each half-life on each folder that exists."""
    from models.by_name import create
    from models.data.sequences import next_item_examples
    from models.evaluation.ranking import rank_targets, summarize
    from models.options import TrainingOptions

    data = Path(os.environ.get("LASTAISLE_DATA", "../shared/data"))
    table = Table(
        "split", "half-life", *METRICS, "train s", title="on the last tenth of the train part, in %"
    )
    for folder in map(Path, sys.argv[1:] or [data / "diginetica"]):
        if not folder.is_dir():
            print(f"skipped: no folder {folder}; set LASTAISLE_DATA", file=sys.stderr)
            continue
        log = read_sessions(folder / "train_sessions.txt")
        cut = len(log) - max(1, round(EVALUATION_SHARE * len(log)))
        earlier, examples = log.select(slice(0, cut)), next_item_examples(log.select(slice(cut, None)))
        for half_life in HALF_LIVES:
            began = perf_counter()
            model = create("attention", TrainingOptions(half_life=half_life))
            model.fit(earlier)
            seconds = perf_counter() - began
            found = summarize(rank_targets(model, examples), (20,))
            metrics = {name: round(100 * found[name], 2) for name in METRICS}
            line = {"split": folder.name, "half_life": half_life, **metrics, "train_seconds": round(seconds)}
            print(json.dumps(line), flush=True)
            table.add_row(*("none" if value is None else str(value) for value in line.values()))
    Console().print(table)


if __name__ == "__main__":
    main()

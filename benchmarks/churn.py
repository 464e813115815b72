"""How much do the lists of consecutive versions differ? Daily warm starts on a real week, and new trainings.

    python benchmarks/churn.py [--anew gru …]

Measures churn@20 of each day's warm start against the version before, on the sessions of the next day, as the
gate does. Then it trains models from scratch on the whole week, and measures their churn@20 against the last
version on the last day: a model of the same architecture, and models of the named architectures. The data are
not in the project: LASTAISLE_DATA names their folder. Prints a table and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lastaisle.evaluation.churn import churn_of
from lastaisle.replay.replay import Period, read_periods
from lastaisle.training.warm_start import newest_with_replay
from models.by_name import create
from models.data.sequences import Examples, SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets
from models.options import TrainingOptions
from models.recommender import Recommender


def churn_between(first: Recommender, second: Recommender, examples: Examples) -> float:
    """Return churn@20 of the second model's lists against the first model's lists."""
    before, after = ((rank_targets(model, examples), model.vocabulary) for model in (first, second))
    return float(churn_of(after, before).mean())


def warm_starts(
    periods: list[Period], options: TrainingOptions, folder: Path
) -> tuple[Recommender, dict[str, float]]:
    """Warm-start day by day; return the last version, and the churn of each day."""
    from models.by_name import load

    model = create("attention", options)
    model.fit(periods[0].log, None, options)
    found = {}
    for at, (today, tomorrow) in enumerate(pairwise(periods[1:]), start=1):
        model.save(folder / str(at))
        before, learned_until = load(folder / str(at)), float(periods[at - 1].log.ended_at[-1]) + 1e-6
        seen = SessionLog.concat([period.log for period in periods[: at + 1]])
        mix = newest_with_replay(seen, learned_until, options.seed)
        model.warm_start(mix, np.ones(len(mix), np.float32), options)
        found[today.label] = round(churn_between(before, model, next_item_examples(tomorrow.log)), 3)
    return model, found


def main() -> None:
    """Measure, and print."""
    import tempfile

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--anew", nargs="*", default=[], help="more architectures to train from scratch")
    given = parser.parse_args()
    source = Path(os.environ.get("LASTAISLE_DATA", "../shared/data")) / "yoochoose-week.tsv"
    if not source.is_file():
        print(f"skipped: no file {source}; set LASTAISLE_DATA", file=sys.stderr)
        return
    periods, options = list(read_periods("yoochoose", str(source))), TrainingOptions()
    with tempfile.TemporaryDirectory() as folder:
        model, found = warm_starts(periods, options, Path(folder))
    seen = SessionLog.concat([period.log for period in periods[:-1]])
    examples = next_item_examples(periods[-1].log)
    for architecture in ("attention", *given.anew):
        other = create(architecture, options.but(seed=options.seed + 1))
        other.fit(seen, None, other.options)
        found[f"{architecture} from scratch"] = round(churn_between(model, other, examples), 3)
    table = Table("version", "churn@20 against the version before")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    print(json.dumps({"benchmark": "churn", "churn@20": found}))


if __name__ == "__main__":
    main()

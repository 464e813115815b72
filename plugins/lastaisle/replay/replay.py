"""Replay a log period by period: each training strategy learns up to t, and t+1 tests it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lastaisle.errors import NotEnoughDataError, SourceError
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.replay.strategies import FirstModel, make_strategies, strategies_of
from lastaisle.sessions.windows import sessions_between
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import Ranking, summarize
from models.options import Progress, TrainingOptions

METRICS = ("recall@20", "precision@20", "mrr@20")
# A day with fewer sessions of two items or more is left out, such as a cut day at either end of a log.
MIN_SESSIONS = 100
TENTHS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Period:
    """A part of a log.

    Attributes:
        label: a day, or "3/10".
        log: the sessions that ended in the period.
    """

    label: str
    log: SessionLog


def replay(
    periods: Sequence[Period],
    strategies: Sequence[str] | None = None,
    *,
    architecture: str = "attention",
    options: TrainingOptions | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train up to each period and test on the next.

    - frozen learns from the first period, and never again.
    - scratch learns from scratch on all periods so far.
    - incremental starts from the model of the first period. It goes on from its own weights, on the newest
      period and a sample of the older periods.
    - online learns as incremental does. In addition its embeddings move after each session, and rank the
      sessions that begin later.
    - ensemble blends the newest models of incremental.

    All strategies share the options and the first model. The training time of the first model counts for each
    strategy, and the time of the incremental models counts for ensemble.

    Args:
        periods: at least two periods, oldest first; `ended_at` of their sessions grows.
        strategies: names of the strategies to compare; default all that the architecture supports.
        architecture: name of the recommender; see models.by_name.MODEL_NAMES.
        options: hyperparameters; default the models' own.
        progress: called after each training.

    Returns:
        {"periods": [{"period", "trained_until", "sessions", "targets", "new_items", "strategies": {…}}],
        "summary": {strategy: mean recall@20, precision@20, mrr@20 and total train_seconds}}.

    Raises:
        NotEnoughDataError: fewer than two periods.
    """
    if len(periods) < 2:
        raise NotEnoughDataError(f"a replay needs two periods or more, received {len(periods)}")
    first_model = FirstModel(architecture, options or TrainingOptions())
    names = strategies_of(architecture) if strategies is None else strategies
    compared = make_strategies(names, first_model)
    results: list[dict[str, Any]] = []
    for at, (last, following) in enumerate(pairwise(periods)):
        seen = SessionLog.concat([period.log for period in periods[: at + 1]])
        examples = next_item_examples(following.log)
        entry: dict[str, Any] = {
            "period": following.label,
            "trained_until": last.label,
            "sessions": len(following.log),
            "targets": len(examples),
            "new_items": len(set(following.log.ids()) - set(seen.ids())),
            "strategies": {},
        }
        for place, (name, strategy) in enumerate(compared.items(), start=1):
            learning = strategy.learn(seen, last.log)
            ranking, meanwhile = strategy.rank(following.log, examples)
            entry["strategies"][name] = {**_metrics(ranking), "train_seconds": learning + meanwhile}
            if progress:
                progress((at + place / len(compared)) / (len(periods) - 1), f"{following.label} {name}")
        results.append(entry)
    return {"periods": results, "summary": _summary(results, list(compared))}


def _metrics(ranking: Ranking) -> dict[str, float]:
    summary = summarize(ranking, (20,))
    return {metric: summary[metric] for metric in METRICS}


def _summary(results: list[dict[str, Any]], strategies: Sequence[str]) -> dict[str, dict[str, float]]:
    """Average the metrics over periods, where each period counts once, and add up the seconds."""
    summary = {}
    for strategy in strategies:
        rows = [result["strategies"][strategy] for result in results]
        summary[strategy] = {metric: sum(row[metric] for row in rows) / len(rows) for metric in METRICS}
        summary[strategy]["train_seconds"] = sum(row["train_seconds"] for row in rows)
    return summary


def read_periods(
    source_format: str, source: str, *, progress: Callable[..., None] | None = None
) -> list[Period]:
    """Read a log as periods: UTC days of a shop's log, or tenths of a file of sessions.

    Args:
        source_format: "sessions" (one session of item ids a line, in time order), or a format that ingestion
            knows. A log of such a format is ingested into a temporary lake, so that the same rules hold.
        source: path or URL.
        progress: called during ingestion.
    """
    if source_format == "sessions":
        return _tenths(Path(source))
    return _days(source_format, source, progress)


def _tenths(path: Path) -> list[Period]:
    try:
        with path.open(encoding="utf-8") as lines:
            log = SessionLog.from_lists(line.split() for line in lines if line.strip())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    parts = [part for part in np.array_split(np.arange(len(log)), TENTHS) if len(part)]
    return [Period(f"{at}/{len(parts)}", log.select(part)) for at, part in enumerate(parts, start=1)]


def _days(source_format: str, source: str, progress: Callable[..., None] | None) -> list[Period]:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(str(Path(folder) / "lake"))
        keys = PseudonymKeys.load_or_create(Path(folder) / "keys.json")
        ingest(source, source_format, lake, keys, progress=progress)
        return days_of(lake)


def days_of(lake: Lake) -> list[Period]:
    """Cut the sessions of a lake into UTC days by their ends; days with few sessions are left out."""
    table = lake.table(EVENTS)
    if table is None:
        raise NotEnoughDataError(f"the lake {lake.url} has no table {EVENTS!r}: nothing was ingested")
    days = sorted({str(partition["event_date"]) for partition in table.partitions()})
    periods = []
    for day in days:
        start = datetime.combine(datetime.fromisoformat(day).date(), time(), UTC)
        log = sessions_between(lake, start, start + timedelta(days=1))
        if int((log.lengths >= 2).sum()) >= MIN_SESSIONS:
            periods.append(Period(day, log))
        else:
            logger.info("%s has %s sessions and is left out", day, len(log))
    return periods

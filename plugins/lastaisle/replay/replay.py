"""Replay a log period by period: train up to t, test on t+1, by several ways of keeping a model fresh."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastaisle.errors import NotEnoughDataError, SourceError
from lastaisle.lake.tables import EVENTS
from lastaisle.replay.strategies import Start, make_strategies, strategies_of

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from models.data.sequences import SessionLog
    from models.evaluation.ranking import Ranking
    from models.options import Progress, TrainingOptions

METRICS = ("recall@20", "precision@20", "mrr@20")
MIN_SESSIONS = 100  # of two items or more; a shorter day at either end of a log is left out
TENTHS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Period:
    """A stretch of a log.

    Attributes:
        label: a day, or "3/10".
        log: the sessions that ended in it.
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

    frozen learns from the first period and never again; scratch learns anew from all periods so far;
    incremental starts from the first period's model and goes on from its own weights, on the newest period
    and a sample of the older ones; online does so too, and meanwhile its embeddings move after each session,
    and rank the sessions that begin later; ensemble blends the last models of incremental. All share the
    options and the first model, whose time counts for each, as the incremental models' does for ensemble.

    Args:
        periods: at least two, oldest first, over sessions whose `ended_at` grows.
        strategies: which ways to compare; default all that the architecture can take.
        architecture: which recommender; see models.recommender.MODEL_NAMES.
        options: hyperparameters; default those of the models.
        progress: told after each training.

    Returns:
        {"periods": [{"period", "trained_until", "sessions", "targets", "new_items", "strategies": {…}}],
        "summary": {strategy: mean recall@20, precision@20, mrr@20 and total train_seconds}}.

    Raises:
        NotEnoughDataError: fewer than two periods.
    """
    from models.data.sequences import SessionLog, next_item_examples
    from models.options import TrainingOptions

    if len(periods) < 2:
        raise NotEnoughDataError(f"a replay needs two periods or more, received {len(periods)}")
    start = Start(architecture, options or TrainingOptions())
    compared = make_strategies(strategies_of(architecture) if strategies is None else strategies, start)
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
    from models.evaluation.ranking import summarize

    summary = summarize(ranking, (20,))
    return {metric: summary[metric] for metric in METRICS}


def _summary(results: list[dict[str, Any]], strategies: Sequence[str]) -> dict[str, dict[str, float]]:
    """Average the metrics over periods, each period counting once, and add up the seconds."""
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
            knows; such a log goes through ingestion into a temporary lake, so that the same rules hold.
        source: path or URL.
        progress: told about ingestion.
    """
    if source_format == "sessions":
        return _tenths(Path(source))
    return _days(source_format, source, progress)


def _tenths(path: Path) -> list[Period]:
    import numpy as np

    from models.data.sequences import SessionLog

    try:
        with path.open(encoding="utf-8") as lines:
            log = SessionLog.from_lists(line.split() for line in lines if line.strip())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    parts = [part for part in np.array_split(np.arange(len(log)), TENTHS) if len(part)]
    return [Period(f"{at}/{len(parts)}", log.select(part)) for at, part in enumerate(parts, start=1)]


def _days(source_format: str, source: str, progress: Callable[..., None] | None) -> list[Period]:
    from lastaisle.ingest.run import ingest
    from lastaisle.lake.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(str(Path(folder) / "lake"))
        keys = PseudonymKeys.load_or_create(Path(folder) / "keys.json")
        ingest(source, source_format, lake, keys, progress=progress)
        return days_of(lake)


def days_of(lake: Lake) -> list[Period]:
    """Cut the events of a lake into UTC days, by the end of their sessions, without days of few sessions."""
    from lastaisle.sessions.windows import sessions_between

    table = lake.table(EVENTS)
    if table is None:
        raise NotEnoughDataError(f"the lake {lake.url} has no table 'events': nothing was ingested")
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

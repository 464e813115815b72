"""Measure a model on a public split: sessions to train on, and pairs of prefix and target to test on."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from lastaisle.errors import SourceError
from lastaisle.telemetry.memory import peak_rss_mib
from models.by_name import create
from models.data.sequences import Examples, SessionLog
from models.evaluation.ranking import rank_targets, summarize
from models.options import Progress, TrainingOptions


def read_sessions(path: Path | str) -> SessionLog:
    """Read a file that has one session of item ids a line, in time order. Empty lines are ignored.

    Raises:
        SourceError: the file cannot be read, or has no sessions.
    """
    lines = _lines(path)
    log = SessionLog.from_lists(line.split() for line in lines if line.strip())
    if not len(log):
        raise SourceError(f"{path} has no sessions: expected one session of item ids a line")
    return log


def read_pairs(path: Path | str) -> Examples:
    """Read a file that has one `prefix<TAB>target` a line, with spaces between the ids.

    Raises:
        SourceError: the file cannot be read, or a line has another form; the message has its number.
    """
    pairs = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        prefix, tab, target = line.partition("\t")
        if not tab or len(target.split()) != 1:
            raise SourceError(f"{path}, line {number}: expected prefix<TAB>target, received {line[:80]!r}")
        pairs.append((prefix.split(), target.strip()))
    if not pairs:
        raise SourceError(f"{path} has no prefix<TAB>target pairs")
    return Examples.from_pairs(pairs)


def benchmark_accuracy(
    train_path: Path | str,
    test_path: Path | str,
    model: str = "attention",
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a model on the sessions, rank every test target among all items, and report.

    Items of the test part that are not in the train part count as misses.

    Args:
        train_path: one session of item ids a line, in time order.
        test_path: one `prefix<TAB>target` a line.
        model: one of models.by_name.MODEL_NAMES.
        options: hyperparameters that differ from the defaults; see models.options.TrainingOptions.
        progress: called from time to time, first for the training, then for the evaluation.

    Returns:
        model, targets, items, train_seconds, targets_per_second, evaluate_seconds, predictions_per_second,
        peak_rss_mib, training (the training's report), options, and metrics: {"hit_rate@20": …}.
    """
    log, examples = read_sessions(train_path), read_pairs(test_path)
    recommender = create(model, TrainingOptions.from_dict(options or {}))
    report = recommender.fit(log, progress=progress)
    began = perf_counter()
    ranking = rank_targets(recommender, examples, progress=progress)
    seconds = perf_counter() - began
    return {
        "model": model,
        "targets": len(examples),
        "items": len(recommender.vocabulary),
        "train_seconds": report.seconds,
        "targets_per_second": report.targets_per_second,
        "evaluate_seconds": seconds,
        "predictions_per_second": len(examples) / seconds,
        "peak_rss_mib": peak_rss_mib(),
        "training": report.to_dict(),
        "options": recommender.options.to_dict(),
        "metrics": summarize(ranking),
    }


def _lines(path: Path | str) -> list[str]:
    try:
        if stat.S_ISCHR(Path(path).stat().st_mode):  # such a device may have no end
            raise SourceError(f"cannot read {path}: it is a device, not a file")
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error

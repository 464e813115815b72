"""The stored evaluation of each version: read once from MLflow, since a decided version keeps its report."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from lastaisle.dashboard.kept import form_of
from lastaisle.dashboard.source import BeingReadError
from lastaisle.errors import RegistryError
from lastaisle.evaluation.report import Estimate, EvaluationReport, Scores, stored_report
from lastaisle.lake.table_state import file_of
from lastaisle.lake.tables import RELEASES
from lastaisle.telemetry.shown import one_line, without_password

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source

_BATCH: Final = 20  # so many reports are read as one value
MOST_KEPT: Final = 2000
"""The reports of so many versions, the newest, are kept in a file."""


@dataclass(frozen=True)
class Measured:
    """What the evaluation of a version measured.

    Attributes:
        run_id: the run of MLflow that holds the report.
        served: the objective whose lists services show.
        targets: objective to the number of its targets.
        scores: objective to metric ("recall@20") to its estimate.
    """

    run_id: str
    served: str
    targets: Mapping[str, int]
    scores: Mapping[str, Mapping[str, Estimate]]

    def score(self, metric: str, objective: str | None = None) -> Estimate | None:
        """Return a metric of an objective, by default of the served one; None if it was not measured."""
        return self.scores.get(objective or self.served, {}).get(metric)


@dataclass(frozen=True)
class Unreadable:
    """A report that cannot be read.

    Attributes:
        text: which one, and why.
    """

    text: str


@dataclass(frozen=True)
class Reports:
    """What the evaluations of many versions measured.

    Attributes:
        by_run: run to what it measured; None = the run holds no report.
        waiting: the number of runs that are still being read.
    """

    by_run: Mapping[str, Measured | Unreadable | None]
    waiting: int


class KeptReports:
    """What the reports of decided versions say. Such a report never changes, so a file keeps it.

    Args:
        source: where MLflow is.
    """

    def __init__(self, source: Source) -> None:
        registry = source.settings.registry
        place = f"{without_password(registry.mlflow_uri)} {registry.model_name}"
        self._files = source.files
        self._path = file_of(source.files.folder, "reports", place, ".figures")
        self._guard = threading.Lock()
        self._by_run = self._files.load(self._path, _FORM, _DECODER.decode) or {}

    def of(self, run_id: str) -> Measured | None:
        """Return what the report of a run says; None if it is not kept."""
        return self._by_run.get(run_id)

    def keep(self, found: Mapping[str, Measured], newest: Set[str]) -> None:
        """Keep what more reports say.

        Args:
            found: run to what its report says.
            newest: the runs whose reports are kept; those of others are dropped.
        """
        with self._guard:
            whole = {run: one for run, one in {**self._by_run, **found}.items() if run in newest}
            if whole.keys() != self._by_run.keys():
                self._by_run = whole
                self._files.save(self._path, _FORM, msgspec.msgpack.encode(whole))


def measured_in(source: Source, run_id: str) -> Measured | None:
    """Return what the evaluation of a run measured; None if the run holds no report.

    Raises:
        RegistryError: MLflow cannot be read, or the report cannot.
    """
    found = source.once(
        ("measured", run_id), [RELEASES], lambda: _kept(source).of(run_id) or _read(source, run_id)
    )
    if isinstance(found, Unreadable):
        raise RegistryError(found.text)
    return found


def find_reports(source: Source, runs: Sequence[tuple[str, bool]]) -> Reports:
    """Return what the evaluations of many runs measured; some may still be being read.

    Args:
        source: where MLflow is.
        runs: the runs, the oldest first, and whether the gate has decided on each: then its report never
            changes, and is read once.

    Raises:
        RegistryError: MLflow cannot be read.
    """
    found: dict[str, Measured | Unreadable | None] = {}
    waiting = 0
    newest = frozenset([run_id for run_id, is_decided in runs if is_decided][-MOST_KEPT:])
    for start in reversed(range(0, len(runs), _BATCH)):
        batch = runs[start : start + _BATCH]
        ids = tuple(run_id for run_id, _ in batch)
        tables = [] if all(is_decided for _, is_decided in batch) else [RELEASES]
        compute = partial(_read_all, source, ids, newest)
        try:
            found |= source.once(("reports", ids), tables, compute, is_slow=True)
        except BeingReadError:
            waiting += len(batch)
    return Reports(found, waiting)


def _kept(source: Source) -> KeptReports:
    return source.once("kept reports", [], lambda: KeptReports(source))


def _read_all(
    source: Source, runs: Sequence[str], newest: Set[str]
) -> dict[str, Measured | Unreadable | None]:
    """Read the reports of some runs, as far as they are not kept.

    Args:
        source: where MLflow is.
        runs: the runs.
        newest: the newest runs on which the gate has decided, of all.
    """
    kept = _kept(source)
    found = {run_id: kept.of(run_id) or _read(source, run_id) for run_id in runs}
    kept.keep({run: one for run, one in found.items() if isinstance(one, Measured)}, newest)
    return found


def _read(source: Source, run_id: str) -> Measured | Unreadable | None:
    """Read the report of a run.

    Raises:
        RegistryError: MLflow cannot be read.
    """
    with reading_mlflow(source):
        registry = source.registry
        try:
            report = stored_report(run_id, registry) if registry.has_run(run_id) else None
        except (ValueError, RegistryError) as error:  # pydantic's errors are ValueErrors
            first, *_ = str(error).splitlines() or [type(error).__name__]
            return Unreadable(
                f"the evaluation of the run {run_id} in {registry.uri} cannot be read: {one_line(first)}"
            )
    return None if report is None else measured_of(report)


def measured_of(report: EvaluationReport) -> Measured:
    """Return what a report says of its candidate."""
    objectives: Mapping[str, Scores] = report.candidate.objectives
    served = report.served if report.served in objectives else next(iter(objectives))
    return Measured(
        run_id=report.run_id,
        served=served,
        targets={name: scores.targets for name, scores in objectives.items()},
        scores={name: dict(scores.metrics) for name, scores in objectives.items()},
    )


_FORM: Final = form_of(*(f"{one.name}: {one.type}" for part in (Measured, Estimate) for one in fields(part)))
_DECODER: Final = msgspec.msgpack.Decoder(dict[str, Measured])


@contextmanager
def reading_mlflow(source: Source) -> Iterator[None]:
    """Turn the errors of MLflow and of its stores into one that says what to do.

    Raises:
        RegistryError: MLflow cannot be read.
    """
    from mlflow.exceptions import MlflowException  # MLflow is loaded with its first use
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        place = without_password(source.settings.registry.mlflow_uri)
        first, *_ = str(error).splitlines() or [type(error).__name__]
        raise RegistryError(
            f"MLflow ({place}) cannot be read: {one_line(first)}. Check that it runs, and the setting "
            "LASTAISLE_MLFLOW_URI"
        ) from error

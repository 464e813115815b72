"""The stored evaluation of each version: read once from MLflow, since a decided version keeps its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.errors import RegistryError
from lastaisle.evaluation.report import Estimate, EvaluationReport, Scores, stored_report
from lastaisle.lake.tables import RELEASES
from lastaisle.telemetry.shown import one_line, without_password

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source


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


def measured_in(source: Source, run_id: str, *, is_decided: bool = True) -> Measured | None:
    """Return what the evaluation of a run measured; None if the run holds no report.

    Args:
        source: where MLflow is.
        run_id: the run.
        is_decided: whether the gate has decided on its version. Then the report never changes.

    Raises:
        RegistryError: MLflow cannot be read, or the report cannot.
    """
    tables = [] if is_decided else [RELEASES]
    return source.once(("measured", run_id, is_decided), tables, lambda: _read(source, run_id))


def _read(source: Source, run_id: str) -> Measured | None:
    with reading_mlflow(source):
        registry = source.registry
        try:
            report = stored_report(run_id, registry) if registry.has_run(run_id) else None
        except ValueError as error:  # pydantic's errors are ValueErrors
            raise RegistryError(
                f"the evaluation of the run {run_id} in {registry.uri} cannot be read: "
                f"{str(error).splitlines()[0]}"
            ) from error
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

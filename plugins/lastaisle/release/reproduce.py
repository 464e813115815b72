"""Repeat the training of a version, and tell whether it gives the same metrics.

Private trainings draw secret noise: no repetition can give the same metrics, and each one spends of the
privacy budget. So a private version is not trained again. Its data is read again, and its own weights are
measured.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from lastaisle.errors import RegistryError
from lastaisle.evaluation.evaluate import measure_again, values_of
from lastaisle.evaluation.report import stored_report
from lastaisle.lake.maintenance import require_readable
from lastaisle.registry.losses import missing_part
from lastaisle.registry.revision import git_revision, installed_packages
from lastaisle.registry.tags import GIT_REVISION
from lastaisle.training.kinds import kind_for
from lastaisle.training.train import PACKAGES, train_again

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from models.options import Progress

REPRODUCES: Final = "lastaisle.reproduces"
TOLERANCE: Final = 0.005
_MOST_PACKAGES: Final = 10  # named one by one


@dataclass(frozen=True)
class Compared:
    """One metric, of the version and of its repetition.

    Attributes:
        metric: its name.
        recorded: the value of the version.
        again: the value of the repetition; None if the repetition has none.
        matches: whether both differ by at most the tolerance.
    """

    metric: str
    recorded: float
    again: float | None
    matches: bool


@dataclass(frozen=True)
class Reproduction:
    """The outcome of a repeated training.

    Attributes:
        version: the version.
        run_id: its run.
        again_run_id: the run of the repetition; None of a private version, which is not trained again.
        tolerance: the greatest difference of a metric that counts as a match.
        metrics: the metrics.
        differs: one sentence for each difference of code and packages, with which the versions were made.
    """

    version: str
    run_id: str
    again_run_id: str | None
    tolerance: float
    metrics: tuple[Compared, ...]
    differs: tuple[str, ...]

    @property
    def trained_again(self) -> bool:
        """Whether the training was repeated; a private one is not."""
        return self.again_run_id is not None

    @property
    def matches(self) -> bool:
        """Whether all metrics match."""
        return all(metric.matches for metric in self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return {"matches": self.matches, "trained_again": self.trained_again, **asdict(self)}


def reproduce(
    version: str,
    lake: Lake,
    registry: Registry,
    scratch: Registry,
    *,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
) -> Reproduction:
    """Train a version again from the table versions, the start and the seed of its plan; compare the metrics.

    Nothing is registered, and no alias moves. The sessions that judged the version measure the repetition.
    Of a private version, only the data and the metrics of its own weights are compared; see the module.

    Args:
        version: its number.
        lake: where the tables are.
        registry: where the version is.
        scratch: the MLflow experiment for the repetition, apart from the candidates.
        tolerance: the greatest difference of a metric that counts as a match.
        progress: called from time to time with the share that is done.

    Raises:
        RegistryError: there is no such version, its training is not recorded, it was not evaluated, or the
            version that it started from is gone.
        VersionGoneError: maintenance deleted a version of a table that the training read.
    """
    run_id = registry.run_of(version)
    plan, report = registry.plan_of(run_id), stored_report(run_id, registry)
    if report is None:
        raise RegistryError(
            f"version {version} of {registry.model_name} has no evaluation (run {run_id}): there is nothing "
            "to compare a repetition with"
        )
    for table, table_version in plan.lake_versions.items():
        require_readable(lake, table, table_version)
    recorded = values_of(report.candidate)
    again: str | None = None
    if plan.is_private:
        measured = measure_again(report, registry.load_served(run_id), lake, registry)
        measured |= _sessions_again(plan, lake, registry)
        recorded |= _sessions(run_id, registry)
    else:
        _require_start(version, plan, registry)
        again = train_again(plan, lake, scratch, tags={REPRODUCES: version}, progress=progress)
        measured = measure_again(report, scratch.load_served(again), lake, registry)
        measured |= _training(again, scratch)
        recorded |= _training(run_id, registry)
    metrics = tuple(
        Compared(name, value, measured.get(name), _match(value, measured.get(name), tolerance))
        for name, value in recorded.items()
    )
    return Reproduction(version, run_id, again, tolerance, metrics, tuple(_differences(run_id, registry)))


def _training(run_id: str, registry: Registry) -> dict[str, float]:
    """Return what the training itself measured."""
    names = ("train_sessions", "train_targets", "items", "loss")
    return {f"training {name}": value for name, value in registry.metrics(run_id).items() if name in names}


def _sessions(run_id: str, registry: Registry) -> dict[str, float]:
    """Return how many sessions a training learned, and how many it left out, by reason.

    The targets and the items of a private training are not among them: they follow from its noise.
    """
    measured = registry.metrics(run_id).items()
    return {
        f"training {name}": value
        for name, value in measured
        if name == "train_sessions" or name.startswith("left_out_")
    }


def _sessions_again(plan: TrainingPlan, lake: Lake, registry: Registry) -> dict[str, float]:
    """Read the sessions of a training again, and count them as `_sessions` does."""
    kind = kind_for(plan)
    read = kind.read(plan, lake)
    left_out = {f"training left_out_{reason}": float(count) for reason, count in read.left_out.items()}
    return {"training train_sessions": float(len(kind.learned_log(plan, read, lake, registry))), **left_out}


def _match(recorded: float, again: float | None, tolerance: float) -> bool:
    return again is not None and abs(again - recorded) <= tolerance


def _require_start(version: str, plan: TrainingPlan, registry: Registry) -> None:
    """Refuse a training whose start is gone."""
    if plan.warm_start_version is None:
        return
    part = missing_part(plan.warm_start_version, plan.warm_start_run_id, registry)
    if part is not None:
        raise RegistryError(
            f"version {version} of {registry.model_name} cannot be trained again: it started from version "
            f"{plan.warm_start_version}, which is lost: {part}"
        )


def _differences(run_id: str, registry: Registry) -> Iterator[str]:
    """Say how the code and the packages differ from those with which a run was made."""
    recorded, here = registry.tags(run_id).get(GIT_REVISION, "unknown"), git_revision()
    if "unknown" in (recorded, here):
        yield f"The revision of the code cannot be compared: recorded {recorded}, here {here}."
    elif recorded != here:
        yield f"Another revision of the code: recorded {recorded}, here {here}."
    packages = registry.read_text(run_id, PACKAGES)
    if packages is None:
        yield "The packages cannot be compared: an older release of Lastaisle trained the version."
    elif packages != installed_packages():
        lines = difflib.ndiff(packages.splitlines(), installed_packages().splitlines())
        changed = [line for line in lines if line[:2] in ("- ", "+ ")]
        more = f" and {len(changed) - _MOST_PACKAGES} more" if len(changed) > _MOST_PACKAGES else ""
        yield f"Other packages (- recorded, + here): {', '.join(changed[:_MOST_PACKAGES])}{more}."

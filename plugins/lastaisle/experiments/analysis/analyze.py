"""Bring the results of running experiments up to date, and end those that have a verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lastaisle.errors import LastaisleError
from lastaisle.experiments.analysis.counts import HOUR, Clock, Counted, count_units
from lastaisle.experiments.analysis.errors import AnalysisError
from lastaisle.experiments.analysis.looks import look
from lastaisle.experiments.analysis.results import append_results, newest_result, result_rows
from lastaisle.experiments.analysis.verdict import first_verdict, present_state
from lastaisle.experiments.traffic import RUNNING, TrafficMove, Trial, read_traffic, write_move
from lastaisle.lake.retries import ATTEMPTS, retry_conflicts
from lastaisle.lake.tables import EXPERIMENT_RESULTS

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.experiments.traffic import AnalysisRules, State, TrafficLog
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

Progress = Callable[[float, str], None]

log = logging.getLogger(__name__)
ACTOR: Final = "analyze_experiments"


@dataclass(frozen=True)
class Analysis:
    """What an analysis found of one experiment.

    Attributes:
        name: the experiment.
        state: running, invalid, stopped or decided.
        hour: the end of the newest hour that was analysed (UTC); None before the first.
        reason: the verdict, or how the experiment stands, in sentences.
        hours: the hours whose results were added.
        problem: why the experiment could not be analysed; None in order.
    """

    name: str
    state: State
    hour: datetime | None
    reason: str
    hours: int = 0
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the analysis as JSON takes it."""
        return asdict(self) | {"hour": self.hour and self.hour.isoformat()}


def analyze(
    lake: Lake,
    settings: Settings,
    names: Collection[str] | None = None,
    *,
    now: datetime | None = None,
    actor: str = ACTOR,
    progress: Progress = lambda share, step: None,
) -> list[Analysis]:
    """Analyse the running experiments at the end of each hour that is over, and end those with a verdict.

    Results of an hour are written once and never change. If a run was killed between the results and the end
    of the experiment, the next run ends it by the verdict that the results hold.

    Args:
        lake: holds exposures, events and what followed.
        settings: say when a checkout is abandoned.
        names: the experiments; None = all that run.
        now: analyse as of this moment; default: the newest moment of the data.
        actor: the person or the DAG run, for the table `traffic`.
        progress: called with the share of the work that is done, and the next experiment.

    Returns:
        An analysis for each experiment, in the order of the names. An experiment that cannot be analysed has
        a problem, and stops no other.

    Raises:
        AnalysisError: a name is no experiment.
    """
    chosen = _chosen(lake, names)
    found = []
    for number, name in enumerate(chosen):
        progress(number / len(chosen), name)
        try:
            found.append(retry_conflicts(ATTEMPTS)(_analyze, lake, settings, name, now, actor))
        except LastaisleError as error:
            log.error("experiment %s: %s", name, error)
            found.append(Analysis(name, RUNNING, None, "", problem=str(error)))
    progress(1.0, "done")
    return found


def _chosen(lake: Lake, names: Collection[str] | None) -> list[str]:
    """Return the experiments that are asked for; those that run, if none are named."""
    moves = read_traffic(lake).newest().values()
    newest = {move.trial.name: move.state for move in moves if move.trial.kind == "experiment"}
    unknown = sorted(set(names or ()) - set(newest))
    if unknown:
        raise AnalysisError(
            f"there is no experiment {unknown[0]!r}; experiments are: {', '.join(sorted(newest)) or 'none'}. "
            "`lastaisle experiments apply` starts the experiments that are defined"
        )
    return sorted(names or (name for name, state in newest.items() if state == RUNNING))


def _analyze(lake: Lake, settings: Settings, name: str, now: datetime | None, actor: str) -> Analysis:
    """Analyse one experiment once."""
    traffic = read_traffic(lake)
    move = traffic.newest()[name]
    trial, rules = move.trial, move.trial.analysis
    if move.state != RUNNING:
        return Analysis(name, move.state, None, move.reason)
    if rules is None:
        raise AnalysisError(f"the experiment {name} has no rules of analysis: apply its definition again")
    version = lake.version(EXPERIMENT_RESULTS)
    newest = newest_result(lake, trial, version)
    if newest is not None and newest["state"] != RUNNING and not _was_resumed(newest, traffic):
        return _end(lake, newest, traffic, actor)
    clock = Clock.of(lake, now)
    counted = count_units(lake, settings, trial, rules, clock)
    if counted is None or not counted.seen.any():
        return Analysis(name, RUNNING, None, "No shopper has seen a list of the experiment yet.")
    rows = _new_rows(trial, rules, counted, clock, newest)
    if not rows.num_rows:
        hour, reason = (None, "") if newest is None else (newest["hour"], newest["reason"])
        return Analysis(name, RUNNING, hour, reason)
    append_results(lake, trial, rows, version)
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    hours = len(rows["hour"].unique())
    if last["state"] == RUNNING:
        return Analysis(name, RUNNING, last["hour"], last["reason"], hours)
    return replace(_end(lake, last, traffic, actor), hours=hours)


def _new_rows(
    trial: Trial,
    rules: AnalysisRules,
    counted: Counted,
    clock: Clock,
    newest: Mapping[str, Any] | None,
) -> pa.Table:
    """Return the results of the hours that were not analysed before, until the first verdict."""
    hours = len(counted.seen)
    since = int(counted.seen.any((1, 2)).argmax())
    if newest is not None:
        since = (newest["hour"] - counted.first_hour) // HOUR
    looks = look(counted, trial, rules)
    verdict = first_verdict(looks, trial, rules, counted.ends(), since)
    states = {
        hour: (RUNNING, present_state(looks, rules, hour))
        for hour in range(since, hours if verdict is None else verdict.hour)
    }
    if verdict is not None:
        states[verdict.hour] = (verdict.state, verdict.reason)
    return result_rows(trial, counted, looks, clock, states)


def _end(lake: Lake, result: Mapping[str, Any], traffic: TrafficLog, actor: str) -> Analysis:
    """End an experiment by the verdict that its results hold."""
    name, hour, reason = result["experiment"], result["hour"], result["reason"]
    trial = traffic.newest()[name].trial
    write_move(lake, TrafficMove(_move_id(result), hour, result["state"], trial, reason, actor), traffic)
    return Analysis(name, result["state"], hour, reason)


def _was_resumed(result: Mapping[str, Any], traffic: TrafficLog) -> bool:
    """Tell whether the verdict of a result ended the experiment before, and a person started it again."""
    return any(move.move_id == _move_id(result) for move in traffic.moves)


def _move_id(result: Mapping[str, Any]) -> str:
    return f"verdict {result['experiment']} {result['started_at'].isoformat()} {result['hour'].isoformat()}"

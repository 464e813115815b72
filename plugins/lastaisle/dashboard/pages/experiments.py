"""The pages of experiments and bandits: what runs, what is decided, and each trial on a page of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.choices import NotThereError
from lastaisle.dashboard.figures.experiments import (
    bandit_charts,
    bandit_rows,
    newest_hour,
    ratio_chart,
    results_of,
    sequences,
    stage_of,
    traffic_of,
    trials_of,
    verdicts_of,
)
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.paging import paged
from lastaisle.dashboard.render import PagesOf, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.experiments.analysis import words
from lastaisle.experiments.statistics.sample_ratio import ALPHA
from lastaisle.experiments.traffic import TrafficLog, TrafficMove, Trial
from lastaisle.lake.tables import BANDIT_ARMS, EXPERIMENT_RESULTS, EXPOSURES, TRAFFIC

router = APIRouter()
TRIALS_A_PAGE: Final = 25
MOVES_SHOWN: Final = 30
STATES: Final = {
    "runs": "good",
    "begins later": "",
    "decided": "good",
    "invalid": "bad",
    "stopped": "warn",
    "ended": "",
}
"""The colour of the badge of a state."""


@router.get("/experiments")
def experiments(request: Request, pages: PagesOf, page: str = "1") -> HTMLResponse:
    """Show all experiments, bandits, canaries and shadows."""
    source, now = pages.source, pages.now()
    traffic = attempt(lambda: traffic_of(source))
    trials = attempt(lambda: trials_of(source, now))
    listed = known(trials)
    return pages.render(
        request,
        "experiments",
        title="Experiments",
        traffic=traffic,
        trials=trials,
        shown=None if listed is None else paged(listed, page, TRIALS_A_PAGE),
        running=[one for one in listed or () if one.state == "runs"],
        verdicts=attempt(lambda: verdicts_of(source)),
        states=STATES,
        origins=[
            Origin("traffic", "Every move of a trial.", TRAFFIC, query="lastaisle experiments list"),
            Origin(
                "shown",
                "The lists that were shown in each trial, and the shoppers who saw them.",
                EXPOSURES,
                query="SELECT experiment, count(DISTINCT recommendation_id), "
                "count(DISTINCT coalesce(user_id, session_id))\n"
                f"FROM {EXPOSURES} WHERE kind = 'shown' AND experiment IS NOT NULL GROUP BY experiment",
            ),
        ],
    )


@router.get("/experiments/{experiment}")
def experiment(request: Request, pages: PagesOf, experiment: str) -> HTMLResponse:
    """Show a trial: its arms, its course, its checks and its moves."""
    source, now = pages.source, pages.now()
    traffic = attempt(lambda: traffic_of(source))
    log = known(traffic)
    if log is None:
        return pages.render(
            request, "experiment", title=experiment, section="Experiments", traffic=traffic, trial=None
        )
    move = _newest(log, experiment)
    trial = move.trial
    results = attempt(lambda: results_of(source, trial) if trial.kind == "experiment" else [])
    arms = attempt(lambda: bandit_rows(source, trial.name) if trial.kind == "bandit" else [])
    rows, learned = known(results) or [], known(arms) or []
    return pages.render(
        request,
        "experiment",
        title=trial.name,
        section="Experiments",
        traffic=traffic,
        trial=trial,
        move=move,
        phase=trial.phase_at(now),
        stage=stage_of(trial, move.state),
        results=results,
        newest=newest_hour(rows),
        charts=sequences(rows, trial),
        ratio=ratio_chart(rows),
        ratio_limit=ALPHA,
        words=words,
        arms=arms,
        arm_rows=[row for row in learned if row["learned_until"] == learned[-1]["learned_until"]],
        arm_charts=bandit_charts(learned),
        moves=[one for one in reversed(log.moves) if one.trial.name == trial.name],
        moves_shown=MOVES_SHOWN,
        states=STATES,
        origins=_origins(trial),
    )


def _newest(log: TrafficLog, name: str) -> TrafficMove:
    """Return the newest move of a trial.

    Raises:
        NotThereError: there is no such trial.
    """
    move = log.newest().get(name)
    if move is None:
        listed = ", ".join(sorted(log.newest())[:20]) or "none"
        raise NotThereError(f"no experiment or bandit is named {name[:60]!r}; there is {listed}")
    return move


def _origins(trial: Trial) -> list[Origin]:
    name = trial.name
    moves = Origin(
        "traffic",
        f"Every move of {name}.",
        TRAFFIC,
        query=f"SELECT * FROM {TRAFFIC} WHERE subject = '{name}' ORDER BY entry",
    )
    figures = {
        "experiment": Origin(
            "results",
            f"How {name} stood at the end of each hour.",
            EXPERIMENT_RESULTS,
            query=f"lastaisle experiments show {name}",
        ),
        "bandit": Origin(
            "arms",
            f"What {name} had learned of each arm after each update.",
            BANDIT_ARMS,
            query=f"lastaisle bandits show {name}",
        ),
    }
    return [moves, *([figures[trial.kind]] if trial.kind in figures else [])]


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    trials_of(source, datetime.now(UTC))
    verdicts_of(source)

"""The story of the loop: what was decided after each day, in sentences, as a table and as a chart."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lastaisle.experiments.traffic import TrafficMove
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.ledger import Move
    from lastaisle.settings import Settings
    from lastaisle_airflow.local.loop.shop import FinishedDay

# Functions import the pipeline inside: the loop starts Airflow before it loads DuckDB and matplotlib.

DEFINITIONS: Final = Path(__file__).parent / "definitions"
RULES: Final = DEFINITIONS / "release-rules.yaml"
EXPERIMENT: Final = "versions"
BANDIT: Final = "checkout-lists"
#: The training of the version that the gate is expected to refuse: it has hardly learned.
WEAK: Final = {"epochs": 1, "embedding_size": 8, "learning_rate": 0.00001}


def write_definitions(settings: Settings) -> None:
    """Put the definitions of the experiment and of the bandit where `experiments apply` reads them."""
    folder = Path(settings.experiments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (EXPERIMENT, BANDIT):
        shutil.copyfile(DEFINITIONS / f"{name}.yaml", folder / f"{name}.yaml")


class Story:
    """Tells what was decided since it was asked last.

    Some moves are dated by the shop's data and others by the clock, so that each is known by its id.

    Args:
        lake: holds the moves. Those that it holds already are not told.
        model_name: name of the registered model.
    """

    def __init__(self, lake: Lake, model_name: str) -> None:
        self._lake = lake
        self._model_name = model_name
        self._told = set(self._moves())

    def told(self) -> list[str]:
        """Return in sentences what was decided since the last call, and the bandit's probabilities."""
        moves = self._moves()
        news = [sentence for move_id, told in moves.items() if move_id not in self._told for sentence in told]
        self._told |= set(moves)
        return news + _of_bandit(self._lake)

    def _moves(self) -> dict[str, list[str]]:
        """Return the sentences of each move by its id: experiments and bandits, and then versions."""
        from lastaisle.experiments.traffic import read_traffic
        from lastaisle.registry.ledger import Ledger

        traffic = {move.move_id: list(_of_traffic(move)) for move in read_traffic(self._lake).moves}
        ledger = Ledger(self._lake, self._model_name)
        return traffic | {move.move_id: list(_of_ledger(move)) for move in ledger.moves()}


def _of_ledger(move: Move) -> Iterator[str]:
    """Say what a move of a version was; registrations and moves of the anchor are no news."""
    from lastaisle.registry.ledger import CANARY, PROMOTE, REFUSE, RETIRE, ROLLBACK, SHADOW

    said = {
        SHADOW: f"v{move.to_version} scores live sessions unseen",
        CANARY: f"v{move.to_version} answers a share of the shoppers",
        PROMOTE: f"v{move.to_version} is champion",
        REFUSE: f"v{move.to_version} is refused",
        RETIRE: f"v{move.to_version} is taken back: {_first(move.reason)}",
        ROLLBACK: f"v{move.from_version} is rolled back to v{move.to_version}: {_first(move.reason)}",
    }
    if move.action in said:
        yield said[move.action]


def _of_traffic(move: TrafficMove) -> Iterator[str]:
    """Say how an experiment began or ended; the ledger tells of canary and shadow."""
    trial = move.trial
    if trial.kind == "experiment":
        arms = " against ".join(arm.name for arm in reversed(trial.arms))
        began = f"experiment {trial.name} begins: {arms}"
        yield began if move.state == "running" else f"experiment {trial.name} is over: {move.reason}"


def _of_bandit(lake: Lake) -> list[str]:
    """Say with which probability the bandit shows each arm now."""
    rows = _bandit_rows(lake)
    if not rows:
        return []
    newest = max(row["learned_until"] for row in rows)
    arms = [row for row in rows if row["learned_until"] == newest]
    shares = ", ".join(f"{row['arm']} {row['probability']:.0%}" for row in arms)
    share = f"{arms[0]['share']:.0%} of the lists follow the policy"
    return [f"bandit {BANDIT}: {shares} ({share})"]


def _bandit_rows(lake: Lake) -> list[dict[str, Any]]:
    from lastaisle.lake.tables import BANDIT_ARMS

    rows = lake.scan(BANDIT_ARMS).to_pylist()
    return sorted(
        (row for row in rows if row["bandit"] == BANDIT), key=lambda row: (row["learned_until"], row["arm"])
    )


def _first(reason: str) -> str:
    """Return the first sentence of a reason."""
    return reason.partition(". ")[0].rstrip(".")


def print_story(console: Console, days: Sequence[FinishedDay]) -> None:
    """Print what was decided after each day."""
    table = Table(title="\nWhat was decided", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("after", no_wrap=True)
    table.add_column("what", overflow="fold")
    for over in days:
        for number, sentence in enumerate(over.events):
            table.add_row("" if number else over.day.isoformat(), escape(sentence))
    console.print(table)


def draw_story(lake: Lake, file: Path) -> None:
    """Draw the experiment's sequence of intervals, the bandit's probabilities, and each canary's CTR."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    sequence, bandit, canaries = figure.subplots(3, 1)
    _draw_sequence(sequence, lake)
    _draw_bandit(bandit, lake)
    _draw_canaries(canaries, lake)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _draw_sequence(axes: Axes, lake: Lake) -> None:
    from matplotlib.dates import ConciseDateFormatter

    from lastaisle.lake.tables import EXPERIMENT_RESULTS

    rows = [
        row
        for row in lake.scan(EXPERIMENT_RESULTS).to_pylist()
        if row["experiment"] == EXPERIMENT and row["role"] == "primary" and row["low"] is not None
    ]
    rows.sort(key=lambda row: row["hour"])
    hours = [row["hour"] for row in rows]
    axes.set_title(
        f"Experiment {EXPERIMENT}: difference in CTR, refused against champion, with 95 % intervals",
        loc="left",
    )
    axes.axhline(0, color="#5b5b5b", linewidth=1)
    if hours:
        values = [row["difference"] for row in rows]
        ends = [
            [row["difference"] - row["low"] for row in rows],
            [row["high"] - row["difference"] for row in rows],
        ]
        axes.errorbar(hours, values, yerr=ends, fmt="o", color="#1b6ca8", capsize=4)
        axes.set_xlim(rows[0]["started_at"], hours[-1] + timedelta(hours=1))
        axes.tick_params(axis="x", labelrotation=0)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f} points")


def _draw_bandit(axes: Axes, lake: Lake) -> None:
    rows = _bandit_rows(lake)
    axes.set_title(f"Bandit {BANDIT}: probability of each arm", loc="left")
    for arm in dict.fromkeys(row["arm"] for row in rows):
        of_arm = [row for row in rows if row["arm"] == arm]
        moments, shares = ([row[name] for row in of_arm] for name in ("learned_until", "probability"))
        axes.plot(moments, shares, marker="o", label=str(arm))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if rows:
        axes.legend(frameon=False)


def _draw_canaries(axes: Axes, lake: Lake) -> None:
    from lastaisle.feedback.metrics.read import read_metrics

    figures = read_metrics(lake, by=("experiment", "arm"), every=None).to_pylist()
    rows = [row for row in figures if str(row["experiment"] or "").startswith("canary-") and row["exposures"]]
    rows.sort(key=lambda row: (int(str(row["experiment"]).removeprefix("canary-")), row["arm"] != "control"))
    axes.set_title("Canaries: CTR of the control and of the canary, with 95 % intervals", loc="left")
    names = list(dict.fromkeys(str(row["experiment"]) for row in rows))
    for arm, colour, shift in (("control", "#5b5b5b", -0.1), ("canary", "#c0392b", 0.1)):
        of_arm = [row for row in rows if row["arm"] == arm]
        places = [names.index(str(row["experiment"])) + shift for row in of_arm]
        values = [row["ctr"] for row in of_arm]
        ends = [
            [row["ctr"] - row["ctr_low"] for row in of_arm],
            [row["ctr_high"] - row["ctr"] for row in of_arm],
        ]
        axes.errorbar(places, values, yerr=ends, fmt="o", color=colour, capsize=4, label=arm)
    axes.set_xticks(range(len(names)), [f"v{name.removeprefix('canary-')}" for name in names])
    axes.set_xlim(-0.5, max(len(names), 1) - 0.5)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if names:
        axes.legend(frameon=False)

"""The parts that all commands share: settings, stores, progress bars and reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lastaisle.settings import Settings
from lastaisle.settings.home import find_home
from lastaisle.settings.private import tighten
from lastaisle.settings.settings import HOME

if TYPE_CHECKING:
    from lastaisle.lake import Lake
    from lastaisle.registry.registry import Registry

# Functions import lake and registry inside, so that `--help` and other commands load nothing heavy.

console = Console()
errors = Console(stderr=True)
_SHOWN = 20  # the most values of a list that a table shows


def announce(line: str) -> None:
    """Print a line of a service that has started."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def read_settings(lake: str = "") -> Settings:
    """Read the settings, with the home that `find_home` finds; `lake` replaces the lake of the settings."""
    home = find_home(os.environ, Path.cwd()).path
    tighten(home)
    settings = Settings.from_env({**os.environ, HOME: str(home)})
    return settings.replace(lake=lake) if lake else settings


def where_searched() -> str:
    """Say where the home was searched, and what to do; empty if LASTAISLE_HOME is set or there are tables.

    It is for errors that an empty lake explains: the reader may have made the lake in another folder.
    """
    home = find_home(os.environ, Path.cwd())
    if not home.searched or any((home.path / "lake").glob("*/_delta_log")):
        return ""
    return (
        f"{HOME} is not set, and no lake with tables was found in: "
        f"{', '.join(str(place) for place in home.searched)}. Change to the folder in which the lake was "
        f"made, set {HOME} to its .lastaisle folder, or name the lake by --lake."
    )


def open_stores(lake: str) -> tuple[Settings, Lake, Registry]:
    """Read the settings; open the lake and the registry."""
    from lastaisle.lake.opening import open_lake
    from lastaisle.registry.registry import Registry

    settings = read_settings(lake)
    return settings, open_lake(settings), Registry(settings)


def open_tuning_runs(settings: Settings) -> Registry:
    """Open MLflow for the runs of tunings: an experiment of their own, beside the candidates' experiment."""
    return _open_experiment(settings, "tuning")


def open_replay_runs(settings: Settings) -> Registry:
    """Open MLflow for the runs of replays: an experiment of their own."""
    return _open_experiment(settings, "replay")


def open_reproductions(settings: Settings) -> Registry:
    """Open MLflow for the runs of repeated trainings: an experiment of their own."""
    return _open_experiment(settings, "reproductions")


def _open_experiment(settings: Settings, name: str) -> Registry:
    from lastaisle.registry.registry import Registry

    return Registry(settings.replace(experiment=f"{settings.registry.experiment}-{name}"))


def print_trial(trial: Mapping[str, Any]) -> None:
    """Print one line about a finished trial on stderr."""
    errors.print(
        f"trial {trial['trial']}: {trial['value']:.4f} (best {trial['best']:.4f}), {trial['seconds']:.0f} s, "
        f"{' '.join(assignments(trial['options']))}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def read_values(assignments: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value that is no JSON is text."""
    values: dict[str, Any] = {}
    for assignment in assignments or []:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, received {assignment!r}")
        try:
            values[name.strip()] = json.loads(text)
        except json.JSONDecodeError:
            values[name.strip()] = text
    return values


def assignments(values: Mapping[str, Any]) -> list[str]:
    """Return values as NAME=VALUE texts, as `read_values` reads them."""
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()
    ]


@contextmanager
def bar(label: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on stderr during a block, if stderr is a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as shown:
        task = shown.add_task(label, total=1.0)
        yield lambda share, step: shown.update(task, completed=share, description=step)


def write(report: Mapping[str, Any], file: Path | None) -> None:
    """Write a report as JSON to the file, if one is given."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8")


def show(report: Mapping[str, Any], file: Path | None) -> None:
    """Print a report as a table, and write it in full to the file if one is given."""
    write(report, file)
    table = Table(show_header=False)
    for name, value in report.items():
        if isinstance(value, float):
            shown = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        elif isinstance(value, dict | list | tuple):
            shown = _in_short(value)
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        table.add_row(name, Text(shown))
    console.print(table)


def _in_short(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return the first values as JSON, and how many more there are."""
    first = dict(islice(values.items(), _SHOWN)) if isinstance(values, Mapping) else list(values[:_SHOWN])
    more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
    return json.dumps(first, default=str) + more

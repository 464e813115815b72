"""Run the main job on a real scheduler, day by day: `python -m lastaisle_airflow.local.demo`.

The demo can be stopped at any moment and started again: finished steps are not repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from lastaisle.settings import Settings
from lastaisle_airflow.local.demo.landing import days_landed, note_landed, split_by_day
from lastaisle_airflow.local.demo.steps import DAGS, DemoSteps
from lastaisle_airflow.local.environment import ROOT
from lastaisle_airflow.local.on_services import wide_console, work_on_services
from lastaisle_airflow.local.services import Services


def land(settings: Settings, logs: str, days: int, sessions_per_day: int, console: Console) -> list[str]:
    """Write the logs into one folder for each day, if that is not done yet; return the days' partitions."""
    landing = settings.home / "landing"
    source = (
        logs if "://" in logs else str(Path(logs).resolve()) if logs else f"simulated shop of {days} days"
    )
    landed = days_landed(landing, source, settings.sources.format)
    if landed is None and logs:
        with console.status(f"Splitting {source} by day ..."):
            landed = split_by_day(source, settings.sources.format, landing)
    elif landed is None:
        from lastaisle.simulate import (  # only here: runs with real logs do not need it
            ShopOptions,
            write_logs,
        )

        with console.status("Simulating a shop ..."):
            seed = settings.learning.seed
            shop = ShopOptions(seed=seed, days=days, sessions_per_day=sessions_per_day)
            write_logs(landing, shop, catalogue=simulated_catalogue(settings))
        start = ShopOptions().start
        landed = [start + timedelta(days=number) for number in range(days)]
    note_landed(landing, source, settings.sources.format, landed)
    label = source if logs else f"SIMULATED logs (no real shop): {source}"
    console.print(f"{label}, {landed[0]} to {landed[:days][-1]}", highlight=False)
    return [day.isoformat() for day in landed[:days]]


def simulated_catalogue(settings: Settings) -> Path:
    """Return the file of what the simulated shop has for sale."""
    return settings.home / "catalogue" / "items.jsonl"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; LOGS and FORMAT in the environment are the defaults."""
    parser = argparse.ArgumentParser(prog="python -m lastaisle_airflow.local.demo", description=__doc__)
    parser.add_argument(
        "--logs", default=os.environ.get("LOGS", ""), help="real logs; default: a simulated shop"
    )
    parser.add_argument("--format", default=os.environ.get("FORMAT", ""), help="format of the real logs")
    parser.add_argument("--days", type=int, default=7, help="number of days, from the first day with logs")
    parser.add_argument("--sessions", type=int, default=3000, help="sessions of the simulated shop on a day")
    parser.add_argument("--no-serve", action="store_true", help="stop everything at the end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code of the command line."""
    chosen = options(arguments)
    console = wide_console()
    name = (chosen.format if chosen.logs else "") or "canonical"
    home = Path(os.environ.get("LASTAISLE_HOME") or ROOT / ".lastaisle")
    from_env = Settings.from_env(os.environ | {"LASTAISLE_HOME": str(home), "LASTAISLE_SOURCE": ""})
    settings = from_env.replace(source_format=name, source_mapping="")

    def prepare() -> tuple[Settings, list[str]]:
        days = land(settings, chosen.logs, chosen.days, chosen.sessions, console)
        file = simulated_catalogue(settings)
        if chosen.logs or not file.exists():  # shops of earlier releases have no catalogue
            return settings, days
        catalogue = {"catalogue": str(file), "catalogue_format": "items", "catalogue_content": "changes"}
        return settings.replace(**catalogue), days

    def work(services: Services, days: list[str]) -> bool:
        demo = DemoSteps(services, days, console)
        demo.wait_for_dags(DAGS)
        demo.stock()
        demo.backfill()
        no_day_failed = demo.show_days()
        demo.refuse_starved()
        demo.roll_back()
        demo.show_ledger()
        demo.predict()
        demo.ask_service()
        return no_day_failed

    return work_on_services(
        settings, console, prepare, work, keep_up=not chosen.no_serve, command="make demo"
    )


if __name__ == "__main__":
    sys.exit(main())

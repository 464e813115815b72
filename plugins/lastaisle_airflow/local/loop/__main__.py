"""Turn the loop on a real scheduler: `python -m lastaisle_airflow.local.loop`, or `make demo LOOP=1`.

Simulated shoppers ask the running service for lists, and click, buy or leave. The day's logs and exposures
are ingested and attributed, a model learns from what was bought, and the service answers by it on the next
day. The loop can be stopped at any moment and started again: finished days are not repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lastaisle.settings import Settings
from lastaisle_airflow.local import serving
from lastaisle_airflow.local.environment import ROOT
from lastaisle_airflow.local.loop.report import print_day, print_results
from lastaisle_airflow.local.loop.shop import LoopShop
from lastaisle_airflow.local.loop.steps import DAGS, LoopSteps
from lastaisle_airflow.local.loop.story import BANDIT, EXPERIMENT, RULES, draw_story
from lastaisle_airflow.local.on_services import wide_console, work_on_services
from lastaisle_airflow.local.services import Services


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lastaisle_airflow.local.loop", description=__doc__)
    parser.add_argument("--days", type=int, default=10, help="number of days with lists")
    parser.add_argument("--sessions", type=int, default=3000, help="sessions on a day")
    parser.add_argument("--no-serve", action="store_true", help="stop everything at the end")
    logs = "not for the loop: the shoppers of real logs cannot react to lists"
    parser.add_argument("--logs", default=os.environ.get("LOGS", ""), help=logs)
    parser.add_argument("--format", default="", help=logs)
    chosen = parser.parse_args(arguments)
    if chosen.logs or chosen.format:
        parser.error(f"LOGS and FORMAT are {logs}; leave them out, or leave LOOP out")
    if chosen.days < 1:
        parser.error(f"DAYS should be at least 1, received {chosen.days}")
    return chosen


def loop_settings(home: Path) -> Settings:
    """Return the settings of the loop, whose logs, catalogue and feedback lie in its home.

    The shop writes its files whole, so that they need not settle. A file of feedback is published soon.
    """
    places = ("LASTAISLE_SOURCE", "LASTAISLE_SERVE_FEEDBACK", "LASTAISLE_EXPOSURES")
    from_env = Settings.from_env(os.environ | {"LASTAISLE_HOME": str(home)} | dict.fromkeys(places, ""))
    return from_env.replace(
        source_format="canonical",
        source_mapping="",
        partition="day",
        settle_seconds=0,
        missing_logs="skip",
        catalogue=str(home / "catalogue"),
        catalogue_format="items",
        catalogue_content="changes",
        exposures_format="feedback",
        serve_feedback_seconds=2,
        serve_health_seconds=2,
        experiments=str(home / "experiments"),
        release_rules=str(RULES),
    )


def turn_days(services: Services, shop: LoopShop, console: Console) -> bool:
    """Turn the loop once for each day, and print the results.

    Returns:
        Whether no run failed, and all counts add up.
    """
    from lastaisle.lake.opening import open_lake

    steps = LoopSteps(services, shop, console)
    steps.wait_for_dags(DAGS)
    lake = open_lake(services.settings)
    for number in range(len(shop.days)):
        turned = steps.turn(number)
        print_day(console, lake, turned, first=number == 0)
        if turned.failed:
            return False
    all_add_up = print_results(console, lake, shop)
    home = services.settings.home
    chart = home / "loop" / "story.png"
    draw_story(lake, chart)
    console.print(f"\nThe chart of the story: {chart}", highlight=False, soft_wrap=True)
    for command in (f"experiments show {EXPERIMENT}", f"bandits show {BANDIT}", "releases"):
        console.print(f"[dim]$ LASTAISLE_HOME={home} bin/lastaisle {command}[/]", highlight=False)
    return all_add_up


def main(arguments: Sequence[str] | None = None) -> int:
    """Turn the loop; return the exit code of the command line."""
    chosen = options(arguments)
    console = wide_console()
    settings = loop_settings(Path(os.environ.get("LASTAISLE_HOME") or ROOT / ".lastaisle" / "loop"))

    def prepare() -> tuple[Settings, LoopShop]:
        from lastaisle.simulate import ShopOptions  # only here: the loop loads NumPy after its imports

        seed = settings.learning.seed
        shop = ShopOptions(seed=seed, days=1 + chosen.days, sessions_per_day=chosen.sessions)
        of_services = serving.with_service(settings)
        console.print("SIMULATED logs (no real shop): shoppers who see the lists of the service, and react")
        return of_services, LoopShop(of_services, shop)

    def work(services: Services, shop: LoopShop) -> bool:
        return turn_days(services, shop, console)

    return work_on_services(
        settings, console, prepare, work, keep_up=not chosen.no_serve, command="make demo LOOP=1"
    )


if __name__ == "__main__":
    sys.exit(main())

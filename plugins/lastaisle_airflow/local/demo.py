"""The main job on a real scheduler, day by day: `python -m lastaisle_airflow.local.demo`.

It can be stopped at any moment and started again: what is done stays done.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from lastaisle.errors import LastaisleError
from lastaisle.settings import Settings
from lastaisle_airflow.local.airflow_api import AirflowApi, AirflowApiError, Run, seconds_of, ticks
from lastaisle_airflow.local.demo_report import (
    DayRow,
    count_day,
    print_day,
    print_ledger,
    print_prediction,
    sample_session,
)
from lastaisle_airflow.local.services import HOST, ROOT, Services, running, serve, show_addresses

DAGS = ("ingest_sessions", "retrain_incremental", "retrain_full", "rollback_model")
DAY_TIMEOUT = 900.0
_PREDICT = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}@champion")
answer = model.predict(pandas.DataFrame({"items": [json.loads(sys.argv[3])]}), params={"k": 5})
row = answer.iloc[0]
print(json.dumps({"items": list(row["items"]), "scores": [float(score) for score in row["scores"]]}))
"""


class Demo:
    """The demo's steps, each of which looks first whether it is done.

    Args:
        services: Airflow and MLflow, up.
        days: the partitions, oldest first.
        console: where it prints.
    """

    def __init__(self, services: Services, days: Sequence[str], console: Console) -> None:
        self.services = services
        self.settings = services.settings
        self.days = days
        self.console = console
        self.api = AirflowApi(f"http://{HOST}:{self.settings.services.airflow_port}", *services.login())

    def wait_for_dags(self) -> None:
        """Wait until the DAG processor has read all DAGs.

        Raises:
            AirflowApiError: it has not after two minutes.
        """
        for _ in ticks(120):
            self.services.check()
            known = {dag["dag_id"]: dag for dag in self.api.get("/dags", limit=100)["dags"]}
            if all(name in known and not known[name]["is_paused"] for name in DAGS):
                return
        paused = [name for name in DAGS if name in known and known[name]["is_paused"]]
        raise AirflowApiError(
            f"Airflow shows {sorted(known)}, paused {paused}, where {sorted(DAGS)} should run: unpause them, "
            f"or see {self.settings.home / 'logs' / 'airflow-dag-processor.log'}"
        )

    def backfill(self) -> None:
        """Have all days ingested that were not yet."""
        for run in self.api.newest_by_partition("retrain_incremental").values():
            if run.state == "failed" and run.partition in self.days:
                self.api.clear_failed(run)
        done = self.api.newest_by_partition("ingest_sessions")
        missing = [day for day in self.days if day not in done or done[day].state == "failed"]
        if not missing:
            return
        command = ["backfill", "create", "--dag-id", "ingest_sessions", "--from-date", missing[0]]
        command += ["--to-date", missing[-1], "--max-active-runs", "1", "--reprocess-behavior", "failed"]
        self.console.print(f"[dim]$ airflow {' '.join(command)}[/]", highlight=False, soft_wrap=True)
        for _ in ticks(120, pause=3):  # one of an earlier start may still be marked as running
            backfills = self.api.get("/backfills", dag_id="ingest_sessions")["backfills"]
            if all(backfill["completed_at"] for backfill in backfills):
                break
        finished = subprocess.run(
            [sys.executable, "-m", "airflow", *command],
            env=self.services.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            tail = "\n".join(finished.stdout.splitlines()[-5:] + finished.stderr.splitlines()[-5:])
            raise AirflowApiError(
                f"airflow {' '.join(command)} ended with status {finished.returncode}: {tail}"
            )

    def show_days(self) -> bool:
        """Print each day when it is through; return whether all went well."""
        well = True
        for number, day in enumerate(self.days):
            with self.console.status(f"{day} ..."):
                ingested = self._await_partition("ingest_sessions", day)
                retrained = None
                if ingested.state == "success":
                    retrained = self._await_partition("retrain_incremental", day)
            row = self._row(day, ingested, retrained)
            well = well and not row.decision.startswith("failed")
            print_day(self.console, row, first=number == 0)
        return well

    def refuse_starved(self) -> None:
        """Train a candidate on one hour for one epoch, which the gate should refuse."""
        from lastaisle.registry.ledger import REFUSE

        if any(move.action == REFUSE and move.run_key.startswith("full-") for move in self._moves()):
            return
        end = date.fromisoformat(self.days[-1]) + timedelta(days=1)
        conf = {"window_hours": 1, "epochs": 1, "data_end": f"{end.isoformat()}T00:00:00+00:00"}
        self._say(f"A starved candidate: retrain_full {json.dumps(conf)}")
        run = self._await_run(self.api.trigger_once("retrain_full", conf))
        decision = self.api.result(run, "release_candidate")
        if decision is None:
            self.console.print(f"[red]failed:[/] {self._page(run)}", highlight=False)
            return
        verdict = "[red]promoted, against expectation[/]" if decision["promoted"] else "[green]refused[/]"
        self.console.print(f"  version {decision['version']} {verdict}", highlight=False)
        for reason in decision["reasons"]:
            self.console.print(f"  - {reason}", highlight=False)

    def roll_back(self) -> None:
        """Move champion back: first as a dry run, then in earnest."""
        from lastaisle.registry.ledger import ROLLBACK, standing

        moves = self._moves()
        if any(move.action == ROLLBACK for move in moves):
            return
        if standing(moves).previous is None:
            self._say("No rollback to show: there was no other champion before this one.")
            return
        for conf in ({}, {"reason": "The demo shows a rollback.", "dry_run": False}):
            self._say(f"A rollback: rollback_model {json.dumps(conf)}")
            run = self._await_run(self.api.trigger_once("rollback_model", conf))
            report = self.api.result(run, "move_champion")
            if report is None:
                self.console.print(f"[red]failed:[/] {self._page(run)}", highlight=False)
                return
            verb = "would move" if report["dry_run"] else "moved"
            self.console.print(
                f"  champion {verb} from version {report['from_version']} to {report['to_version']}",
                highlight=False,
            )

    def show_ledger(self) -> None:
        """Print every decision about champion, and the aliases now."""
        from lastaisle.registry.registry import Registry

        self.console.print()
        print_ledger(self.console, self._moves())
        held = Registry(self.settings).aliases()
        text = ", ".join(f"{alias} = version {version}" for alias, version in sorted(held.items()))
        self.console.print(f"  aliases now: {text}", highlight=False)

    def predict(self) -> None:
        """Ask the champion from a process that has nothing of this project on its path."""
        from lastaisle.lake import Lake

        name = self.settings.registry.model_name
        self._say(f"One predict, as any service would: models:/{name}@champion")
        items = sample_session(Lake(self.settings.lake.url), self.days[-1])
        with tempfile.TemporaryDirectory() as folder:
            uri = self.settings.registry.mlflow_uri
            command = [sys.executable, "-c", _PREDICT, uri, name, json.dumps(items)]
            left_out = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")  # of another registry
            environment = {
                key: value for key, value in self.services.environment.items() if key not in left_out
            }
            done = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, text=True, check=False
            )
        if done.returncode:
            tail = "\n".join(done.stderr.splitlines()[-5:])
            raise LastaisleError(f"the served model did not answer: {tail}")
        print_prediction(self.console, items, json.loads(done.stdout.splitlines()[-1]))

    def _row(self, day: str, ingested: Run, retrained: Run | None) -> DayRow:
        from lastaisle.evaluation.evaluate import stored_report
        from lastaisle.lake import Lake
        from lastaisle.registry.registry import Registry

        work, overhead = seconds_of(self.api.tasks(ingested), ingested)
        report, decision = None, f"failed: {self._page(retrained or ingested)}"
        if retrained is not None:
            more_work, more_overhead = seconds_of(self.api.tasks(retrained), retrained)
            work, overhead = work + more_work, overhead + more_overhead
            released = self.api.result(retrained, "release_candidate")
            if released is not None:
                run_id = self.api.result(retrained, "train_and_evaluate")
                report = stored_report(run_id, Registry(self.settings))
                verdict = "promoted" if released["promoted"] else "refused"
                decision = f"{verdict} v{released['version']}"
            elif retrained.state == "success":
                decision = "skipped: stale"
        return DayRow(day, *count_day(Lake(self.settings.lake.url), day), report, decision, work, overhead)

    def _moves(self) -> Any:
        from lastaisle.lake import Lake
        from lastaisle.registry.ledger import Ledger

        return Ledger(Lake(self.settings.lake.url), self.settings.registry.model_name).moves()

    def _await_partition(self, dag_id: str, day: str) -> Run:
        for _ in ticks(DAY_TIMEOUT):
            self.services.check()
            run = self.api.newest_by_partition(dag_id).get(day)
            if run and run.finished:
                return run
        raise AirflowApiError(f"{dag_id} of {day} was not over after {DAY_TIMEOUT:.0f} s: {self._page(run)}")

    def _await_run(self, run: Run) -> Run:
        with self.console.status(f"{run.dag_id} ..."):
            return self.api.wait(run, self.services.check)

    def _page(self, run: Run | None) -> str:
        return f"{self.api.base}/dags/{run.dag_id}/runs/{run.run_id}" if run else self.api.base

    def _say(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/]", highlight=False)


def land(settings: Settings, logs: str, days: int, sessions_per_day: int, console: Console) -> list[str]:
    """Lay out the logs, real or simulated, unless they are; return the partitions of the first days."""
    from lastaisle_airflow.local.landing import days_landed, note_landed, split_by_day

    landing = settings.home / "landing"
    source = (
        logs if "://" in logs else str(Path(logs).resolve()) if logs else f"simulated shop of {days} days"
    )
    landed = days_landed(landing, source, settings.sources.format)
    if landed is None and logs:
        with console.status(f"Splitting {source} by day ..."):
            landed = split_by_day(source, settings.sources.format, landing)
    elif landed is None:
        from lastaisle.simulate import ShopOptions, write_logs

        with console.status("Simulating a shop ..."):
            seed = settings.learning.seed
            write_logs(landing, ShopOptions(seed=seed, days=days, sessions_per_day=sessions_per_day))
        start = ShopOptions().start
        landed = [start + timedelta(days=number) for number in range(days)]
    note_landed(landing, source, settings.sources.format, landed)
    label = source if logs else f"SIMULATED logs (no real shop): {source}"
    console.print(f"{label}, {landed[0]} to {landed[:days][-1]}", highlight=False)
    return [day.isoformat() for day in landed[:days]]


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; LOGS and FORMAT in the environment serve as defaults."""
    parser = argparse.ArgumentParser(prog="python -m lastaisle_airflow.local.demo", description=__doc__)
    parser.add_argument(
        "--logs", default=os.environ.get("LOGS", ""), help="real logs; default: a simulated shop"
    )
    parser.add_argument("--format", default=os.environ.get("FORMAT", ""), help="format of the real logs")
    parser.add_argument("--days", type=int, default=7, help="how many days, from the first that has logs")
    parser.add_argument("--sessions", type=int, default=3000, help="sessions a day of the simulated shop")
    parser.add_argument("--no-serve", action="store_true", help="stop everything at the end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or what the command line should exit with."""
    chosen = options(arguments)
    console = Console()
    console.width = max(console.width, 120)
    name = (chosen.format if chosen.logs else "") or "canonical"
    home = Path(os.environ.get("LASTAISLE_HOME") or ROOT / ".lastaisle")
    given = Settings.from_env(os.environ | {"LASTAISLE_HOME": str(home), "LASTAISLE_SOURCE": ""})
    settings = given.replace(source_format=name)
    started = time.monotonic()
    try:
        days = land(settings, chosen.logs, chosen.days, chosen.sessions, console)
        console.print("Starting Airflow and MLflow ...")
        with running(settings) as services:
            show_addresses(services, console)
            demo = Demo(services, days, console)
            demo.wait_for_dags()
            demo.backfill()
            well = demo.show_days()
            demo.refuse_starved()
            demo.roll_back()
            demo.show_ledger()
            demo.predict()
            console.print(f"\nDone after {time.monotonic() - started:.0f} s.", highlight=False)
            if not chosen.no_serve:
                show_addresses(services, console)
                console.print("Airflow and MLflow stay up; Ctrl-C stops both.")
                serve(services)
            return 0 if well else 1
    except KeyboardInterrupt:
        console.print("Stopped; `make demo` goes on from here.")
        return 0
    except LastaisleError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

"""The steps of the demo; each step first checks whether it is done already."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta

from rich.console import Console

from lastaisle.errors import LastaisleError
from lastaisle_airflow.local import serving
from lastaisle_airflow.local.airflow.api import AirflowApiError, Run, seconds_of
from lastaisle_airflow.local.airflow.steps import AirflowSteps
from lastaisle_airflow.local.demo.report import (
    DayRow,
    count_day,
    print_day,
    print_ledger,
    print_prediction,
    sample_session,
)
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.secret_holders import MLFLOW_CLIENT, for_process
from lastaisle_airflow.local.services import ServiceError, Services

# Functions import the pipeline inside: the demo starts Airflow before it loads MLflow and DuckDB.

DAGS = ("ingest_catalogue", "ingest_sessions", "retrain_incremental", "retrain_full", "rollback_model")
_PREDICT = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}@champion")
answer = model.predict(pandas.DataFrame({"items": [json.loads(sys.argv[2])]}), params={"k": 5})
row = answer.iloc[0]
print(json.dumps({"items": list(row["items"]), "scores": [float(score) for score in row["scores"]]}))
"""


class DemoSteps(AirflowSteps):
    """The demo's steps; each step first checks whether it is done already.

    Args:
        services: the running services.
        days: the partitions, oldest first.
        console: the console to print to.
    """

    def __init__(self, services: Services, days: Sequence[str], console: Console) -> None:
        super().__init__(services, console)
        self.days = days

    def stock(self) -> None:
        """Ingest the shop's catalogue, if there is one.

        Raises:
            AirflowApiError: the run failed.
        """
        if not self.settings.catalogue.address:
            return
        self.print_heading(f"The catalogue: ingest_catalogue of {self.settings.catalogue.address}")
        run = self.await_run(self.api.trigger_once("ingest_catalogue", {}))
        if run.state != "success":
            raise AirflowApiError(f"the catalogue was not ingested: {self.page(run)}")
        import pyarrow.compute as pc

        from lastaisle.catalogue.history import read_catalogue
        from lastaisle.lake.opening import open_lake

        items = read_catalogue(open_lake(self.settings))
        assert items is not None, "the run has written the table"
        sold_out = items.num_rows - int(pc.sum(items["available"]).as_py())
        self.console.print(f"  {items.num_rows:,} items, {sold_out:,} of them sold out", highlight=False)

    def backfill(self) -> None:
        """Start the ingestion of all days that are not ingested yet."""
        for run in self.api.newest_by_partition("retrain_incremental").values():
            if run.state == "failed" and run.partition in self.days:
                self.api.clear_failed(run)
        runs = self.api.newest_by_partition("ingest_sessions")
        missing = [day for day in self.days if day not in runs or runs[day].state == "failed"]
        if not missing:
            return
        command = ["backfill", "create", "--dag-id", "ingest_sessions", "--from-date", missing[0]]
        command += ["--to-date", missing[-1], "--max-active-runs", "1", "--reprocess-behavior", "failed"]
        self.console.print(f"[dim]$ bin/airflow {' '.join(command)}[/]", highlight=False, soft_wrap=True)
        # A backfill of an earlier start may still be marked as running, and Airflow refuses a second one.
        wait_until(self._no_backfill_runs, timeout=120, pause=3)
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

    def _no_backfill_runs(self) -> bool:
        backfills = self.api.get("/backfills", dag_id="ingest_sessions")["backfills"]
        return all(backfill["completed_at"] for backfill in backfills)

    def show_days(self) -> bool:
        """Print each day when its runs are over; return whether no day failed."""
        no_day_failed = True
        for number, day in enumerate(self.days):
            with self.console.status(f"{day} ..."):
                ingested = self.await_partition("ingest_sessions", day)
                retrained = None
                if ingested.state == "success":
                    retrained = self.await_partition("retrain_incremental", day)
            row = self._row(day, ingested, retrained)
            no_day_failed = no_day_failed and not row.decision.startswith("failed")
            print_day(self.console, row, first=number == 0)
        return no_day_failed

    def refuse_starved(self) -> None:
        """Train a candidate on one hour for one epoch; the gate should refuse it."""
        from lastaisle.registry.ledger import REFUSE

        if any(move.action == REFUSE and move.run_key.startswith("full-") for move in self.moves()):
            return
        end = date.fromisoformat(self.days[-1]) + timedelta(days=1)
        conf = {"window_hours": 1, "epochs": 1, "data_end": f"{end.isoformat()}T00:00:00+00:00"}
        self.print_heading(f"A starved candidate: retrain_full {json.dumps(conf)}")
        run = self.await_run(self.api.trigger_once("retrain_full", conf))
        decision = self.api.result(run, "release_candidate")
        if decision is None:
            self.console.print(f"[red]failed:[/] {self.page(run)}", highlight=False)
            return
        verdict = "[red]promoted, against expectation[/]" if decision["promoted"] else "[green]refused[/]"
        self.console.print(f"  version {decision['version']} {verdict}", highlight=False)
        for reason in decision["reasons"]:
            self.console.print(f"  - {reason}", highlight=False)

    def roll_back(self) -> None:
        """Move the champion back: first as a dry run, then for real."""
        from lastaisle.registry.ledger import ROLLBACK, standing

        moves = self.moves()
        if any(move.action == ROLLBACK for move in moves):
            return
        if standing(moves).previous is None:
            self.print_heading("No rollback to show: there was no other champion before this one.")
            return
        for conf in ({}, {"reason": "The demo shows a rollback.", "dry_run": False}):
            self.print_heading(f"A rollback: rollback_model {json.dumps(conf)}")
            run = self.await_run(self.api.trigger_once("rollback_model", conf))
            report = self.api.result(run, "move_champion")
            if report is None:
                self.console.print(f"[red]failed:[/] {self.page(run)}", highlight=False)
                return
            verb = "would move" if report["dry_run"] else "moved"
            self.console.print(
                f"  champion {verb} from version {report['from_version']} to {report['to_version']}",
                highlight=False,
            )

    def show_ledger(self) -> None:
        """Print every decision about the champion, and the present aliases."""
        from lastaisle.registry.registry import Registry

        self.console.print()
        print_ledger(self.console, self.moves())
        aliases = Registry(self.settings).aliases()
        text = ", ".join(f"{alias} = version {version}" for alias, version in sorted(aliases.items()))
        self.console.print(f"  aliases now: {text}", highlight=False)

    def predict(self) -> None:
        """Ask the champion for a prediction, in a process without this project on its path."""
        from lastaisle.lake.opening import open_lake

        name = self.settings.registry.model_name
        self.print_heading(f"One predict, as any service would: models:/{name}@champion")
        items = sample_session(open_lake(self.settings), self.days[-1])
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-c",
                _PREDICT,
                name,
                json.dumps(items),
            ]
            # The two addresses may name another registry.
            left_out = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
            inherited = for_process(MLFLOW_CLIENT, self.services.environment)
            environment = {key: value for key, value in inherited.items() if key not in left_out}
            environment["MLFLOW_TRACKING_URI"] = self.settings.registry.mlflow_uri
            process = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, text=True, check=False
            )
        if process.returncode:
            tail = "\n".join(process.stderr.splitlines()[-5:])
            raise LastaisleError(f"the served model did not answer: {tail}")
        print_prediction(self.console, items, json.loads(process.stdout.splitlines()[-1]))

    def ask_service(self) -> None:
        """Ask the running service for a list, once it serves the present champion, and show how to ask it.

        Raises:
            ServiceError: the service does not serve the champion, or refuses the question.
        """
        from lastaisle.lake.opening import open_lake

        settings = self.settings
        self.print_heading("One list of the service, which follows the champion")
        self.await_champion()
        items = sample_session(open_lake(settings), self.days[-1])
        with self.client() as client:
            answer = client.post(serving.PATH, json={"items": items, "k": 5})
        if answer.status_code != 200:
            raise ServiceError(f"the service answered {answer.status_code} to a session: {answer.text}")
        self.console.print(f"[dim]$ {serving.curl(settings, items, 5)}[/]", highlight=False, soft_wrap=True)
        found = answer.json()
        shown = {"items": [item["id"] for item in found["items"]]}
        shown["scores"] = [item["score"] for item in found["items"]]
        print_prediction(self.console, items, shown)

    def _row(self, day: str, ingested: Run, retrained: Run | None) -> DayRow:
        from lastaisle.evaluation.report import stored_report
        from lastaisle.lake.opening import open_lake
        from lastaisle.registry.registry import Registry

        work, overhead = seconds_of(self.api.tasks(ingested), ingested)
        report, decision = None, f"failed: {self.page(retrained or ingested)}"
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
        return DayRow(day, *count_day(open_lake(self.settings), day), report, decision, work, overhead)

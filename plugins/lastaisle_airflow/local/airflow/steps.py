"""Steps that start runs of a running Airflow, or wait for them, and print what came of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from lastaisle_airflow.local import serving
from lastaisle_airflow.local.airflow.api import AirflowApi, AirflowApiError, Run
from lastaisle_airflow.local.environment import HOST
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.services import ServiceError, Services

if TYPE_CHECKING:
    from lastaisle.registry.ledger import Move

# Functions import the pipeline inside: the demo starts Airflow before it loads MLflow and DuckDB.

RUN_TIMEOUT = 900.0
SERVED_TIMEOUT = 60.0  # the service asks MLflow every two seconds


@dataclass(frozen=True)
class Answering:
    """The version by which the service answers.

    Attributes:
        version: the version.
        since: when the service began to answer by it.
    """

    version: str
    since: datetime


class AirflowSteps:
    """Steps on running services.

    Args:
        services: the running services.
        console: the console to print to.

    Attributes:
        settings: the settings of the services.
        began: when the steps began; the services run since then.
        api: client of Airflow's REST API.
    """

    def __init__(self, services: Services, console: Console) -> None:
        self.services = services
        self.settings = services.settings
        self.console = console
        self.began = datetime.now(UTC)
        self.api = AirflowApi(f"http://{HOST}:{self.settings.services.airflow_port}", *services.login())

    def wait_for_dags(self, names: Collection[str]) -> None:
        """Wait until the DAG processor has read these DAGs, and none of them is paused.

        Raises:
            AirflowApiError: this is not so after two minutes.
        """
        known: dict[str, bool] = {}  # whether a DAG is paused, by its id

        def all_run() -> bool:
            self.services.check()
            known.update(
                {dag["dag_id"]: dag["is_paused"] for dag in self.api.get("/dags", limit=100)["dags"]}
            )
            return all(known.get(name) is False for name in names)

        if not wait_until(all_run, timeout=120):
            paused = [name for name in names if known.get(name)]
            raise AirflowApiError(
                f"Airflow shows {sorted(known)}, paused {paused}, where {sorted(names)} should run: unpause "
                f"them, or see {self.settings.home / 'logs' / 'airflow-dag-processor.log'}"
            )

    def moves(self) -> tuple[Move, ...]:
        """Return the decisions about the model, oldest first."""
        from lastaisle.lake.opening import open_lake
        from lastaisle.registry.ledger import Ledger

        return Ledger(open_lake(self.settings), self.settings.registry.model_name).moves()

    def await_champion(self) -> Answering | None:
        """Wait until the service answers by the present champion; None if there is no champion.

        Raises:
            ServiceError: the service does not do so in time.
        """
        from lastaisle.registry.registry import Registry

        champion = Registry(self.settings).aliases().get("champion")
        if champion is None:
            return None
        told = "nothing"

        def answers() -> Answering | None:
            nonlocal told
            self.services.check()
            answer = client.get("/v1/model")
            told = answer.text
            if answer.status_code != httpx.codes.OK or answer.json()["version"] != champion:
                return None
            return Answering(answer.json()["version"], datetime.fromisoformat(answer.json()["since"]))

        with self.client() as client:
            answering = wait_until(answers, timeout=SERVED_TIMEOUT, pause=0.2)
        if answering is None:
            raise ServiceError(
                f"the service at {serving.url_of(self.settings)} does not serve version {champion}: {told}; "
                f"see {self.settings.home / 'logs' / 'serve.log'}"
            )
        return answering

    def client(self) -> httpx.Client:
        """Return a client of the service, with a key."""
        url, headers = serving.url_of(self.settings), serving.headers_of(self.settings)
        return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=10)

    def await_partition(self, dag_id: str, day: str) -> Run:
        """Wait until the newest run of a partition is over, and return the run.

        Raises:
            AirflowApiError: the run is not over in time.
        """
        run: Run | None = None

        def finished() -> Run | None:
            nonlocal run
            self.services.check()
            run = self.api.newest_by_partition(dag_id).get(day)
            return run if run and run.finished else None

        ended = wait_until(finished, RUN_TIMEOUT)
        if ended is None:
            raise AirflowApiError(
                f"{dag_id} of {day} was not over after {RUN_TIMEOUT:.0f} s: {self.page(run)}"
            )
        return ended

    def await_run(self, run: Run) -> Run:
        """Wait until a run is over, and return the run."""
        with self.console.status(f"{run.dag_id} ..."):
            return self.api.wait(run, self.services.check)

    def page(self, run: Run | None) -> str:
        """Return the address of a run's page in Airflow."""
        return f"{self.api.base}/dags/{run.dag_id}/runs/{run.run_id}" if run else self.api.base

    def print_heading(self, text: str) -> None:
        """Print the heading of a step."""
        self.console.print(f"\n[bold]{text}[/]", highlight=False)

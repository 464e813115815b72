"""The steps of the loop; each step first checks whether it is done already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from lastaisle_airflow.local.airflow.api import AirflowApiError, Run
from lastaisle_airflow.local.airflow.steps import AirflowSteps
from lastaisle_airflow.local.loop.shop import FinishedDay, LoopShop
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.services import Services

# Functions import the pipeline inside: the loop starts Airflow before it loads MLflow and DuckDB.

DAGS = ("ingest_catalogue", "ingest_sessions", "attribute_outcomes", "retrain_incremental")
ATTRIBUTED_TIMEOUT = 300.0


@dataclass(frozen=True)
class TurnedDay:
    """What the loop did of a day.

    Attributes:
        over: the day of the shop.
        decision: what the gate decided about the day's candidate, or the address of the failed run.
        failed: whether a run failed.
    """

    over: FinishedDay
    decision: str
    failed: bool = False


class LoopSteps(AirflowSteps):
    """Turn the loop day by day: shoppers, ingestion, attribution, training, and the service that follows.

    Args:
        services: the running services.
        shop: the simulated shop.
        console: the console to print to.
    """

    def __init__(self, services: Services, shop: LoopShop, console: Console) -> None:
        super().__init__(services, console)
        self.shop = shop

    def turn(self, number: int) -> TurnedDay:
        """Let a day happen, and learn from it; return when the service answers by the new champion."""
        day = self.shop.days[number].isoformat()
        with self.console.status(f"{day}: shoppers ...") as status:
            over = self.shop.finished(number) or self.shop.open(
                number, lambda done, every: status.update(f"{day}: {done:,} of {every:,} shoppers ...")
            )
            steps: dict[str, Callable[[str], Run | None]] = {
                "items": self._stock,
                "events and exposures": self._ingest,
                "outcomes and figures": self._await_outcomes,
                "training": self._retrain,
            }
            run: Run | None = None
            for name, step in steps.items():
                status.update(f"{day}: {name} ...")
                run = step(day)
                if run is not None and run.state == "failed":
                    return TurnedDay(over, f"failed: {self.page(run)}", failed=True)
            status.update(f"{day}: the service follows ...")
            return self._follow(number, over, run)

    def _stock(self, day: str) -> Run:
        """Ingest the items that changed on a day."""
        return self.api.wait(self.api.trigger_once("ingest_catalogue", {"day": day}), self.services.check)

    def _ingest(self, day: str) -> Run:
        """Ingest the logs and the exposures of a day."""
        self.api.trigger_partition("ingest_sessions", day)
        return self.await_partition("ingest_sessions", day)

    def _await_outcomes(self, day: str) -> Run | None:
        """Wait until everything ingested is attributed and counted; return the run if it failed.

        Raises:
            AirflowApiError: this takes too long.
        """
        from lastaisle.feedback.metrics.count import is_stale as is_uncounted
        from lastaisle.feedback.outcomes.attribute import is_stale as is_unattributed
        from lastaisle.lake.opening import open_lake

        self._clear_failed("attribute_outcomes", day)
        lake, failed = open_lake(self.settings), None

        def over() -> bool:
            nonlocal failed
            self.services.check()
            newest = self.api.newest_by_partition("attribute_outcomes").get(day)
            failed = newest if newest and newest.state == "failed" else None
            return failed is not None or not (is_unattributed(lake, self.settings) or is_uncounted(lake))

        if not wait_until(over, ATTRIBUTED_TIMEOUT):
            runs = f"{self.api.base}/dags/attribute_outcomes"
            raise AirflowApiError(f"{day} was not counted after {ATTRIBUTED_TIMEOUT:.0f} s: {runs}")
        return failed

    def _retrain(self, day: str) -> Run:
        """Wait for the training that the day's events woke."""
        self._clear_failed("retrain_incremental", day)
        return self.await_partition("retrain_incremental", day)

    def _clear_failed(self, dag_id: str, day: str) -> None:
        """Let a run that failed before this start of the loop try again."""
        run = self.api.newest_by_partition(dag_id).get(day)
        if run is not None and run.state == "failed" and run.end and run.end < self.began:
            self.api.clear_failed(run)

    def _follow(self, number: int, over: FinishedDay, retrained: Run | None) -> TurnedDay:
        """Wait until the service answers by the champion; note how long the service took."""
        from lastaisle.registry.ledger import PROMOTE

        answering = self.await_champion()
        if answering is None or retrained is None:
            return TurnedDay(over, f"no model was promoted: {self.page(retrained)}", failed=True)
        released = self.api.result(retrained, "release_candidate")
        if released is None:
            return TurnedDay(over, "skipped: stale")
        version = released["version"]
        if not released["promoted"]:
            return TurnedDay(over, f"refused v{version}")
        move = next(move for move in self.moves() if (move.action, move.to_version) == (PROMOTE, version))
        if answering.version == version and self.began < move.moved_at < answering.since:
            seconds = (answering.since - move.moved_at).total_seconds()
            over = self.shop.note_followed(number, over, seconds)
        return TurnedDay(over, f"promoted v{version}")

"""The steps of the loop; each step first checks whether it is done already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rich.console import Console

from lastaisle_airflow.local.airflow.api import AirflowApiError, Run
from lastaisle_airflow.local.airflow.steps import AirflowSteps
from lastaisle_airflow.local.loop.shop import FinishedDay, LoopShop
from lastaisle_airflow.local.loop.story import WEAK, Story, write_definitions
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.services import Services

# Functions import the pipeline inside: the loop starts Airflow before it loads MLflow and DuckDB.

#: The DAGs that decide by the shop's figures, in the order in which the loop waits for them.
DECIDING = ("analyze_experiments", "update_bandit", "watch_releases")
DAGS = (
    *("ingest_catalogue", "ingest_sessions", "attribute_outcomes", "retrain_incremental", "retrain_full"),
    *DECIDING,
)
ATTRIBUTED_TIMEOUT = 300.0
DECIDED_TIMEOUT = 300.0
_SAME_MOMENT = timedelta(seconds=2)  # between the announcement of figures and the end of their task


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
        from lastaisle.lake.opening import open_lake

        super().__init__(services, console)
        self.shop = shop
        self._story = Story(open_lake(self.settings), self.settings.registry.model_name)

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
                "decisions": self._await_decisions,
                "training": self._retrain,
            }
            run: Run | None = None
            for name, step in steps.items():
                status.update(f"{day}: {name} ...")
                run = step(day)
                if run is not None and run.state == "failed":
                    return TurnedDay(over, f"failed: {self.page(run)}", failed=True)
            if number == 0:
                status.update(f"{day}: a version that the gate refuses, and the definitions ...")
                self._prepare_trials()
            else:
                self._spoil_second_canary()
            status.update(f"{day}: the service follows ...")
            turned = self._follow(number, over, run)
            return replace(turned, over=self.shop.note(number, turned.over, events=tuple(self._story.told())))

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

    def _await_decisions(self, day: str) -> Run | None:
        """Wait until experiments, bandits and releases are decided by the day's figures.

        A champion that the guardrails rolled back makes the run of `watch_releases` red, so that people look.
        This is what the loop wants to show.

        Raises:
            AirflowApiError: this takes too long.
        """
        counted = self._counted_at(day)
        for dag_id in DECIDING if counted else ():

            def over(dag_id: str = dag_id) -> Run | None:
                self.services.check()
                run = self.api.newest_by_partition(dag_id).get(day)
                is_later = run and run.start and counted and run.start >= counted - _SAME_MOMENT
                return run if run and is_later and run.finished else None

            run = wait_until(over, DECIDED_TIMEOUT)
            if run is None:
                raise AirflowApiError(
                    f"{dag_id} of {day} was not over after {DECIDED_TIMEOUT:.0f} s: "
                    f"{self.api.base}/dags/{dag_id}"
                )
            if run.state == "failed" and not self._rolled_back(run):
                return run
        return None

    def _counted_at(self, day: str) -> datetime | None:
        """Return when the figures of a day changed last; None if they never did."""
        ended = [
            datetime.fromisoformat(task["end_date"])
            for run in self.api.runs("attribute_outcomes")
            if run.partition == day
            for task in self.api.tasks(run)
            if task["task_id"] == "count_metrics" and task["state"] == "success"
        ]
        return max(ended, default=None)

    def _rolled_back(self, run: Run) -> bool:
        """Tell whether a run is red because it rolled the champion back."""
        report = self.api.result(run, "watch") if run.dag_id == "watch_releases" else None
        return bool(report and report["rolled_back"])

    def _prepare_trials(self) -> None:
        """Train the version that the gate refuses, and let the experiment and the bandit begin."""
        conf = {"hyperparameters": {}, **WEAK}
        self.api.wait(self.api.trigger_once("retrain_full", conf), self.services.check)
        write_definitions(self.settings)
        self.api.wait(self.api.trigger_once("analyze_experiments", {}), self.services.check)

    def _spoil_second_canary(self) -> None:
        """Let the shop's page show the second canary badly, though the gate found it good.

        The first canary shows that a good version passes.
        """
        from lastaisle.registry.ledger import CANARY

        canaries = [move.to_version for move in self.moves() if move.action == CANARY]
        if len(canaries) > 1 and not self.shop.spoiled:
            self.shop.spoil(canaries[1])

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
        promoted = [move for move in self.moves() if move.action == PROMOTE]
        if self.began < promoted[-1].moved_at < answering.since:
            seconds = (answering.since - promoted[-1].moved_at).total_seconds()
            over = self.shop.note(number, over, followed=seconds)
        return TurnedDay(over, f"passed v{version}")

"""Lastaisle's own Airflow operators."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator


class TriggerWithNote(TriggerDagRunOperator):
    """Trigger a DAG run whose note may be a template, so that the note says why the run started."""

    template_fields = (*TriggerDagRunOperator.template_fields, "note")


class AskPeople(HITLOperator):
    """Wait until people approve or reject in Airflow; without an answer in time, the answer is Reject.

    While the task waits, no process runs for it and no pool's slot is taken. The scheduler ends the waiting,
    so that no triggerer is needed. The task has no `execution_timeout`: `response_timeout` bounds it.
    Nobody is asked if the key `ask` in the result of the task `assessed_by` is false.

    Args:
        assessed_by: id of the task whose result has the keys ask, subject and body.
        response_timeout: how long people may take.
        **options: as of every operator.
    """

    APPROVE, REJECT = "Approve", "Reject"

    def __init__(self, *, assessed_by: str, response_timeout: timedelta, **options: Any) -> None:
        super().__init__(
            **options,
            subject=f"{{{{ ti.xcom_pull(task_ids='{assessed_by}')['subject'] }}}}",
            body=f"{{{{ ti.xcom_pull(task_ids='{assessed_by}')['body'] }}}}",
            options=[self.APPROVE, self.REJECT],
            defaults=self.REJECT,
            response_timeout=response_timeout,
            execution_timeout=None,
        )
        self.assessed_by = assessed_by

    def execute(self, context: Any) -> None:
        """Ask, and wait; return at once if there is nothing to ask."""
        if context["ti"].xcom_pull(task_ids=self.assessed_by)["ask"]:
            super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Return whether people approved, and the name of the person; None after the time is over."""
        answer = super().execute_complete(context, event)
        person = answer["responded_by_user"]
        return {
            "approved": answer["chosen_options"] == [self.APPROVE],
            "by": None if person is None else person["name"],
        }

"""Lastaisle's own Airflow operators."""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator


class TriggerWithNote(TriggerDagRunOperator):
    """Trigger a DAG run whose note may be a template, so that the note says why the run started."""

    template_fields = (*TriggerDagRunOperator.template_fields, "note")

"""The rules deadline and failed_task, whose alerts Airflow's callbacks report."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import Finding


class ReportedOptions(RuleOptions):
    """The limits of deadline and failed_task."""

    days: float = Field(
        default=7.0,
        gt=0,
        le=365,
        description="An alert of a task or a run that never ran again ends after this.",
    )


def check(context: Context[ReportedOptions]) -> list[Finding]:
    """Find the open alerts again, until they are given up."""
    limit = timedelta(days=context.options.days)
    return [
        alert
        for alert in context.open
        if alert.quiet_since is None and context.now - alert.changed_at <= limit
    ]

"""The rule request_due: a request of a shopper waits too long, or is soon due by law."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from lastaisle.lake.tables import SUBJECT_REQUESTS
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import REQUEST_DUE, Evidence, Finding
from lastaisle.rights.requests import Request, read_requests
from lastaisle.telemetry.shown import utc


class RequestDueOptions(RuleOptions):
    """The limits of request_due."""

    waiting_hours: float = Field(
        default=24.0,
        gt=0,
        le=1_080,
        description="How long a request may wait before there is an alert.",
    )
    critical_days: float = Field(
        default=7.0,
        ge=0,
        le=45,
        description="How long before the day on which a request is due its alert becomes critical.",
    )


def check(context: Context[RequestDueOptions]) -> list[Finding]:
    """Find the requests that wait too long; the alert becomes critical as the due day comes near."""
    options = context.options
    findings = []
    for request in read_requests(context.lake):
        left = request.first.due_at - context.now
        is_near = left < timedelta(days=options.critical_days)
        waits = request.age(context.now)
        if not request.is_open or not (is_near or waits > timedelta(hours=options.waiting_hours)):
            continue
        findings.append(
            Finding(
                REQUEST_DUE,
                "critical" if is_near else "warning",
                {"request": request.request_id},
                _summary(request, left, waits),
                request.first.at,
                (
                    Evidence(
                        "The steps of the request",
                        table=SUBJECT_REQUESTS,
                        query=f'SELECT "at", state, actor, problem FROM {SUBJECT_REQUESTS} '
                        f"WHERE request_id = '{request.request_id}' ORDER BY entry",
                    ),
                ),
            )
        )
    return findings


def _summary(request: Request, left: timedelta, waits: timedelta) -> str:
    hours, first = waits / timedelta(hours=1), request.first
    when = (
        f"it is due by {utc(first.due_at)}" if left > timedelta(0) else f"it was due by {utc(first.due_at)}"
    )
    why = f" The last try failed: {request.last.problem}." if request.last.problem else ""
    return (
        f"The request {request.request_id} of a shopper ({first.kind}) waits for {hours:,.0f} hours, and "
        f"{when}.{why}"
    )

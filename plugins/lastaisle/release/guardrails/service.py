"""What services measure of a version: errors, empty lists, latency, and the overlap of a shadow.

These counts lie in the table `service_metrics`, by the clock of the services.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.feedback.health import CANARY, CHAMPION, latency_quantile, read_health
from lastaisle.registry.ledger import PROMOTE, Move, returns
from lastaisle.release.gate import OPEN, Check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastaisle.lake.lake import Lake
    from lastaisle.release.guardrails.limits import GuardrailLimits

#: Errors and empty lists come in bursts: a share is sure if it lies so many standard errors above a limit.
_DEVIATIONS: Final = 5.0
#: A champion is also the control of a canary.
_SERVING: Final = (CHAMPION, CANARY)
#: So long before a version give its baseline.
_BEFORE: Final = timedelta(days=7)


@dataclass(frozen=True)
class Health:
    """How a version answered.

    Attributes:
        requests: lists, and errors.
        values: the metrics of lastaisle.release.steps.rules.OF_SERVICES; a metric without counts is missing.
    """

    requests: int
    values: Mapping[str, float]

    def exceeds(self, metric: str, limit: float) -> bool:
        """Tell whether a share is surely above a limit."""
        value = self.values.get(metric)
        if value is None or not self.requests:
            return False
        spread = math.sqrt(max(limit, 1 / self.requests) / self.requests)
        return value > limit + _DEVIATIONS * spread


def health_of(
    lake: Lake,
    version: str,
    roles: Collection[str],
    since: datetime,
    *,
    until: datetime | None = None,
    arm: str | None = None,
) -> Health:
    """Return how a version answered.

    Args:
        lake: where `service_metrics` is.
        version: the version.
        roles: the roles that count.
        since: the first moment, by the clock of the services.
        until: the moment after the last.
        arm: the arm that counts; None = all.
    """
    rows = read_health(lake, since=since, until=until, by=("model_version", "role", "arm")).to_pylist()
    rows = [
        row
        for row in rows
        if row["model_version"] == version and row["role"] in roles and arm in (None, row["arm"])
    ]
    requests, errors, empty, compared = (
        sum(int(row[name]) for row in rows) for name in ("requests", "errors", "empty_lists", "compared")
    )
    counts = zip(*(row["latency_counts"] for row in rows), strict=True)
    slowest = latency_quantile([sum(count) for count in counts], 0.99)
    values = {}
    if requests:
        values["errors"] = errors / requests
    if requests > errors:
        values["empty_lists"] = empty / (requests - errors)
    if slowest is not None:
        values["latency_p99"] = slowest.value
    if compared:
        values["overlap"] = (
            sum(row["overlap"] * row["compared"] for row in rows if row["compared"]) / compared
        )
    return Health(requests, values)


def judge_service(lake: Lake, moves: Sequence[Move], limits: GuardrailLimits, now: datetime) -> list[Check]:
    """Judge how the champion answers, against the champion before it.

    Args:
        lake: where `service_metrics` is.
        moves: the moves of the ledger, oldest first.
        limits: how strict the guardrails are.
        now: the present, by the clock of the services.
    """
    last = next((move for move in reversed(moves) if move.action == PROMOTE or returns(move)), None)
    if last is None or now - last.moved_at > timedelta(hours=limits.watch_hours):
        return []
    present = health_of(lake, last.to_version, _SERVING, last.moved_at)
    if not present.requests:
        return []
    before = Health(0, {})
    if last.from_version is not None:
        began = last.moved_at - _BEFORE
        before = health_of(lake, last.from_version, _SERVING, began, until=last.moved_at)
    slow = max(limits.latency_seconds, limits.latency_ratio * before.values.get("latency_p99", 0.0))
    allowed = {
        "errors": max(limits.error_share, 2 * before.values.get("errors", 0.0)),
        "empty_lists": max(limits.empty_share, 2 * before.values.get("empty_lists", 0.0)),
        "latency_p99": slow,
    }
    return [_check(name, limit, last.to_version, present, limits) for name, limit in allowed.items()]


def _check(name: str, limit: float, version: str, now: Health, limits: GuardrailLimits) -> Check:
    value = now.values.get(name)
    if value is None or now.requests < limits.min_requests:
        reason = f"{name} is not judged: {now.requests:,} requests of {limits.min_requests:,}."
        return Check(
            name, passed=False, reason=reason, value=value, threshold=f"<= {limit:.4f}", verdict=OPEN
        )
    worse = value > limit if name == "latency_p99" else now.exceeds(name, limit)
    compared = "above" if worse else "not surely above"
    reason = (
        f"{name} of version {version} is {value:.4f} in {now.requests:,} requests, {compared} {limit:.4f} "
        "(the limit, or a multiple of the version before)."
    )
    return Check(name, passed=not worse, reason=reason, value=value, threshold=f"<= {limit:.4f}")

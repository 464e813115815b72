"""The report of a day's drift: numbers, and sentences for people."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from lastaisle.monitor.drift.concept import ADWIN
from lastaisle.monitor.drift.thresholds import LEAST_HISTORY

#: Measure to the name that people read.
MEASURE_NAMES = {
    "psi": "PSI",
    "jensen_shannon": "Jensen-Shannon",
    "share": "share",
    "change": "change",
    "churn": "churn",
    ADWIN: "drop",
}
MAX_ALARMS_IN_SUMMARY = 5


@dataclass(frozen=True)
class Finding:
    """One row of the table `drift`: one feature in one segment on one day.

    Attributes:
        feature: the feature that was compared: price, new_items, predictions, hit_rate, …
        segment: the events that were compared: all, device=mobile, shopper=returning, category=shoes; of
            hit_rate the items that count: objective=next_item or objective=new_item.
        measure: the kind of score; see `lastaisle.monitor.drift.measure.Score`.
        score: the distance from the reference.
        divergence: Jensen-Shannon in bits, beside a psi.
        limit: the highest score that is no alarm; None while the history is too short, and for adwin.
        alarmed: whether the score is an alarm.
        change: the largest change, in words; empty without an alarm.
        visits: number of visits in the window (versions: items or prefixes; hit_rate: sessions).
        reference_visits: number of visits in the reference.
    """

    feature: str
    segment: str
    measure: str
    score: float
    divergence: float | None
    limit: float | None
    alarmed: bool
    change: str
    visits: int
    reference_visits: int

    @property
    def sentence(self) -> str:
        """The change with its numbers: prices of category shoes rose by 31 %: PSI 0.34, limit 0.12."""
        limit = "" if self.limit is None else f", limit {self.limit:.3g}"
        change = self.change or f"{self.feature} of {self.segment}"
        return f"{change}: {MEASURE_NAMES[self.measure]} {self.score:.3g}{limit}"

    @property
    def excess(self) -> float:
        """The score divided by its limit; without a limit 1 for an alarm, and 0 otherwise."""
        return self.score / self.limit if self.limit else float(self.alarmed)


@dataclass(frozen=True)
class DriftReport:
    """The drift of one day.

    Attributes:
        day: the day (UTC).
        findings: every feature and segment, alarms first.
        retrain: whether this day starts a full training: it has an alarm, and no training was started shortly
            before.
        reason: why the day starts a training, or why it starts none.
        model_version: champion whose predictions were compared; None if no version was compared.
    """

    day: date
    findings: tuple[Finding, ...]
    retrain: bool
    reason: str
    model_version: str | None = None

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings with an alarm, the farthest above their limits first."""
        return tuple(sorted((each for each in self.findings if each.alarmed), key=lambda each: -each.excess))

    @property
    def is_judged(self) -> bool:
        """Whether the day could be judged: some score has a limit, or is an alarm without one."""
        return any(each.limit is not None or each.alarmed for each in self.findings)

    @property
    def summary(self) -> str:
        """A few sentences about the drift; of many alarms the five farthest above their limits."""
        alarms = self.alarms
        if not self.is_judged:
            return (
                f"{self.day}: cannot judge yet whether anything drifted. A limit needs the scores of "
                f"{LEAST_HISTORY} days before, and none of {len(self.findings)} comparisons has so many."
            )
        if not alarms:
            waiting = sum(each.limit is None and each.measure != ADWIN for each in self.findings)
            note = f"; {waiting} more cannot be judged yet" if waiting else ""
            return f"{self.day}: nothing drifted in {len(self.findings) - waiting} comparisons{note}."
        first = "; ".join(each.sentence for each in alarms[:MAX_ALARMS_IN_SUMMARY])
        more = len(alarms) - MAX_ALARMS_IN_SUMMARY
        return f"{self.day}: {first}{f'; and {more} more' if more > 0 else ''}. {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-serialisable values; `words` has the sentences."""
        findings = [
            dataclasses.asdict(each) | ({"words": each.sentence} if each.alarmed else {})
            for each in self.findings
        ]
        return {
            "day": self.day.isoformat(),
            "judged": self.is_judged,
            "alarmed": len(self.alarms),
            "compared": len(self.findings),
            "retrain": self.retrain,
            "reason": self.reason,
            "words": self.summary,
            "model_version": self.model_version,
            "findings": findings,
        }

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(self.to_dict(), indent=2)

"""What drifted, as numbers, as sentences and as a chart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

_MEASURES = {
    "psi": "PSI",
    "jensen_shannon": "Jensen-Shannon",
    "share": "share",
    "change": "change",
    "churn": "churn",
    "adwin": "drop",
}
MOST_WORDS = 5
MOST_CHARTS = 8


@dataclass(frozen=True)
class Finding:
    """One row of the table `drift`: one feature in one segment on one day.

    Attributes:
        feature: what was compared: price, new_items, predictions, hit_rate, …
        segment: of which events: all, device=mobile, shopper=returning, category=shoes.
        measure: what the score is; see `lastaisle.monitor.drift.measure.Score`.
        score: how far it lies from its reference.
        divergence: Jensen-Shannon in bits, beside a psi.
        limit: the highest score that is no alarm; None while its history is too short, and for adwin.
        alarmed: whether it is an alarm.
        change: what changed most, in words; empty where nothing is alarmed.
        visits: how many the window has (versions: items or prefixes; hit_rate: sessions).
        reference_visits: how many the reference has.
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
    def words(self) -> str:
        """Say it: prices of category shoes rose by 31 %: PSI 0.34, limit 0.12."""
        limit = "" if self.limit is None else f", limit {self.limit:.3g}"
        what = self.change or f"{self.feature} of {self.segment}"
        return f"{what}: {_MEASURES[self.measure]} {self.score:.3g}{limit}"

    @property
    def excess(self) -> float:
        """How many times its limit the score is; 0 without a limit."""
        return self.score / self.limit if self.limit else float(self.alarmed)


@dataclass(frozen=True)
class DriftReport:
    """What was found on one day.

    Attributes:
        day: the day (UTC).
        findings: every feature and segment, the alarming ones first.
        retrain: whether this day starts a full training: it is alarmed, and none was started shortly before.
        reason: why it starts one, or why not.
        model_version: champion whose predictions were looked at; None without.
    """

    day: date
    findings: tuple[Finding, ...]
    retrain: bool
    reason: str
    model_version: str | None = None

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """What is above its limit, the farthest first."""
        return tuple(sorted((each for each in self.findings if each.alarmed), key=lambda each: -each.excess))

    @property
    def words(self) -> str:
        """Say in a few sentences what drifted; of many alarms the farthest above their limits."""
        alarms = self.alarms
        if not alarms:
            learning = sum(each.limit is None for each in self.findings)
            still = f" ({learning} still without a limit)" if learning else ""
            return f"{self.day}: nothing drifted in {len(self.findings)} comparisons{still}."
        said = "; ".join(each.words for each in alarms[:MOST_WORDS])
        more = f"; and {len(alarms) - MOST_WORDS} more" if len(alarms) > MOST_WORDS else ""
        return f"{self.day}: {said}{more}. {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, the words beside the numbers."""
        findings = [
            {**dataclasses.asdict(each), "words": each.words} if each.alarmed else dataclasses.asdict(each)
            for each in self.findings
        ]
        return {
            "day": self.day.isoformat(),
            "alarmed": len(self.alarms),
            "compared": len(self.findings),
            "retrain": self.retrain,
            "reason": self.reason,
            "words": self.words,
            "model_version": self.model_version,
            "findings": findings,
        }

    def to_json(self) -> str:
        """Write as JSON."""
        return json.dumps(self.to_dict(), indent=2)


def draw(rows: Sequence[Mapping[str, Any]], file: Path, day: date | None = None) -> None:
    """Draw scores against their limits over time, up to eight series, those farthest above them first.

    Args:
        rows: of the table `drift`.
        file: PNG file to write; its folder is made.
        day: the day whose highest scores choose the series; default the newest.
    """
    from matplotlib.figure import Figure

    series: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["day"]):
        series.setdefault((row["feature"], row["segment"]), []).append(row)
    asked = day or max((row["day"] for row in rows), default=date.min)

    def rank(key: tuple[str, str]) -> float:
        mine = [row for row in series[key] if row["day"] == asked]
        return -(mine[0]["score"] / (mine[0]["limit"] or 1e9)) if mine else 0.0

    chosen = sorted(series, key=rank)[:MOST_CHARTS]
    count = max(1, -(-len(chosen) // 2))
    figure = Figure(figsize=(11, 2.2 * count + 0.5), dpi=90, layout="constrained")
    charts = figure.subplots(count, 2, sharex=True, squeeze=False).ravel()
    for axes, key in zip(charts, chosen, strict=False):
        _draw_series(axes, key, series[key])
    figure.suptitle("Drift: scores (line), limits (dashed), alarms (dots)")
    figure.autofmt_xdate()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _draw_series(axes: Any, key: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    days: list[date | datetime] = [row["day"] for row in rows]
    limits = [float("nan") if row["limit"] is None else row["limit"] for row in rows]
    alarms = [row for row in rows if row["alarmed"]]
    axes.plot(days, [row["score"] for row in rows], color="#1b6ca8")
    axes.plot(days, limits, color="#9a9a9a", linestyle="--")
    axes.plot([row["day"] for row in alarms], [row["score"] for row in alarms], "o", color="#c0392b")
    axes.set(title=f"{key[0]}, {key[1]}", ylabel=_MEASURES[rows[0]["measure"]], ylim=(0, None))
    axes.grid(alpha=0.3)

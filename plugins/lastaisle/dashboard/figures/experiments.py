"""Experiments, bandits, canaries and shadows as the pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from lastaisle.dashboard.charts import Chart, Series
from lastaisle.experiments.analysis.results import newest_results, read_results
from lastaisle.experiments.bandits.apprentice import STEPS
from lastaisle.experiments.definition.listing import Listed, count_shown, listed
from lastaisle.experiments.metrics import METRICS
from lastaisle.experiments.traffic import RUNNING, TrafficLog, Trial, read_traffic
from lastaisle.lake.tables import BANDIT_ARMS, EXPERIMENT_RESULTS, EXPOSURES, TRAFFIC

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source
    from lastaisle.lake.reader import LakeReader

MARGIN: Final = 2.5
"""How much wider than the newest interval a chart is: the first intervals are very wide."""
MOST_POINTS: Final = 500
Row = Mapping[str, Any]


def traffic_of(source: Source) -> TrafficLog:
    """Return the table traffic."""
    return source.once("traffic log", [TRAFFIC], lambda: read_traffic(source.lake))


def trials_of(source: Source, now: datetime) -> list[Listed]:
    """Return all trials as they stand, the running ones first."""
    traffic = traffic_of(source)
    shown = source.once("shown", [EXPOSURES], lambda: count_shown(source.lake))
    return listed(traffic, shown, now)


def verdicts_of(source: Source) -> dict[str, str]:
    """Return for each analysed experiment the sentence of its newest result."""
    rows = source.once("newest results", [EXPERIMENT_RESULTS], lambda: newest_results(source.lake))
    return {name: own[0]["reason"] for name, own in rows.items()}


def results_of(source: Source, trial: Trial) -> list[Row]:
    """Return the results of an experiment, by the hours; empty before its first result."""
    return source.once(("results", trial.name), [EXPERIMENT_RESULTS], lambda: _results(source.lake, trial))


def _results(lake: LakeReader, trial: Trial) -> list[Row]:
    if trial.name not in newest_results(lake):
        return []
    rows: list[Row] = read_results(lake, trial.name).to_pylist()
    return rows


def newest_hour(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the newest hour."""
    return [row for row in rows if row["hour"] == rows[-1]["hour"]]


def sequences(rows: Sequence[Row], trial: Trial) -> list[Chart]:
    """Return a chart a metric: the difference from the control with its sequence of intervals."""
    effect = trial.analysis.minimum_effect if trial.analysis else None
    metrics = dict.fromkeys((row["metric"], row["role"]) for row in rows)
    return [
        _sequence([row for row in rows if row["metric"] == metric], metric, role, effect, number)
        for number, (metric, role) in enumerate(metrics)
    ]


def _sequence(rows: Sequence[Row], metric: str, role: str, effect: float | None, number: int) -> Chart:
    hours = sorted({row["hour"] for row in rows})
    hours = hours[:: -(-len(hours) // MOST_POINTS)] if len(hours) > MOST_POINTS else hours
    arms = sorted({row["arm"] for row in rows})
    shares = {(row["arm"], row["hour"]): _relative(row) for row in rows}
    known = [own for own in shares.values() if own["low"] is not None]
    ends = [abs(shares[arm, hours[-1]][name] or 0.0) for arm in arms for name in ("low", "high")]
    reach = MARGIN * max([*ends, effect or 0.0, 0.01])
    limits = [(0.0, "no difference")]
    if role == "primary" and effect:
        limits += [(effect, "least effect"), (-effect, "")]
    better = METRICS[metric].better if metric in METRICS else "up"
    return Chart(
        name=f"sequence-{number}",
        title=f"{metric} ({role}, {'more' if better == 'up' else 'less'} is better): "
        "difference from the control, relative to it",
        x=hours,
        series=[
            Series(
                arm,
                [_within(shares[arm, hour]["difference"], reach) for hour in hours],
                [_cut(shares[arm, hour]["low"], reach) for hour in hours],
                [_cut(shares[arm, hour]["high"], reach) for hour in hours],
            )
            for arm in arms
        ],
        unit="share",
        summary="; ".join(_words(arm, shares[arm, hours[-1]]) for arm in arms)
        if known
        else "No estimate yet.",
        limits=limits if known else [],
        shows=[limit for limit, _ in limits] if known else [],
        origin="results",
    )


def _relative(row: Row) -> dict[str, float | None]:
    """Return difference and interval as shares of the control; None where nothing is known."""
    control = row["control_value"]
    if not control:
        return dict.fromkeys(("difference", "low", "high"))
    return {
        name: None if row[name] is None else row[name] / abs(control)
        for name in ("difference", "low", "high")
    }


def _within(value: float | None, reach: float) -> float | None:
    return value if value is not None and abs(value) <= reach else None


def _cut(value: float | None, reach: float) -> float | None:
    return None if value is None else max(-reach, min(reach, value))


def _words(arm: str, newest: Mapping[str, float | None]) -> str:
    if newest["difference"] is None or newest["low"] is None or newest["high"] is None:
        return f"{arm}: no estimate"
    return f"{arm}: {newest['difference']:+.1%}, from {newest['low']:+.1%} to {newest['high']:+.1%}"


def ratio_chart(rows: Sequence[Row]) -> Chart | None:
    """Return the shoppers of each arm beside the numbers that the shares expect."""
    primary = [row for row in rows if row["role"] == "primary"]
    if not primary:
        return None
    hours = sorted({row["hour"] for row in primary})
    hours = hours[:: -(-len(hours) // MOST_POINTS)] if len(hours) > MOST_POINTS else hours
    by_arm: dict[tuple[str, datetime], tuple[float, float]] = {}
    for row in primary:
        by_arm[row["control"], row["hour"]] = (row["control_seen"], row["control_expected"])
        by_arm[row["arm"], row["hour"]] = (row["arm_seen"], row["arm_expected"])
    arms = list(dict.fromkeys(arm for arm, _ in by_arm))
    series = []
    for arm in arms:
        own = [by_arm.get((arm, hour), (None, None)) for hour in hours]
        series += [
            Series(arm, [seen for seen, _ in own]),
            Series(f"{arm}, expected", [expected for _, expected in own], style="dashed"),
        ]
    return Chart(
        name="allocation",
        title="Shoppers who saw a list, by arm, beside the expected numbers",
        x=hours,
        series=series,
        unit="count",
        summary=f"Sample ratio: p = {primary[-1]['ratio_p']:.2g} for any number of looks.",
        origin="results",
    )


def bandit_rows(source: Source, name: str) -> list[Row]:
    """Return what a bandit knew of its arms after each update, the oldest first."""
    return source.once(("bandit", name), [BANDIT_ARMS], lambda: _bandit_rows(source.lake, name))


def _bandit_rows(lake: LakeReader, name: str) -> list[Row]:
    if not name.isascii() or lake.version(BANDIT_ARMS) is None:
        return []
    rows = lake.scan(BANDIT_ARMS, where=pc.field("bandit") == name).to_pylist()
    return sorted((row for row in rows if row["learned_until"]), key=lambda row: row["learned_until"])


def bandit_charts(rows: Sequence[Row]) -> list[Chart]:
    """Return share, propensity, reward and regret of each arm over time."""
    moments = sorted({row["learned_until"] for row in rows})
    if not moments:
        return []
    arms = sorted({row["arm"] for row in rows})
    found = {(row["arm"], row["learned_until"]): row for row in rows}

    def values(arm: str, name: str) -> list[float | None]:
        return [(found.get((arm, at)) or {}).get(name) for at in moments]

    def chart(name: str, title: str, column: str, unit: Any) -> Chart:
        newest = ", ".join(f"{arm} {values(arm, column)[-1] or 0:.3g}" for arm in arms)
        lines = [Series(arm, values(arm, column), style="step") for arm in arms]
        return Chart(name, title, moments, lines, unit, f"Newest: {newest}.", origin="arms")

    rewards = Chart(
        "rewards",
        "Reward of a list, with 95 % intervals",
        moments,
        [Series(arm, values(arm, "mean"), values(arm, "low"), values(arm, "high")) for arm in arms],
        "share",
        origin="arms",
    )
    return [
        chart("probability", "Probability of each arm from then on", "probability", "share"),
        chart("propensity", "Mean propensity of the lists that were shown", "mean_propensity", "share"),
        rewards,
        chart(
            "regret",
            "Estimated regret: rewards that the best arm would have brought more",
            "estimated_regret",
            "number",
        ),
    ]


def stage_of(trial: Trial, state: str) -> str:
    """Say how far a bandit's policy decides by itself."""
    if trial.bandit is None:
        return ""
    share = trial.bandit.share
    steps = ", ".join(f"{step:g}" for step in STEPS)
    if state != RUNNING:
        return f"It ended when {share:.0%} of the lists followed its policy."
    if share == 0:
        return f"It is an apprentice: its policy only observes. Its share rises by the steps {steps}."
    if share < 1:
        return f"It is an apprentice: {share:.0%} of the lists follow its policy. The steps are {steps}."
    return "It is no apprentice any more: all lists follow its policy."

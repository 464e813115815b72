"""The rules ctr_drop and conversion_drop: figures of the shop below the same hours of past weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.baseline.fit import WEEK
from lastaisle.baseline.hours import HISTORY, moment_of, read_hours
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import SHOP_METRICS, TIMESTAMP
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.context import Context
from lastaisle.monitor.alerts.model import CONVERSION_DROP, CTR_DROP, Evidence, Finding, id_of
from lastaisle.monitor.alerts.shop.judge import HOURS_READ, Judged, judge_shop, written
from lastaisle.monitor.alerts.shop.limits import ShopDropOptions

if TYPE_CHECKING:
    from lastaisle.baseline.hours import ShopHours
    from lastaisle.lake.reader import LakeReader

__all__ = [
    "MEASURES_OF",
    "ShopDropOptions",
    "check_conversion",
    "check_ctr",
    "judge_rule",
    "why_conversion_ended",
    "why_ctr_ended",
]

MEASURES_OF: Final = {
    CTR_DROP: ("ctr", "add_to_cart_rate"),
    CONVERSION_DROP: ("conversion", "revenue_per_session", "abandonment"),
}
"""The measures that each rule watches."""
_MOST_VERSIONS: Final = 5


def check_ctr(context: Context[ShopDropOptions]) -> list[Finding]:
    """Find drops of the CTR and of the add-to-cart rate."""
    return _check(context, CTR_DROP)


def check_conversion(context: Context[ShopDropOptions]) -> list[Finding]:
    """Find drops of conversion and revenue a session, and rises of checkout abandonment."""
    return _check(context, CONVERSION_DROP)


def judge_rule(
    lake: LakeReader, rule: str, options: ShopDropOptions
) -> tuple[ShopHours | None, list[Judged]]:
    """Return the figures by hour, and what they say of the measures of a rule; None without figures."""
    try:
        shop = read_hours(lake, options.maturity_hours, HOURS_READ, by=("placement", "segment"))
    except NotEnoughDataError:
        return None, []
    return shop, judge_shop(shop, MEASURES_OF[rule], options)


def why_ctr_ended(context: Context[ShopDropOptions]) -> dict[str, str]:
    """Return why open alerts of ctr_drop that are no longer found ended, by the id of the alert."""
    return _why_ended(context, CTR_DROP)


def why_conversion_ended(context: Context[ShopDropOptions]) -> dict[str, str]:
    """Return why open alerts of conversion_drop that are no longer found ended, by the id of the alert."""
    return _why_ended(context, CONVERSION_DROP)


def _why_ended(context: Context[ShopDropOptions], rule: str) -> dict[str, str]:
    if not context.open:
        return {}
    judged = judge_rule(context.lake, rule, context.options)[1]
    reasons = {id_of(rule, one.scope): one.ended[-1][1] for one in judged if one.ended and one.drop is None}
    return {alert.id: reasons[alert.id] for alert in context.open if alert.id in reasons}


def _check(context: Context[ShopDropOptions], rule: str) -> list[Finding]:
    shop, judged = judge_rule(context.lake, rule, context.options)
    if shop is None:
        return []
    return [_finding(context, rule, shop, one) for one in judged if one.drop is not None]


def _finding(context: Context[ShopDropOptions], rule: str, shop: ShopHours, judged: Judged) -> Finding:
    drop = judged.drop
    assert drop is not None
    is_critical = abs(drop.change) >= context.options.critical_drop
    first, end = moment_of(drop.since), moment_of(shop.complete_until)
    value, usual, low, high = (
        written(judged.measure, rate, shop.currency) for rate in (judged.value, *judged.usual)
    )
    hours = shop.complete_until - drop.since
    text = (
        f"{hours} hour{'s' if hours > 1 else ''}, from {first:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: "
        f"{judged.measure.name} {value}, expected {usual} (95 % interval {low} to {high})."
    )
    return Finding(
        rule=rule,
        severity="critical" if is_critical else "warning",
        scope=judged.scope,
        summary=judged.sentence,
        since=first,
        evidence=(
            Evidence(text, table=SHOP_METRICS, query=_query(judged, drop.since, shop)),
            Evidence(
                _versions(context.lake, judged, drop.since, shop),
                table=SHOP_METRICS,
                query=_query(judged, drop.since, shop, "model_version"),
            ),
        ),
    )


def _query(judged: Judged, since: int, shop: ShopHours, *by: str) -> str:
    """Return the query that compares the hours since a drop with the same hours of past weeks."""
    measure, end = judged.measure, shop.complete_until
    part = measure.part
    if part == "revenue" and shop.currency:
        part = f"CASE WHEN currency = {_quoted(shop.currency)} THEN revenue END"
    placement = "" if judged.placement is None else f" AND placement = {_quoted(judged.placement)}"
    same = ", ".join(str(hour) for hour in sorted({hour % WEEK for hour in range(since, end)}))
    keys = ", ".join((f"hour >= {_moment(since)} AS since_the_drop", *by))
    return (
        f"SELECT {keys}, sum({part}) / sum({measure.whole}) AS {measure.name}, "
        f"sum({measure.whole}) AS {measure.whole} FROM {SHOP_METRICS} "
        f"WHERE hour >= {_moment(since - HISTORY)} AND hour < {_moment(end)}{placement} "
        f"AND epoch(hour)::BIGINT // 3600 % {WEEK} IN ({same}) GROUP BY ALL ORDER BY ALL"
    )


def _moment(hour: int) -> str:
    return f"TIMESTAMPTZ '{moment_of(hour):%Y-%m-%d %H:%M}+00'"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _versions(lake: LakeReader, judged: Judged, since: int, shop: ShopHours) -> str:
    """Say which versions made the lists since a drop, and how each of them does."""
    first, end = moment_of(since), moment_of(shop.complete_until)
    where = (
        (pc.field("event_date") >= first.date())
        & (pc.field("hour") >= pa.scalar(first, TIMESTAMP))
        & (pc.field("hour") < pa.scalar(end, TIMESTAMP))
    )
    if judged.placement is not None:
        where &= pc.field("placement") == judged.placement
    measure = judged.measure
    counted = measure.part
    parameters: dict[str, Any] = {}
    if counted == "revenue":
        counted, parameters = "CASE WHEN currency = $currency THEN revenue END", {"currency": shop.currency}
    sql = f"""SELECT coalesce(model_version, 'none') AS version, sum(lists)::DOUBLE AS lists,
        sum({counted})::DOUBLE AS part, sum({measure.whole})::DOUBLE AS whole
        FROM figures GROUP BY 1 ORDER BY lists DESC NULLS LAST, 1"""
    with open_tables(figures=lake.scan(SHOP_METRICS, where=where)) as connection:
        rows = connection.execute(sql, parameters).fetchall()
    whole = sum(lists or 0 for _, lists, _, _ in rows) or 1
    told = [
        f"version {version} {100 * (lists or 0) / whole:.0f} % of the lists, {measure.name} "
        f"{written(measure, (part or 0) / units, shop.currency)}"
        for version, lists, part, units in rows[:_MOST_VERSIONS]
        if units
    ]
    return f"Since then: {'; '.join(told)}." if told else "No version made a list since then."

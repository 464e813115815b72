"""The SQL that sums up what each shopper of an experiment did, after the first exposure and before it.

A unit is a shopper, or a visit whose shopper is unknown. Its measures are those of
`lastaisle.experiments.metrics.MEASURES`, from the first exposure until $end_at; the same from $cuped before
the first exposure end with `_before`. All tables are temporary, over the views `outcomes` and `events`.
"""

from __future__ import annotations

from typing import Final

from lastaisle.experiments.assignment import bucket_sql
from lastaisle.experiments.metrics import MEASURES
from lastaisle.feedback.outcomes.actions_query import NO_CURRENCY

#: The columns that are read; a table that lacks one has NULL.
OUTCOME_COLUMNS: Final = {
    **dict.fromkeys(
        ("exposure_id", "session_id", "user_id", "placement", "experiment", "arm"),
        "VARCHAR",
    ),
    **dict.fromkeys(("shown_at", "clicked_at", "viewed_at", "added_at", "ordered_at"), "TIMESTAMPTZ"),
    "event_date": "DATE",
}
EVENT_COLUMNS: Final = {
    **dict.fromkeys(("session_id", "user_id", "item_id", "event_type", "order_id", "currency"), "VARCHAR"),
    "occurred_at": "TIMESTAMPTZ",
    "event_date": "DATE",
    "quantity": "BIGINT",
    "price": "DOUBLE",
}

_LABELLED = """
CREATE TEMP TABLE labelled AS
SELECT *, coalesce(user_id, session_id) AS unit FROM outcomes
WHERE experiment = $name AND event_date >= $first_day AND shown_at >= $starts_at AND shown_at < $clock
"""

_UNITS = """
CREATE TEMP TABLE units AS
WITH known AS (SELECT * FROM labelled WHERE unit IS NOT NULL AND list_contains($arms, arm)),
firsts AS (
    SELECT unit, min(shown_at) AS first_at, arg_min(arm, (shown_at, exposure_id)) AS arm
    FROM known GROUP BY unit
),
others AS (
    SELECT unit, min(shown_at) AS switched_at
    FROM known JOIN firsts USING (unit) WHERE known.arm <> firsts.arm GROUP BY unit
)
SELECT unit, firsts.arm, first_at, first_at + $horizon AS end_at, first_at - $cuped AS before_at, switched_at,
    buckets.stratum, firsts.arm IS DISTINCT FROM buckets.arm AS differs
FROM firsts LEFT JOIN others USING (unit)
JOIN buckets ON buckets.bucket = {bucket} AND buckets.phase = greatest(
    len(list_filter($phase_starts, lambda moment: moment <= first_at)) - 1, 0)
"""

# A visit belongs to the shopper of its first list. So an order after the log-in counts for the visit whose
# lists were shown before.
_VISITS = """
CREATE TEMP TABLE visits AS
SELECT session_id, arg_min(unit, (shown_at, exposure_id)) AS unit
FROM labelled SEMI JOIN units USING (unit)
WHERE session_id IS NOT NULL GROUP BY session_id
"""

# An event of a session, item, type and moment counts once, however many event ids it was sent under. Of an
# order the lines count that differ, as in attribution.
_ACTS = f"""
CREATE TEMP TABLE acts AS
WITH found AS (
    SELECT coalesce(visits.unit, shoppers.unit) AS unit, session_id, item_id, event_type, occurred_at,
        CASE event_type WHEN 'order_completed' THEN {{{{
            'order_id': coalesce(order_id, occurred_at::VARCHAR), 'price': price,
            'quantity': coalesce(quantity, 1), 'currency': coalesce(currency, '{NO_CURRENCY}')
        }}}} END AS line
    FROM events
    LEFT JOIN visits USING (session_id)
    LEFT JOIN units AS shoppers ON events.user_id = shoppers.unit
    WHERE event_date >= $events_from AND occurred_at < $clock
        AND coalesce(visits.unit, shoppers.unit) IS NOT NULL
        AND event_type IN (
            'item_viewed', 'checkout_started', 'checkout_abandoned', 'order_completed')
    GROUP BY ALL
)
SELECT found.*, first_at, end_at, occurred_at >= first_at AS after
FROM found JOIN units USING (unit)
WHERE occurred_at < end_at AND occurred_at >= least(before_at, first_at - $reach)
"""

# The newest step of a checkout decides: an order ends it, and a start without an order is abandoned when it
# is overdue (the rule of attribution). At the placement `checkout` it begins before the list is shown.
_CHECKOUTS = """
CREATE TEMP TABLE checkouts AS
WITH steps AS (
    SELECT unit, session_id, first_at, end_at, occurred_at, after, (occurred_at, CASE event_type
        WHEN 'checkout_started' THEN 0 WHEN 'order_completed' THEN 1 ELSE 2 END) AS step
    FROM acts WHERE event_type IN ('checkout_started', 'checkout_abandoned', 'order_completed')
),
newest AS (
    SELECT unit, session_id, first_at, end_at, bool_or(after) AS after,
        max(step) AS last, max(step) FILTER (WHERE NOT after) AS last_before,
        bool_or(NOT after AND occurred_at >= first_at - $cuped) AS before
    FROM steps GROUP BY ALL
)
SELECT unit, session_id,
    after OR (last_before[2] = 0 AND last_before[1] >= first_at - $reach) AS in_checkout,
    CASE last[2] WHEN 2 THEN last[1] >= first_at
        WHEN 0 THEN last[1] + $overdue BETWEEN first_at AND end_at ELSE false END AS abandoned,
    coalesce(before, false) AS in_checkout_before,
    coalesce(before AND CASE last_before[2] WHEN 2 THEN true
        WHEN 0 THEN last_before[1] + $overdue <= first_at ELSE false END, false) AS abandoned_before
FROM newest
"""

_SHOWN = """
CREATE TEMP TABLE exposures_of_units AS
WITH windows AS (
    SELECT unit, first_at AS from_at, end_at AS until_at, true AS after FROM units
    UNION ALL SELECT unit, before_at, first_at, false FROM units
),
shown AS (
    SELECT coalesce(user_id, session_id) AS unit, * EXCLUDE (user_id) FROM outcomes
    WHERE event_date >= $events_from AND shown_at < $clock
        AND (len($placements) = 0 OR list_contains($placements, placement))
)
SELECT unit, after, session_id, coalesce(clicked_at < until_at, false) AS clicked,
    coalesce(viewed_at < until_at, false) AS viewed, coalesce(added_at < until_at, false) AS added,
    coalesce(ordered_at < until_at, false) AS ordered
FROM shown JOIN windows USING (unit)
WHERE shown_at >= from_at AND shown_at < until_at AND (NOT after OR experiment = $name)
"""

# The order of the amounts in a sum is fixed, so that a second run finds the same sum to the last bit.
_MEASURED = """
CREATE TEMP TABLE {name} AS
WITH shown AS (
    SELECT unit, count(*) AS exposures, count_if(clicked) AS clicked, count_if(viewed) AS viewed,
        count_if(added) AS added, count_if(ordered) AS ordered, bool_or(clicked)::INT AS clickers,
        bool_or(added)::INT AS adders
    FROM exposures_of_units WHERE after = {after} GROUP BY unit
),
done AS (SELECT * FROM acts WHERE after = {after} AND occurred_at >= first_at - $cuped),
ordered AS (
    SELECT unit, 1 AS buyers, count(DISTINCT line.order_id) AS orders,
        count(DISTINCT session_id) AS sessions_ordered
    FROM done WHERE event_type = 'order_completed' GROUP BY unit
),
paid AS (
    SELECT unit, list(amount ORDER BY amount).list_sum() AS revenue
    FROM (
        SELECT DISTINCT unit, session_id, item_id, line, line.price * line.quantity AS amount FROM done
        WHERE line.price IS NOT NULL AND line.currency = $currency
    )
    GROUP BY unit
),
seen AS (SELECT unit, count(DISTINCT (session_id, item_id)) AS items_viewed
    FROM done WHERE event_type = 'item_viewed' GROUP BY unit),
sessions AS (
    SELECT unit, count(DISTINCT session_id) AS sessions
    FROM (SELECT unit, session_id FROM done
        UNION ALL SELECT unit, session_id FROM exposures_of_units WHERE after = {after})
    GROUP BY unit
),
steps AS (
    SELECT unit, count_if(in_checkout{before}) AS sessions_checkout,
        count_if(in_checkout{before} AND abandoned{before}) AS sessions_abandoned
    FROM checkouts GROUP BY unit
)
SELECT unit, {measures}
FROM units LEFT JOIN shown USING (unit) LEFT JOIN ordered USING (unit) LEFT JOIN paid USING (unit)
LEFT JOIN seen USING (unit) LEFT JOIN sessions USING (unit) LEFT JOIN steps USING (unit)
"""

_ALL = """
CREATE TEMP TABLE measured AS
SELECT * FROM units JOIN measured_after USING (unit) JOIN measured_before USING (unit)
"""


def unit_queries(trial_name: str) -> list[str]:
    """Return the queries that make the table `measured`, one row a unit.

    The views `outcomes`, `events` and `buckets` are there, and the parameters are named as in `analyze`.
    """
    measured = []
    for after, name, suffix in ((True, "measured_after", ""), (False, "measured_before", "_before")):
        measures = ", ".join(f"coalesce({one}, 0)::DOUBLE AS {one}{suffix}" for one in MEASURES)
        measured.append(_MEASURED.format(name=name, after=after, before=suffix, measures=measures))
    units = _UNITS.format(bucket=bucket_sql(trial_name, "unit"))
    acts = _ACTS.format()
    return [_LABELLED, units, _VISITS, acts, _CHECKOUTS, _SHOWN, *measured, _ALL]

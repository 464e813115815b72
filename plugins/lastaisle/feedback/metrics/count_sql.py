"""The SQL that counts the outcomes of some days, and the sessions that saw lists on these days.

A visit is a session at one placement, from its first list there; it lasts $reach. A visitor is a session, or
the shopper where the sender names no session.
"""

from __future__ import annotations

from typing import Final

from lastaisle.feedback.outcomes.actions_query import NO_CURRENCY

CELL: Final = ("hour", "placement", "model_version", "policy", "experiment", "arm", "segment")
#: The counts of rows without a position and without a currency.
OF_SESSIONS: Final = (
    *("lists", "sessions", "sessions_clicked", "sessions_added", "sessions_checkout", "sessions_ordered"),
    *("sessions_abandoned", "items_viewed", "items_viewed_squares", "session_seconds"),
    *("session_seconds_squares", "dwell_ms"),
)

_CELL = ", ".join(CELL)
_SUMS_OF_SESSIONS = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in OF_SESSIONS)

# A row opens a list, or a visit, unless the same list or visitor was seen there at most $reach before. So a
# row needs only the rows of its day and of the day before.
SHOWN: Final = """
CREATE OR REPLACE TEMP TABLE shown AS
WITH seen AS (
    SELECT exposure_id, recommendation_id, shown_at, date_trunc('hour', shown_at) AS hour, event_date,
        placement, model_version, policy, experiment, arm, segment, position, clicks, views, adds, orders,
        dwell_ms, revenue, currency, touch, session_abandoned_at,
        CASE WHEN session_id IS NOT NULL THEN 's' || session_id ELSE 'u' || user_id END AS visitor
    FROM outcomes WHERE event_date BETWEEN $shown_from AND $read_until
),
opening AS (
    SELECT *,
        coalesce(shown_at > lag(shown_at) OVER of_list + $reach, true) AS opens_list,
        visitor IS NOT NULL
            AND coalesce(shown_at > lag(shown_at) OVER of_visitor + $reach, true) AS opens_visit
    FROM seen
    WINDOW of_list AS (
            PARTITION BY placement, recommendation_id, visitor ORDER BY shown_at, position, exposure_id),
        of_visitor AS (
            PARTITION BY placement, visitor
            ORDER BY shown_at, recommendation_id, position, exposure_id)
)
SELECT *, last_value(CASE WHEN opens_visit THEN exposure_id END IGNORE NULLS) OVER (
    PARTITION BY placement, visitor ORDER BY shown_at, recommendation_id, position, exposure_id
    ROWS UNBOUNDED PRECEDING) AS visit
FROM opening
"""

# An action of another visit of the shopper (touch `shopper`) is no action of this visit.
VISITS: Final = f"""
CREATE OR REPLACE TEMP TABLE visits AS
SELECT first.visit, first.visitor, first.event_date, first.shown_at AS first_at,
    {", ".join(f"first.{name}" for name in CELL)},
    first.session_abandoned_at IS NOT NULL AS abandoned,
    max(later.shown_at) AS last_shown_at,
    bool_or(later.clicks > 0) AS clicked,
    bool_or(later.adds > 0 AND later.touch IS DISTINCT FROM 'shopper') AS added,
    bool_or(later.orders > 0 AND later.touch IS DISTINCT FROM 'shopper') AS ordered
FROM shown AS first JOIN shown AS later
    ON first.visit = later.visit AND later.shown_at <= first.shown_at + $reach
WHERE first.opens_visit AND first.event_date >= $events_from
GROUP BY ALL
"""

# An event of a session, item, type and moment counts once, however many event ids it was sent under. Of an
# order the lines count that differ, as in attribution.
EVENTS: Final = f"""
CREATE OR REPLACE TEMP TABLE acts AS
SELECT *, row_number() OVER () AS act
FROM (
    SELECT session_id, item_id, event_type, occurred_at, max(user_id) AS user_id, max(dwell_ms) AS dwell_ms,
        CASE event_type WHEN 'order_completed' THEN {{
            'order_id': coalesce(order_id, occurred_at::VARCHAR), 'price': price,
            'quantity': coalesce(quantity, 1), 'currency': coalesce(currency, '{NO_CURRENCY}')
        }} END AS line
    FROM events
    WHERE event_date BETWEEN $events_from AND $read_until AND (
        's' || session_id IN (SELECT visitor FROM visits) OR 'u' || user_id IN (SELECT visitor FROM visits))
    GROUP BY ALL
)
"""

# An event belongs to the visit of its session; without one at the placement, to the visit of its shopper.
FOLLOWED: Final = """
CREATE OR REPLACE TEMP TABLE followed AS
WITH near AS (
    SELECT visit, placement, visitor, first_at, acts.*, occurred_at >= first_at AS after
    FROM visits JOIN acts ON visitor = 's' || acts.session_id
        AND occurred_at BETWEEN first_at - $reach AND first_at + $reach
    UNION ALL
    SELECT visit, placement, visitor, first_at, acts.*, occurred_at >= first_at
    FROM visits JOIN acts ON visitor = 'u' || acts.user_id
        AND occurred_at BETWEEN first_at - $reach AND first_at + $reach
),
taken AS (SELECT act, placement FROM near WHERE after AND visitor[1] = 's')
SELECT * FROM near WHERE visitor[1] = 's'
UNION ALL
SELECT near.* FROM near ANTI JOIN taken USING (act, placement) WHERE visitor[1] = 'u'
"""

# At the placement `checkout` the checkout begins before the list is shown.
MEASURED: Final = """
CREATE OR REPLACE TEMP TABLE measured AS
SELECT visit,
    bool_or(after AND event_type = 'item_added') AS added,
    bool_or(after AND event_type = 'order_completed') AS ordered,
    bool_or(after AND event_type IN ('checkout_started', 'checkout_abandoned', 'order_completed'))
        OR coalesce(
            max(occurred_at) FILTER (WHERE NOT after AND event_type = 'checkout_started')
            > coalesce(max(occurred_at) FILTER (
                WHERE NOT after AND event_type IN ('checkout_abandoned', 'order_completed')), '-infinity'),
            false) AS in_checkout,
    count(DISTINCT item_id) FILTER (WHERE after AND event_type = 'item_viewed') AS items_viewed,
    sum(dwell_ms) FILTER (WHERE after AND event_type = 'item_viewed') AS dwell_ms,
    max(occurred_at) FILTER (WHERE after) AS last_event_at
FROM followed GROUP BY visit
"""

COUNT_ITEMS: Final = f"""
INSERT INTO counted BY NAME
SELECT {_CELL}, position, event_date, count(*) AS exposures,
    sum(clicks) AS clicks,
    count_if(clicks > 0) AS clicked,
    count_if(views > 0) AS viewed,
    count_if(adds > 0) AS added,
    count_if(orders > 0) AS ordered,
    coalesce(sum(dwell_ms), 0) AS dwell_ms
FROM shown WHERE event_date BETWEEN $first AND $last
GROUP BY ALL
"""

COUNT_SESSIONS: Final = f"""
INSERT INTO counted BY NAME
WITH lists AS (
    SELECT {_CELL}, event_date, count(*) AS lists
    FROM shown WHERE opens_list AND event_date BETWEEN $first AND $last GROUP BY ALL
),
engaged AS (
    SELECT {_CELL}, event_date, visits.clicked, abandoned,
        visits.added OR coalesce(measured.added, false) AS added,
        visits.ordered OR coalesce(measured.ordered, false) AS ordered,
        coalesce(in_checkout, false) OR abandoned OR visits.ordered AS in_checkout,
        coalesce(items_viewed, 0) AS items_viewed,
        coalesce(dwell_ms, 0) AS dwell_ms,
        epoch(greatest(last_shown_at, last_event_at) - first_at) AS seconds
    FROM visits LEFT JOIN measured USING (visit)
    WHERE event_date BETWEEN $first AND $last
),
sessions AS (
    SELECT {_CELL}, event_date, count(*) AS sessions,
        count_if(clicked) AS sessions_clicked,
        count_if(added) AS sessions_added,
        count_if(in_checkout) AS sessions_checkout,
        count_if(ordered) AS sessions_ordered,
        count_if(abandoned) AS sessions_abandoned,
        sum(items_viewed) AS items_viewed,
        sum(items_viewed::DOUBLE ** 2) AS items_viewed_squares,
        sum(seconds) AS session_seconds,
        sum(seconds ** 2) AS session_seconds_squares,
        sum(dwell_ms) AS dwell_ms
    FROM engaged GROUP BY ALL
)
SELECT {_CELL}, event_date, {_SUMS_OF_SESSIONS}
FROM (SELECT * FROM lists UNION ALL BY NAME SELECT * FROM sessions)
GROUP BY {_CELL}, event_date
"""

# The order of the numbers in a sum is fixed, so that a second count finds the same sum to the last bit.
COUNT_REVENUE: Final = f"""
INSERT INTO counted BY NAME
WITH spent AS (
    SELECT visit, line.currency AS currency,
        list(line.price * line.quantity ORDER BY line.price * line.quantity).list_sum() AS revenue
    FROM (SELECT DISTINCT visit, session_id, item_id, line FROM followed WHERE after)
    WHERE line.price IS NOT NULL
    GROUP BY ALL
),
earned AS (
    SELECT {_CELL}, event_date, currency, revenue, revenue ** 2 AS revenue_squares
    FROM visits JOIN spent USING (visit) WHERE event_date BETWEEN $first AND $last
    UNION ALL BY NAME
    SELECT {_CELL}, event_date, currency, revenue AS attributed_revenue
    FROM shown WHERE event_date BETWEEN $first AND $last AND currency IS NOT NULL
)
SELECT {_CELL}, event_date, currency,
    coalesce(list(revenue ORDER BY revenue).list_sum(), 0) AS revenue,
    coalesce(list(revenue_squares ORDER BY revenue).list_sum(), 0) AS revenue_squares,
    coalesce(list(attributed_revenue ORDER BY attributed_revenue).list_sum(), 0) AS attributed_revenue
FROM earned GROUP BY {_CELL}, event_date, currency
"""

STEPS: Final = (
    SHOWN,
    VISITS,
    EVENTS,
    FOLLOWED,
    MEASURED,
    COUNT_ITEMS,
    COUNT_SESSIONS,
    COUNT_REVENUE,
)

#: The columns of `events` that are counted; a table that lacks one has NULL.
EVENT_COLUMNS: Final = {
    **dict.fromkeys(("session_id", "user_id", "item_id", "event_type", "order_id", "currency"), "VARCHAR"),
    "occurred_at": "TIMESTAMPTZ",
    "event_date": "DATE",
    "quantity": "BIGINT",
    "price": "DOUBLE",
    "dwell_ms": "BIGINT",
}

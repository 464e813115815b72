"""The SQL about the session of each exposure: its segment, its order, its checkout."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from lastaisle.feedback.outcomes.actions_query import microseconds, moment_of
from lastaisle.feedback.outcomes.reach import Reach
from lastaisle.sessions.windows import HISTORY

UNKNOWN: Final = "unknown"
_EPOCH = datetime(1970, 1, 1)

_ASKED = """
CREATE OR REPLACE TEMP TABLE asked AS
SELECT DISTINCT session_id, epoch_us(occurred_at) AS moment FROM exposures
WHERE event_date BETWEEN DATE '{first}' AND DATE '{last}' AND kind = 'shown' AND session_id IS NOT NULL
"""

# The rule of monitor/abandonment.py, for what happened after an exposure: the newest event of the checkout
# decides, and an order cancels each earlier start and abandonment. A checkout without an order counts as
# abandoned from the moment at which it is overdue: that moment lies after the exposure even if the list stood
# in the checkout itself.
_CHECKOUTS = """
CREATE OR REPLACE TEMP TABLE checkouts AS
WITH steps AS (
    SELECT DISTINCT session_id, event_type, epoch_us(occurred_at) AS moment
    FROM events SEMI JOIN asked USING (session_id)
    WHERE event_date BETWEEN DATE '{steps_from}' AND DATE '{until}'
        AND event_type IN ('checkout_abandoned', 'checkout_started', 'order_completed')
),
ordered AS (SELECT session_id, moment FROM steps WHERE event_type = 'order_completed'),
given_up AS (SELECT session_id, moment FROM steps WHERE event_type = 'checkout_abandoned'),
begun AS (SELECT session_id, moment FROM steps WHERE event_type = 'checkout_started'),
joined AS (
    SELECT asked.*, next_order.moment AS next_order, last_order.moment AS last_order,
        given_up.moment AS given_up, begun.moment AS begun
    FROM asked
    ASOF LEFT JOIN ordered AS next_order
        ON asked.session_id = next_order.session_id AND asked.moment <= next_order.moment
    ASOF LEFT JOIN ordered AS last_order
        ON asked.session_id = last_order.session_id AND asked.moment + {session_reach} >= last_order.moment
    ASOF LEFT JOIN given_up
        ON asked.session_id = given_up.session_id AND asked.moment + {session_reach} >= given_up.moment
    ASOF LEFT JOIN begun
        ON asked.session_id = begun.session_id AND asked.moment + {session_reach} >= begun.moment
)
SELECT session_id, moment,
    CASE WHEN next_order <= moment + {session_reach} THEN next_order END AS session_ordered_at,
    CASE WHEN given_up >= moment AND given_up >= coalesce(last_order, 0) THEN given_up
        WHEN begun > greatest(coalesce(last_order, 0), coalesce(given_up, 0))
            AND begun + {abandoned_after} <= {data_end} AND begun + {abandoned_after} >= moment
        THEN begun + {abandoned_after} END AS session_abandoned_at
FROM joined
"""

# The first event that knows the value, among the events of the session at most 24 hours before and after the
# exposure. Only sessions of more than 24 hours have another first event for a later exposure.
_SEGMENTS = """
CREATE OR REPLACE TEMP TABLE segments AS
WITH known AS (
    SELECT session_id, epoch_us(occurred_at) AS moment, sequence, event_id, {column} AS segment
    FROM events SEMI JOIN asked USING (session_id)
    WHERE event_date BETWEEN DATE '{sessions_from}' AND DATE '{until}' AND {column} IS NOT NULL
),
firsts AS (
    SELECT session_id, min((moment, sequence, event_id, segment)) AS first FROM known GROUP BY session_id
),
late AS (
    SELECT session_id, asked.moment FROM asked JOIN firsts USING (session_id)
    WHERE firsts.first[1] < asked.moment - {session_reach}
),
known_late AS (
    SELECT session_id, moment, min((sequence, event_id, segment)) AS first
    FROM known SEMI JOIN late USING (session_id)
    GROUP BY session_id, moment
)
SELECT session_id, asked.moment, firsts.first[4] AS segment
FROM asked JOIN firsts USING (session_id)
WHERE firsts.first[1] BETWEEN asked.moment - {session_reach} AND asked.moment + {session_reach}
UNION ALL
SELECT late.session_id, late.moment, known_late.first[3]
FROM late ASOF JOIN known_late
    ON late.session_id = known_late.session_id AND late.moment - {session_reach} <= known_late.moment
WHERE known_late.moment <= late.moment + {session_reach}
"""

# A shopper returns if an earlier event, at most 30 days before the session, has the same user_id.
_RETURNING = """
CREATE OR REPLACE TEMP TABLE segments AS
WITH moments AS (
    SELECT session_id, epoch_us(occurred_at) AS moment, max(user_id) AS user_id
    FROM events SEMI JOIN asked USING (session_id)
    WHERE event_date BETWEEN DATE '{sessions_from}' AND DATE '{until}'
    GROUP BY ALL
),
known AS (SELECT * FROM moments WHERE user_id IS NOT NULL),
begun AS (
    SELECT asked.*,
        CASE WHEN moments.moment <= asked.moment + {session_reach} THEN moments.moment END AS started,
        CASE WHEN known.moment <= asked.moment + {session_reach} THEN known.user_id END AS user_id
    FROM asked
    ASOF LEFT JOIN moments
        ON asked.session_id = moments.session_id AND asked.moment - {session_reach} <= moments.moment
    ASOF LEFT JOIN known
        ON asked.session_id = known.session_id AND asked.moment - {session_reach} <= known.moment
),
seen AS (
    SELECT DISTINCT user_id, epoch_us(occurred_at) AS moment
    FROM events SEMI JOIN begun USING (user_id)
    WHERE event_date BETWEEN DATE '{history_from}' AND DATE '{until}'
)
SELECT begun.session_id, begun.moment,
    CASE WHEN started IS NULL THEN NULL
        WHEN seen.moment >= started - {history} THEN 'returning' ELSE 'new' END AS segment
FROM begun ASOF LEFT JOIN seen ON begun.user_id = seen.user_id AND begun.started > seen.moment
"""

_OUTCOMES = """
INSERT INTO outcomes_made BY NAME
SELECT e.exposure_id, e.recommendation_id, e.occurred_at AS shown_at, e.session_id, e.user_id, e.item_id,
    e.position, e.placement, e.model_version, e.policy, e.experiment, e.arm, e.propensity,
    coalesce(segments.segment, '{unknown}') AS segment,
    coalesce(followed.clicks, 0) AS clicks, coalesce(followed.views, 0) AS views,
    coalesce(followed.adds, 0) AS adds, coalesce(followed.orders, 0) AS orders,
    make_timestamptz(followed.clicked_at) AS clicked_at, make_timestamptz(followed.viewed_at) AS viewed_at,
    make_timestamptz(followed.added_at) AS added_at, make_timestamptz(followed.ordered_at) AS ordered_at,
    coalesce(followed.dwell_ms, 0) AS dwell_ms, coalesce(followed.quantity, 0) AS quantity,
    coalesce(followed.revenue, 0) AS revenue, followed.currency,
    CASE followed.way WHEN 1 THEN 'list' WHEN 2 THEN 'session' WHEN 3 THEN 'shopper' END AS touch,
    make_timestamptz(checkouts.session_ordered_at) AS session_ordered_at,
    make_timestamptz(checkouts.session_abandoned_at) AS session_abandoned_at,
    e.event_date
FROM exposures AS e
LEFT JOIN followed ON followed.exposure_id = e.exposure_id
LEFT JOIN checkouts ON checkouts.session_id = e.session_id AND checkouts.moment = epoch_us(e.occurred_at)
LEFT JOIN segments ON segments.session_id = e.session_id AND segments.moment = epoch_us(e.occurred_at)
WHERE e.event_date BETWEEN DATE '{first}' AND DATE '{last}' AND e.kind = 'shown'
"""


def outcome_queries(first: date, last: date, reach: Reach, data_end: datetime | None) -> list[str]:
    """Return the queries that add the outcomes of some days to the table `outcomes_made`.

    The queries of `action_queries` for these days come before. `data_end` is the moment after the newest
    event, by which a checkout is overdue.
    """
    day, session = timedelta(days=1), reach.session
    segments = _RETURNING if reach.segment == "returning" else _SEGMENTS
    values = {
        "first": first,
        "last": last,
        "first_moment": moment_of(first),
        "last_moment": moment_of(last + day),
        "steps_from": first - timedelta(days=reach.checkout_days),
        "sessions_from": first - day,
        "history_from": first - day - HISTORY,
        "history": microseconds(HISTORY),
        "until": last + timedelta(days=reach.days),
        "session_reach": microseconds(session),
        "abandoned_after": microseconds(reach.abandoned_after),
        "data_end": 0 if data_end is None else microseconds(data_end.replace(tzinfo=None) - _EPOCH),
        "column": reach.segment,
        "unknown": UNKNOWN,
    }
    return [query.format(**values) for query in (_ASKED, _CHECKOUTS, segments, _OUTCOMES)]

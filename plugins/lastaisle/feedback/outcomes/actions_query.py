"""The SQL that finds the exposure from which each action follows, for some days of exposures.

Moments are microseconds since 1970, as BIGINT: so DuckDB compares and sorts them fastest. All tables here are
temporary tables of one workspace, over the views `exposures` and `events`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from lastaisle.feedback.outcomes.reach import Reach

#: What an order counts in whose price is known and whose currency is not: in ISO 4217, no currency.
NO_CURRENCY: Final = "XXX"
NO_SUCH_LIST: Final = "no_such_list"
ITEM_NOT_IN_LIST: Final = "item_not_in_list"
NO_EXPOSURE_BEFORE: Final = "no_exposure_before"
_MICROSECOND = timedelta(microseconds=1)

# Hashes of what was shown in a session or to a shopper. They only choose rows before the rows are joined by
# their texts, so equal hashes of different texts do no harm.
_SEEN = """
CREATE OR REPLACE TEMP TABLE seen AS
SELECT hash(session_id, item_id) AS key FROM exposures
WHERE event_date BETWEEN DATE '{exposures_from}' AND DATE '{until}' AND kind = 'shown'
    AND session_id IS NOT NULL
UNION
SELECT hash(user_id, item_id, 1) FROM exposures
WHERE event_date BETWEEN DATE '{exposures_from}' AND DATE '{until}' AND kind = 'shown'
    AND user_id IS NOT NULL AND {shopper_reach} > 0
"""

# Of the events, those are left out whose item was shown neither in their session nor to their shopper.
_ACTIONS = """
CREATE OR REPLACE TEMP TABLE actions AS
SELECT event_type AS kind, NULL::VARCHAR AS recommendation_id, session_id, user_id, item_id,
    epoch_us(occurred_at) AS moment, NULL::VARCHAR AS action_id, NULL::VARCHAR AS placement,
    CASE WHEN kind = 'item_viewed' THEN coalesce(dwell_ms, 0) ELSE 0 END AS dwell_ms,
    CASE WHEN kind = 'order_completed' THEN order_id END AS order_id,
    CASE WHEN kind = 'order_completed' THEN quantity END AS quantity,
    CASE WHEN kind = 'order_completed' THEN price END AS price,
    CASE WHEN kind = 'order_completed' THEN currency END AS currency, NULL::INTEGER AS position
FROM events
WHERE event_date BETWEEN DATE '{since}' AND DATE '{until}'
    AND event_type IN ('item_viewed', 'item_added', 'order_completed')
    AND (hash(session_id, item_id) IN (SELECT key FROM seen)
        OR hash(user_id, item_id, 1) IN (SELECT key FROM seen))
UNION ALL
SELECT kind, recommendation_id, session_id, user_id, item_id,
    epoch_us(occurred_at), exposure_id, placement, 0, NULL, NULL, NULL, NULL, position
FROM exposures
WHERE event_date BETWEEN DATE '{since}' AND DATE '{until}' AND kind IN ('clicked', 'added', 'bought')
"""

# The exposures that an action may follow. Of rows of one moment the last in the order of `rank` counts: the
# row that was received later, then the row further down the list, then the greater id.
_SHOWN = """
CREATE OR REPLACE TEMP TABLE shown AS
WITH keys AS (
    SELECT hash(session_id, item_id) AS key FROM actions
    UNION SELECT hash(user_id, item_id, 1) FROM actions WHERE user_id IS NOT NULL
    UNION SELECT hash(recommendation_id, item_id, 2) FROM actions WHERE recommendation_id IS NOT NULL
)
SELECT exposure_id, recommendation_id, session_id, user_id, item_id, position,
    epoch_us(occurred_at) AS moment,
    (coalesce(epoch_us(received_at), -1), coalesce(position, 0), exposure_id) AS rank
FROM exposures
WHERE event_date BETWEEN DATE '{exposures_from}' AND DATE '{until}' AND kind = 'shown'
    AND (hash(session_id, item_id) IN (SELECT key FROM keys)
        OR hash(user_id, item_id, 1) IN (SELECT key FROM keys)
        OR hash(recommendation_id, item_id, 2) IN (SELECT key FROM keys))
"""

# Each join finds the newest exposure at or before the action. If that one is too old, all others are. A list
# may show an item at several positions: feedback that names its position follows the row of that position.
_FOUND = """
CREATE OR REPLACE TEMP TABLE found AS
WITH places AS (
    SELECT recommendation_id, item_id, position, moment, arg_max(exposure_id, rank) AS exposure_id
    FROM shown SEMI JOIN actions USING (recommendation_id, item_id, position)
    GROUP BY recommendation_id, item_id, position, moment
),
lists AS (
    SELECT recommendation_id, item_id, moment, arg_max(exposure_id, rank) AS exposure_id
    FROM shown SEMI JOIN actions USING (recommendation_id, item_id)
    GROUP BY recommendation_id, item_id, moment
),
sessions AS (
    SELECT session_id, item_id, moment, arg_max(exposure_id, rank) AS exposure_id
    FROM shown SEMI JOIN actions USING (session_id, item_id)
    GROUP BY session_id, item_id, moment
),
shoppers AS (
    SELECT user_id, item_id, moment, arg_max(exposure_id, rank) AS exposure_id
    FROM shown SEMI JOIN actions USING (user_id, item_id)
    WHERE {shopper_reach} > 0
    GROUP BY user_id, item_id, moment
),
joined AS (
    SELECT actions.*, shoppers.moment AS shopper_moment,
        CASE WHEN actions.moment - places.moment <= {list_reach} THEN places.exposure_id
            WHEN actions.moment - lists.moment <= {list_reach} THEN lists.exposure_id END AS by_list,
        CASE WHEN actions.moment - sessions.moment <= {session_reach}
            THEN sessions.exposure_id END AS by_session,
        CASE WHEN actions.moment - shoppers.moment <= {shopper_reach}
            THEN shoppers.exposure_id END AS by_shopper
    FROM actions
    ASOF LEFT JOIN places ON actions.recommendation_id = places.recommendation_id
        AND actions.item_id = places.item_id AND actions.position = places.position
        AND actions.moment >= places.moment
    ASOF LEFT JOIN lists ON actions.recommendation_id = lists.recommendation_id
        AND actions.item_id = lists.item_id AND actions.moment >= lists.moment
    ASOF LEFT JOIN sessions ON actions.session_id = sessions.session_id
        AND actions.item_id = sessions.item_id AND actions.moment >= sessions.moment
    ASOF LEFT JOIN shoppers ON actions.user_id = shoppers.user_id
        AND actions.item_id = shoppers.item_id AND actions.moment >= shoppers.moment
)
SELECT * EXCLUDE (position, by_list, by_session, by_shopper, shopper_moment),
    coalesce(by_list, by_session, by_shopper) AS exposure_id,
    CASE WHEN by_list IS NOT NULL THEN 1 WHEN by_session IS NOT NULL THEN 2 ELSE 3 END AS way,
    CASE WHEN way = 3 THEN shopper_moment ELSE 0 END AS shopper_moment
FROM joined
WHERE action_id IS NOT NULL OR by_session IS NOT NULL OR by_shopper IS NOT NULL
"""

# An event of a session, item, type and moment is one act, however many event ids it was sent under; of an
# order the lines that differ are acts. If its rows name several shoppers, the exposure in the session counts,
# then the newest exposure to one of them.
_ATTRIBUTED = """
CREATE OR REPLACE TEMP TABLE attributed AS
WITH acts AS (
    SELECT kind, moment, order_id, quantity, price, currency,
        max((-way, shopper_moment, exposure_id, dwell_ms)) AS best
    FROM found
    WHERE action_id IS NULL
    GROUP BY kind, session_id, item_id, moment, order_id, quantity, price, currency
)
SELECT kind, moment, order_id, quantity, price, currency, best[3] AS exposure_id, -best[1] AS way,
    best[4] AS dwell_ms
FROM acts
UNION ALL
SELECT kind, moment, NULL, NULL, NULL, NULL, exposure_id, way, 0 FROM found
WHERE action_id IS NOT NULL AND exposure_id IS NOT NULL
"""

# Feedback and events of the same act are one act: the greater count holds. A line of an order that was sent
# again at another moment counts once; orders without an id are told apart by their moments.
_FOLLOWED = """
CREATE OR REPLACE TEMP TABLE followed AS
WITH counted AS (
    SELECT exposure_id,
        count_if(kind = 'clicked') AS clicks,
        count_if(kind = 'item_viewed') AS views,
        greatest(count_if(kind = 'item_added'), count_if(kind = 'added')) AS adds,
        greatest(
            count(DISTINCT coalesce(order_id, moment::VARCHAR)) FILTER (WHERE kind = 'order_completed'),
            count_if(kind = 'bought')) AS orders,
        min(moment) FILTER (WHERE kind = 'clicked') AS clicked_at,
        min(moment) FILTER (WHERE kind = 'item_viewed') AS viewed_at,
        min(moment) FILTER (WHERE kind IN ('item_added', 'added')) AS added_at,
        min(moment) FILTER (WHERE kind IN ('order_completed', 'bought')) AS ordered_at,
        least(sum(dwell_ms), 9223372036854775807) AS dwell_ms,
        min((CASE kind WHEN 'order_completed' THEN 1 WHEN 'bought' THEN 1 WHEN 'item_added' THEN 2
            WHEN 'added' THEN 2 WHEN 'clicked' THEN 3 ELSE 4 END, way))[2] AS way
    FROM attributed
    GROUP BY exposure_id
),
lines AS (
    SELECT exposure_id, coalesce(order_id, moment::VARCHAR) AS order_id, price,
        coalesce(quantity, 1) AS quantity, coalesce(currency, '{no_currency}') AS currency,
        min(moment) AS moment
    FROM attributed
    WHERE kind = 'order_completed'
    GROUP BY ALL
),
paid AS (
    SELECT exposure_id, sum(quantity) AS quantity,
        arg_min(currency, (moment, order_id, currency)) FILTER (WHERE price IS NOT NULL) AS currency
    FROM lines
    GROUP BY exposure_id
),
amounts AS (
    SELECT lines.exposure_id, lines.currency, lines.currency = paid.currency AS counts,
        list_sum(list(lines.price * lines.quantity ORDER BY lines.price * lines.quantity)) AS amount
    FROM lines JOIN paid USING (exposure_id)
    WHERE lines.price IS NOT NULL
    GROUP BY ALL
)
SELECT counted.*, paid.quantity, paid.currency,
    max(amounts.amount) FILTER (WHERE counts) AS revenue,
    list({{'currency': amounts.currency, 'amount': amounts.amount}}) FILTER (WHERE NOT counts) AS left_out
FROM counted LEFT JOIN paid USING (exposure_id) LEFT JOIN amounts USING (exposure_id)
GROUP BY ALL
"""

# The nearest row of the list, and of the item in the list, at most the reach before or after the action.
_UNATTRIBUTED = """
INSERT INTO unattributed_made BY NAME
WITH unexplained AS (
    SELECT * FROM found
    WHERE exposure_id IS NULL AND moment >= {first_moment} AND moment < {last_moment}
),
near AS (
    SELECT recommendation_id, item_id, epoch_us(occurred_at) AS moment
    FROM exposures SEMI JOIN unexplained USING (recommendation_id)
    WHERE event_date BETWEEN DATE '{exposures_from}' AND DATE '{until}' AND kind = 'shown'
),
lists AS (SELECT DISTINCT recommendation_id, moment FROM near),
items AS (SELECT DISTINCT * FROM near)
SELECT action_id AS exposure_id, kind, u.recommendation_id, make_timestamptz(u.moment) AS occurred_at,
    session_id, user_id, u.item_id, placement,
    CASE WHEN coalesce(lists.moment > u.moment + {list_reach}, true) THEN '{no_such_list}'
        WHEN coalesce(items.moment > u.moment + {list_reach}, true) THEN '{item_not_in_list}'
        ELSE '{no_exposure_before}' END AS reason,
    make_timestamptz(u.moment)::DATE AS event_date
FROM unexplained AS u
ASOF LEFT JOIN lists ON u.recommendation_id = lists.recommendation_id
    AND u.moment - {list_reach} <= lists.moment
ASOF LEFT JOIN items ON u.recommendation_id = items.recommendation_id AND u.item_id = items.item_id
    AND u.moment - {list_reach} <= items.moment
"""

# The exposures of other days are left out here: their own days count them.
_OTHER_CURRENCIES = """
INSERT INTO other_currencies BY NAME
SELECT unnest(left_out, recursive := true)
FROM followed SEMI JOIN (
    SELECT exposure_id FROM shown WHERE moment >= {first_moment} AND moment < {last_moment}
) USING (exposure_id)
"""
_DROPPED = "DROP TABLE seen; DROP TABLE actions; DROP TABLE shown; DROP TABLE found; DROP TABLE attributed"


def action_queries(first: date, last: date, reach: Reach) -> list[str]:
    """Return the queries that attribute the actions which may follow from exposures of some days.

    They make the tables `attributed` (one row an action) and `followed` (one row an exposure with actions).
    They add the unattributed feedback of these days to `unattributed_made`, and the amounts of orders in
    further currencies to `other_currencies`. An older exposure may explain an action better, so the exposures
    of earlier days are read too.
    """
    margin = timedelta(days=reach.days)
    values = {
        "exposures_from": first - margin,
        "since": first,
        "until": last + margin,
        "first_moment": moment_of(first),
        "last_moment": moment_of(last + timedelta(days=1)),
        "list_reach": microseconds(reach.list),
        "session_reach": microseconds(reach.session),
        "shopper_reach": microseconds(reach.shopper),
        "no_currency": NO_CURRENCY,
        "no_such_list": NO_SUCH_LIST,
        "item_not_in_list": ITEM_NOT_IN_LIST,
        "no_exposure_before": NO_EXPOSURE_BEFORE,
    }
    queries = (
        _SEEN,
        _ACTIONS,
        _SHOWN,
        _FOUND,
        _ATTRIBUTED,
        _FOLLOWED,
        _UNATTRIBUTED,
        _OTHER_CURRENCIES,
        _DROPPED,
    )
    return [query.format(**values) for query in queries]


def microseconds(span: timedelta) -> int:
    """Return a span of time in microseconds."""
    return span // _MICROSECOND


def moment_of(day: date) -> int:
    """Return the first moment of a UTC day."""
    return microseconds(day - date(1970, 1, 1))

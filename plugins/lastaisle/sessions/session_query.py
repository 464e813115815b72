"""The SQL that puts sessions together from the table `events`; its columns come from the list of features."""

from __future__ import annotations

from data_contracts import context_features
from data_contracts.privacy import quote

FAST_VIEWS = 10  # the pace of a session with fewer views is not judged

# The columns of `events` that sessions need beside the features.
_NEEDED = ("session_id", "user_id", "item_id", "event_type", "occurred_at", "sequence")
# The context of a log: name in the log to column of the rows of `session_query`. A session's time is
# that of its first event; `user_id` holds pseudonyms.
SESSION_COLUMNS = {
    **{
        feature.name: "started_at" if feature.kind == "time" else feature.column
        for feature in context_features("session")
    },
    "returning": "returning",
}
# Columns of a session that the query computes otherwise than from its first event.
_DERIVED = ("user_id", "started_at", "returning")
# The context of events, and the features of items, by their names in the log.
EVENT_COLUMNS = (
    *(feature.name for feature in context_features("event")),
    *("occurred_at", "added", "purchased"),
)
ITEM_COLUMNS = tuple(feature.name for feature in context_features("item"))

# Shoppers whose most recent event refuses consent are left out; ties refuse. Events before $first_day are not
# read: the most recent event of a shopper who has an event on or after that day is not among them.
REFUSING_SHOPPERS = """
SELECT coalesce(user_id, session_id) AS _shopper
FROM events
WHERE event_date >= $first_day
GROUP BY _shopper
HAVING max(occurred_at) = max(occurred_at) FILTER (WHERE NOT coalesce(consent_personalization, false))
"""

# A decision of the table `consents` counts beside the flags of events: the view `withdrawn` has the column
# `_shopper` with the pseudonyms of the shoppers and of the visits whose newest decision refuses.

# An event of a session, item, type and moment counts once, however many event ids it was sent under.
# Each view counts. Adding or ordering an item that the session has already seen is no new choice: the shopper
# comes from the item's page, so as a target the event would only raise the metrics. The earlier events of the
# item carry this information instead: `added` and `purchased` say whether the session adds, or orders, the
# item then or later.
_SESSIONS = """
WITH refused AS ({refused}),
once AS (
    SELECT * FROM events
    WHERE event_date BETWEEN $first_day AND $last_day
        AND occurred_at >= $read_from AND occurred_at < $seen_until
        AND hash(session_id, $seed) / 18446744073709551616 <= $share  -- of 2 ** 64 hashes
        AND item_id IS NOT NULL AND event_type IN ('item_viewed', 'item_added', 'order_completed')
    QUALIFY 1 = row_number() OVER (
        PARTITION BY session_id, item_id, event_type, occurred_at ORDER BY sequence)
),
chosen AS (
    SELECT {columns},
        event_type = 'item_viewed' OR 1 = row_number() OVER so_far AS counts,
        bool_or(event_type = 'item_added') OVER from_here AS added,
        bool_or(event_type = 'order_completed') OVER from_here AS purchased
    FROM once
    WINDOW so_far AS (PARTITION BY session_id, item_id ORDER BY occurred_at, sequence),
        from_here AS (
            PARTITION BY session_id, item_id ORDER BY occurred_at, sequence
            ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        )
),
sessions AS (
    SELECT session_id,
        min(occurred_at) AS started_at,
        max(occurred_at) AS ended_at,
        count(*) AS n_events,
        {pace} AS seconds_a_view,
        list({{{event}}} ORDER BY occurred_at, sequence) FILTER (WHERE counts) AS events,
        max(user_id) AS user_id{first_values},
        bool_or(coalesce(user_id, session_id) IN (SELECT _shopper FROM refused)
            OR coalesce(user_id IN (SELECT _shopper FROM withdrawn), false)
            OR session_id IN (SELECT _shopper FROM withdrawn)) AS refused
    FROM chosen
    GROUP BY session_id
),
first_seen AS (
    SELECT user_id, min(occurred_at) AS seen_at
    FROM events
    WHERE user_id IS NOT NULL AND event_date BETWEEN $history_day AND $last_day
    GROUP BY user_id
),
asked AS (SELECT * FROM sessions WHERE {moment} >= $start AND {moment} < $end)
SELECT asked.*, coalesce(first_seen.seen_at < asked.started_at, false) AS returning
FROM asked LEFT JOIN first_seen USING (user_id)
ORDER BY ended_at, session_id
"""

# The pace of sessions with enough views; NULL where all views have one moment: the log's time is coarse.
_PACE = f"""
CASE WHEN count(*) FILTER (WHERE event_type = 'item_viewed') >= {FAST_VIEWS} THEN nullif(
    epoch(max(occurred_at) FILTER (WHERE event_type = 'item_viewed')
        - min(occurred_at) FILTER (WHERE event_type = 'item_viewed')), 0)
    / (count(*) FILTER (WHERE event_type = 'item_viewed') - 1) END
"""

# The newest known features of each item, from sessions that are kept.
_ITEMS = """
SELECT item_id{newest_values}
FROM events SEMI JOIN kept USING (session_id)
WHERE event_date BETWEEN $first_day AND $last_day
    AND occurred_at >= $read_from AND occurred_at < $end
    AND item_id IS NOT NULL
GROUP BY item_id
"""


def session_query(moment: str) -> str:
    """Return the query of the sessions whose `moment` (started_at or ended_at) lies in [$start, $end)."""
    event = {"item_id": "item_id", **{feature.name: feature.column for feature in context_features("event")}}
    event |= {name: name for name in ("occurred_at", "added", "purchased")}
    features = (*context_features("session"), *context_features("event"))
    first = [column for column in SESSION_COLUMNS.values() if column not in _DERIVED]
    return _SESSIONS.format(
        moment=moment,
        pace=_PACE,
        refused=REFUSING_SHOPPERS,
        columns=", ".join(map(quote, dict.fromkeys([*_NEEDED, *(feature.column for feature in features)]))),
        event=", ".join(f"{quote(name)}: {quote(column)}" for name, column in event.items()),
        first_values="".join(
            f",\n        arg_min({quote(name)}, (occurred_at, sequence)) AS {quote(name)}" for name in first
        ),
    )


def item_query() -> str:
    """Return the query of the items' features, of the sessions in the table `kept`."""
    newest = (
        f",\n    arg_max({quote(feature.column)}, (occurred_at, sequence)) AS {quote(feature.name)}"
        for feature in context_features("item")
    )
    return _ITEMS.format(newest_values="".join(newest))


def missing_columns(present: list[str]) -> str:
    """Return SELECT expressions of the optional features that a table lacks; their values are unknown."""
    optional = {feature.column: feature.sql_type for feature in context_features() if not feature.required}
    return "".join(
        f", NULL::{sql_type} AS {quote(column)}"
        for column, sql_type in optional.items()
        if column not in present
    )

"""The BigQuery export of Google Analytics 4: one event a line of JSON, or a row of Parquet.

The events of items give one row for each of their items. Other shop pages are page views. Events that are
not the shop's, such as scroll or user_engagement, are ignored by name. Events that Google sends without any
id, since the shopper gave no consent, are ignored as no_consent_and_no_id. The export has no id of an event:
the id is made from the user, the time, the name and the place in the upload, so an event that is exported
again has the same id.
"""

from __future__ import annotations

from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text, present
from lastaisle.ingest.sources.json_lines import json_object, not_json

_TEXT = "VARCHAR"
_UPLOAD = ("event_bundle_sequence_id", "batch_page_id", "batch_ordering_id", "batch_event_index")
_VALUE = dict.fromkeys(("string_value", "int_value", "float_value", "double_value"), _TEXT)
_ITEM = dict.fromkeys(("item_id", "item_name", "item_brand", "item_category", "price", "quantity"), _TEXT)
_SPEC = {
    **dict.fromkeys(("event_name", "event_timestamp", "user_id", "user_pseudo_id", "stream_id"), _TEXT),
    **dict.fromkeys(_UPLOAD, _TEXT),
    "event_params": [{"key": _TEXT, "value": _VALUE}],
    "items": [_ITEM],
    "ecommerce": {"transaction_id": _TEXT},
    "device": {"category": _TEXT},
    "geo": {"country": _TEXT, "region": _TEXT},
    "privacy_info": {"analytics_storage": _TEXT, "ads_storage": _TEXT},
}
_KINDS = {"/items": "ARRAY", "/event_params": "ARRAY", "/privacy_info": "OBJECT", "/ecommerce": "OBJECT"}
_EVENTS = {
    "view_item": "item_viewed",
    "select_item": "item_viewed",
    "add_to_cart": "item_added",
    "remove_from_cart": "item_removed",
    "begin_checkout": "checkout_started",
    "purchase": "order_completed",
    "in_app_purchase": "order_completed",
    "ecommerce_purchase": "order_completed",
    "page_view": "page_viewed",
    "screen_view": "page_viewed",
    "view_item_list": "page_viewed",
    "view_search_results": "page_viewed",
    "view_cart": "page_viewed",
}
_CASES = " ".join(f"WHEN '{name}' THEN '{kind}'" for name, kind in _EVENTS.items())

_PREPARE = f"""
SELECT * EXCLUDE (items), unnest(items) AS item, unnest(range(len(items))) AS _sub_row
FROM (SELECT * EXCLUDE (_sub_row), CASE doc.event_name {_CASES} END AS event_type,
        coalesce(event_type <> 'page_viewed' AND len(doc.items) > 0, false) AS expanded,
        CASE WHEN expanded THEN doc.items ELSE [NULL] END AS items
      FROM ({json_object(_SPEC)}))"""

#: A list or an object that is there in another form must not count as absent.
_ODD = " ".join(
    f"WHEN json_type(_text, '{place}') NOT IN ('{kind}', 'NULL') THEN '{place[1:]}_is_no_{kind.lower()}'"
    for place, kind in _KINDS.items()
)
_NO_ITEM = f"WHEN expanded AND {present('item.item_id')} IS NULL THEN 'item_without_id'"
_MALFORMED = f"{not_json().removesuffix('END')} {_ODD} {_NO_ITEM} END"


def _parameter(name: str) -> str:
    """Return the SQL of an event parameter's value, whatever its type."""
    value = f"list_filter(doc.event_params, lambda p: p.key = '{name}')[1].value"
    return f"coalesce({', '.join(f'{value}.{kind}' for kind in _VALUE)})"


def _written(text: str) -> str:
    """Return the SQL of free text without the words that the export writes for a missing value."""
    return f"CASE WHEN {text} NOT IN ('(not set)', '(other)', '(none)') THEN {text} END"


def _consent(text: str) -> str:
    """Return the SQL of a consent; Unset says that the shop does not ask by Google's consent mode."""
    return (
        f"CASE lower({text}) WHEN 'yes' THEN 'true' WHEN 'no' THEN 'false' WHEN 'unset' THEN NULL "
        f"ELSE {text} END"
    )


ADAPTER = Adapter(
    "ga4",
    prepare=_PREPARE,
    malformed=_MALFORMED,
    ignored="""CASE WHEN event_type IS NULL THEN doc.event_name
        WHEN doc.user_id IS NULL AND doc.user_pseudo_id IS NULL
          AND lower(doc.privacy_info.analytics_storage) = 'no' THEN 'no_consent_and_no_id' END""",
    fields={
        "event_id": content_id(
            "'ga4'",
            *(f"coalesce(doc.{name}, '')" for name in ("stream_id", "user_pseudo_id", "event_timestamp")),
            *(f"coalesce(doc.{name}, '')" for name in ("event_name", *_UPLOAD)),
            "coalesce(item.item_id, '')",
            "_sub_row",
        ),
        "event_type": "coalesce(event_type, doc.event_name)",
        "occurred_at": epoch_text("doc.event_timestamp", 1_000_000),
        "user_id": f"coalesce({present('doc.user_id')}, doc.user_pseudo_id)",
        "session_id": f"{present('doc.user_pseudo_id')} || '-' || {present(_parameter('ga_session_id'))}",
        "item_id": "item.item_id",
        "quantity": "item.quantity",
        "price": "item.price",
        "currency": _parameter("currency"),
        "category": _written("item.item_category"),
        "brand": _written("item.item_brand"),
        "order_id": f"""CASE WHEN event_type = 'order_completed'
            THEN coalesce({present("doc.ecommerce.transaction_id")}, {_parameter("transaction_id")}) END""",
        "dwell_ms": _parameter("engagement_time_msec"),
        "device_type": """CASE lower(doc.device.category) WHEN 'smart tv' THEN 'tv'
            ELSE lower(doc.device.category) END""",
        "country": _written("doc.geo.country"),
        "region": _written("doc.geo.region"),
        "referrer": _parameter("page_referrer"),
        "consent_analytics": _consent("doc.privacy_info.analytics_storage"),
        "consent_personalization": _consent("doc.privacy_info.ads_storage"),
    },
)

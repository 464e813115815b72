"""Snowplow's enriched events: 131 tab-separated columns, or the JSON that its analytics SDKs make of them.

The adapter reads page and screen views, the e-commerce actions with their product and transaction entities
(one row a product), structured events whose action names the cart or a product view, and the older events
transaction, transaction_item, add_to_cart and remove_from_cart. In a structured event the label is the item,
the property the category, and the value the price. Other events, such as page_ping, are ignored by name.
"""

from __future__ import annotations

import json

from lastaisle.ingest.sources.adapter import Adapter, present
from lastaisle.ingest.sources.snowplow_columns import COLUMNS

_SHOP = "com.snowplowanalytics.snowplow.ecommerce"
_MAIN = "com.snowplowanalytics.snowplow"
_READ = (
    *("event_id", "event", "event_name", "collector_tstamp", "derived_tstamp", "true_tstamp", "platform"),
    *("user_id", "domain_userid", "network_userid", "domain_sessionid", "geo_country", "geo_region"),
    *("dvce_type", "dvce_ismobile", "page_referrer", "contexts", "unstruct_event"),
    *("se_action", "se_label", "se_property", "se_value", "tr_orderid", "tr_currency"),
    *("ti_orderid", "ti_sku", "ti_category", "ti_price", "ti_quantity", "ti_currency"),
)
_ACTIONS = {
    "product_view": "item_viewed",
    "list_click": "item_viewed",
    "add_to_cart": "item_added",
    "remove_from_cart": "item_removed",
    "list_view": "page_viewed",
    "checkout_step": "checkout_started",
    "transaction": "order_completed",
}
_STRUCTURED = {
    **dict.fromkeys(("addtocart", "addtobasket"), "item_added"),
    **dict.fromkeys(("removefromcart", "removefrombasket"), "item_removed"),
    **dict.fromkeys(("productview", "viewproduct", "viewitem"), "item_viewed"),
}
_OLDER = {"add_to_cart": "item_added", "remove_from_cart": "item_removed", "screen_view": "page_viewed"}


def _key(kind: str, vendor: str, name: str) -> str:
    """Return the key of a schema in the SDKs' JSON."""
    return f"{kind}_{vendor.replace('.', '_')}_{name}_1"


def _entities(vendor: str, name: str) -> str:
    """Return the SQL of the list of an event's entities of one schema; NULL if it has none."""
    key = f"'/{_key('contexts', vendor, name)}'"
    of_schema = f"list_filter(entities, lambda e: starts_with(e ->> 'schema', 'iglu:{vendor}/{name}/'))"
    return f"""CASE WHEN json_type(document, {key}) = 'ARRAY' THEN json_extract(document, {key})::JSON[]
        WHEN NOT is_json THEN list_transform({of_schema}, lambda e: json_extract(e, '/data')) END"""


def _words(text: str, words: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{word}' THEN '{value}'" for word, value in words.items())
    return f"CASE {text} {cases} END"


_DATA_KEYS = [
    _key("unstruct_event", _SHOP, "snowplow_ecommerce_action"),
    *(_key("unstruct_event", _MAIN, name) for name in ("add_to_cart", "remove_from_cart")),
]
_JSON_DATA = ", ".join(f"json_extract(document, '/{key}')" for key in _DATA_KEYS)
_COLUMNS = ", ".join(
    f"'{name}': CASE WHEN is_json THEN doc.{name} ELSE nullif(f[{COLUMNS.index(name) + 1}], '') END"
    for name in _READ
)
_SPEC = json.dumps(dict.fromkeys(_READ, "VARCHAR"))

_LETTERS = "regexp_replace(lower(r.se_action), '[^a-z]', '', 'g')"
_EVENT_TYPE = f"""CASE r.event
    WHEN 'page_view' THEN 'page_viewed'
    WHEN 'transaction' THEN 'order_completed'
    WHEN 'transaction_item' THEN 'order_completed'
    WHEN 'struct' THEN {_words(_LETTERS, _STRUCTURED)}
    WHEN 'unstruct' THEN CASE
      WHEN r.event_name <> 'snowplow_ecommerce_action' THEN {_words("r.event_name", _OLDER)}
      WHEN action = 'checkout_step' AND coalesce(step[1] ->> 'step', '1') <> '1' THEN NULL
      ELSE {_words("action", _ACTIONS)} END END"""

_PREPARE = f"""
SELECT * EXCLUDE (products), unnest(products) AS product, unnest(range(len(products))) AS _sub_row
FROM (SELECT * EXCLUDE (products), {_EVENT_TYPE} AS event_type,
    coalesce(event_type <> 'page_viewed' AND len(products) > 0, false) AS expanded,
    CASE WHEN expanded THEN products ELSE [NULL]::JSON[] END AS products
  FROM (SELECT *, data ->> 'type' AS action, {_entities(_SHOP, "product")} AS products,
      {_entities(_SHOP, "transaction")} AS orders, {_entities(_SHOP, "checkout_step")} AS step,
      {_entities(_MAIN, "client_session")} AS client
    FROM (SELECT *,
        CASE WHEN is_json THEN coalesce({_JSON_DATA}) ELSE json_extract(unstruct, '/data/data') END AS data,
        CASE WHEN json_type(contexts, '/data') = 'ARRAY' THEN json_extract(contexts, '/data')::JSON[] END
          AS entities
      FROM (SELECT *, TRY_CAST(CASE WHEN NOT is_json THEN r.contexts END AS JSON) AS contexts,
          TRY_CAST(CASE WHEN NOT is_json THEN r.unstruct_event END AS JSON) AS unstruct
        FROM (SELECT * EXCLUDE (doc, f), len(f) AS width, {{{_COLUMNS}}} AS r
          FROM (SELECT *, try(json_transform(document, '{_SPEC}')) AS doc
            FROM (SELECT *, coalesce(starts_with(ltrim(_text), '{{'), false) AS is_json,
                string_split(_line, chr(9)) AS f,
                TRY_CAST(CASE WHEN is_json THEN _text END AS JSON) AS document
              FROM lines)))))))"""

_PRODUCT_KEY = _key("contexts", _SHOP, "product")
_ODD_DATA = " ".join(
    f"WHEN json_type(document, '/{key}') NOT IN ('OBJECT', 'NULL') THEN 'unstruct_event_unreadable'"
    for key in _DATA_KEYS
)
_NO_PRODUCT = present("product ->> 'id'") + " IS NULL"
_MALFORMED = f"""CASE
    WHEN is_json AND document IS NULL THEN 'not_json'
    WHEN NOT is_json AND width <> {len(COLUMNS)} THEN 'wrong_number_of_columns'
    WHEN NOT is_json AND r.contexts IS NOT NULL AND entities IS NULL THEN 'contexts_unreadable'
    WHEN NOT is_json AND r.unstruct_event IS NOT NULL AND coalesce(json_type(data), '') <> 'OBJECT'
      THEN 'unstruct_event_unreadable'
    WHEN json_type(document, '/{_PRODUCT_KEY}') NOT IN ('ARRAY', 'NULL') THEN 'contexts_unreadable'
    {_ODD_DATA}
    WHEN expanded AND {_NO_PRODUCT} THEN 'product_without_id' END"""


def _id(text: str) -> str:
    """Return the SQL of an id; trackers without cookies send a UUID of zeros."""
    return f"CASE WHEN {text} <> '00000000-0000-0000-0000-000000000000' THEN {present(text)} END"


def _of_item(column: str, structured: str, entity: str, older: str) -> str:
    """Return the SQL of a property of the item, from the place where the kind of event holds it."""
    return f"""CASE r.event WHEN 'transaction_item' THEN r.{column} WHEN 'struct' THEN {structured}
        ELSE coalesce(product ->> '{entity}', data ->> '{older}') END"""


ADAPTER = Adapter(
    "snowplow",
    prepare=_PREPARE,
    malformed=_MALFORMED,
    ignored="""CASE WHEN event_type IS NULL THEN CASE r.event WHEN 'unstruct'
        THEN coalesce(action, r.event_name, r.event) ELSE r.event END END""",
    fields={
        "event_id": "CASE WHEN expanded THEN r.event_id || ':' || _sub_row ELSE r.event_id END",
        "event_type": "event_type",
        "occurred_at": "coalesce(r.true_tstamp, r.derived_tstamp, r.collector_tstamp)",
        "received_at": "r.collector_tstamp",
        "user_id": f"""coalesce({_id("r.user_id")}, {_id("r.domain_userid")},
            {_id("client[1] ->> 'userId'")}, {_id("r.network_userid")})""",
        "session_id": f"""coalesce({_id("r.domain_sessionid")}, {_id("client[1] ->> 'sessionId'")})""",
        "item_id": _of_item("ti_sku", "r.se_label", "id", "sku"),
        "quantity": _of_item("ti_quantity", "NULL", "quantity", "quantity"),
        "price": _of_item("ti_price", "r.se_value", "price", "unitPrice"),
        "currency": """coalesce(CASE r.event WHEN 'transaction_item' THEN r.ti_currency END,
            product ->> 'currency', data ->> 'currency', orders[1] ->> 'currency', r.tr_currency)""",
        "category": _of_item("ti_category", "r.se_property", "category", "category"),
        "brand": "product ->> 'brand'",
        "order_id": """CASE WHEN event_type = 'order_completed'
            THEN coalesce(r.ti_orderid, r.tr_orderid, orders[1] ->> 'transaction_id') END""",
        "device_type": """CASE lower(r.dvce_type) WHEN 'computer' THEN 'desktop' WHEN 'mobile' THEN 'mobile'
            WHEN 'tablet' THEN 'tablet' WHEN 'smart tv' THEN 'tv' WHEN 'digital media receiver' THEN 'tv'
            WHEN 'game console' THEN 'other' WHEN 'wearable' THEN 'other'
            ELSE CASE WHEN lower(r.dvce_ismobile) IN ('true', '1') OR r.platform = 'mob'
            THEN 'mobile' END END""",
        "country": "r.geo_country",
        "region": "r.geo_country || '-' || r.geo_region",
        "referrer": "r.page_referrer",
    },
)

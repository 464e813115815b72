"""PostHog's events, one JSON object a line, as its batch exports and its API give them.

Shops name their events by Segment's e-commerce spec (`ecommerce`); $pageview and $screen are page views.
Other events ($autocapture, $identify) are ignored and counted by name. The user is distinct_id, the session
is $session_id. The consent is the property consent, in a form of `lastaisle.ingest.sources.consent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from data_contracts.contract import Contract
from data_contracts.privacy import quote
from lastaisle.ingest.sources.adapter import Adapter, present
from lastaisle.ingest.sources.consent import Consent
from lastaisle.ingest.sources.ecommerce import (
    PRODUCT_REASON,
    PROPERTIES,
    event_id,
    event_type,
    product_fields,
    with_products,
)
from lastaisle.ingest.sources.json_lines import is_object, json_object, not_json, transform, twice

_EVENT: Final = ("event", "uuid", "distinct_id", "timestamp", "created_at", "properties", "person_id")
_PROPERTIES: Final = (
    *PROPERTIES,
    *("$session_id", "$device_type", "$referrer", "$geoip_country_code", "$geoip_subdivision_1_code"),
    *("$insert_id", "consent"),
)

_EVENT_TYPE = f"""CASE WHEN doc.event IN ('$pageview', '$screen') THEN 'page_viewed'
    ELSE {event_type("doc.event")} END"""

_IGNORED = "CASE WHEN trim(doc.event) <> '' AND event_type IS NULL THEN doc.event END"


def _property(name: str) -> str:
    return f"p.{quote(name)}"


def _prepare(contract: Contract) -> str:
    source = json_object(dict.fromkeys(_EVENT, "VARCHAR"))
    properties = transform("doc.properties", dict.fromkeys(_PROPERTIES, "VARCHAR"))
    source = f"SELECT *, {properties} AS p, {_EVENT_TYPE} AS event_type FROM ({source})"
    return with_products(Consent.of(contract).columns("p.consent", source), "p", "event_type")


def _malformed(contract: Contract) -> str:
    """Return the reason why a line is no event, or why an event of interest cannot be read."""
    text = "doc.properties"
    return f"""coalesce({not_json()}, CASE WHEN event_type IS NOT NULL THEN coalesce(
      CASE WHEN NOT {is_object(text)} THEN 'properties_unreadable'
        WHEN {twice(f"TRY_CAST({text} AS JSON)")} THEN 'duplicate_key' END,
      {PRODUCT_REASON}, {Consent.of(contract).unreadable()}) END)"""


def _fields(contract: Contract) -> Mapping[str, str]:
    consent = Consent.of(contract)
    country, region = _property("$geoip_country_code"), _property("$geoip_subdivision_1_code")
    return {
        "event_id": event_id(f"coalesce({present('doc.uuid')}, {_property('$insert_id')})"),
        "event_type": "coalesce(event_type, doc.event)",
        "occurred_at": "doc.timestamp",
        "received_at": "doc.created_at",
        "user_id": f"coalesce({present('doc.distinct_id')}, doc.person_id)",
        "session_id": f"coalesce({present(_property('$session_id'))}, p.session_id)",
        "item_id": "item_id",
        **product_fields(),
        "device_type": _property("$device_type"),
        "country": country,
        "region": f"coalesce({country} || '-' || nullif({region}, ''), {region})",
        "referrer": f"coalesce(nullif({_property('$referrer')}, '$direct'), p.referrer)",
    } | {name: consent.field(name) for name in consent.names}


ADAPTER = Adapter("posthog", prepare=_prepare, malformed=_malformed, ignored=_IGNORED, fields=_fields)

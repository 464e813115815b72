"""Calls of Segment's e-commerce spec, one JSON object a line, as Segment and RudderStack store them.

`ecommerce` lists the events, by their present and their older names. Page and screen calls are page views.
Checkouts and orders give one row for each of their products, with the event id <messageId>:<position>. Other
calls (identify) and other events (Signed Up) are ignored and counted by name. A call without a type, or a
track call without an event, goes to quarantine; so does a batch of calls, as clients send it.

The user is userId, else anonymousId. Sessions are derived by a gap, unless the call names a session. The
country is the country of the locale, unless the call names a country. The consent is context.consent
(Segment), context.consentManagement (RudderStack) or context.OnetrustActiveGroups, in a form that
`lastaisle.ingest.sources.consent` reads. globalPrivacyControl, which our collector writes into the calls of
a browser with Sec-GPC, and context.globalPrivacyControl and context.doNotSell of other senders refuse
purposes whatever the record says.

`properties`, `context` and all that lies in them may also be texts that hold JSON. What is there and holds
another type sends an event to quarantine (properties_unreadable, context_unreadable, consent_unreadable,
products_unreadable); an empty list, as PHP writes an empty object, holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from data_contracts.contract import Contract
from lastaisle.ingest.sources.adapter import Adapter, present
from lastaisle.ingest.sources.consent import Consent, with_opt_outs
from lastaisle.ingest.sources.ecommerce import (
    PRODUCT_REASON,
    PROPERTIES,
    event_id,
    event_type,
    product_fields,
    with_products,
)
from lastaisle.ingest.sources.json_lines import is_object, json_object, not_json, transform, twice

_CALL: Final = (
    *("type", "event", "messageId", "userId", "anonymousId", "timestamp", "originalTimestamp", "receivedAt"),
    *("properties", "context", "batch", "globalPrivacyControl"),
)
_CONTEXT: Final = (
    *("locale", "userAgent", "sessionId", "device", "os", "location", "page"),
    *("consent", "consentManagement", "OnetrustActiveGroups", "globalPrivacyControl", "doNotSell"),
)
_PARTS: Final = {
    "device": ("type", "model"),
    "os": ("name",),
    "location": ("country", "region"),
    "page": ("referrer",),
}
_OF_NO_INTEREST: Final = "('identify', 'group', 'alias', 'merge')"

_EVENT_TYPE = f"""CASE WHEN doc.type IN ('page', 'screen') THEN 'page_viewed'
    WHEN doc.type = 'track' THEN {event_type("doc.event")} END"""

_IGNORED = f"""CASE WHEN doc.type IN {_OF_NO_INTEREST} THEN doc.type
    WHEN doc.type = 'track' AND trim(doc.event) <> '' AND event_type IS NULL
    THEN 'track: ' || doc.event END"""

#: The SQL of the shopper, the visit and the time of a call.
USER: Final = f"coalesce({present('doc.userId')}, doc.anonymousId)"
SESSION: Final = f"coalesce({present('p.session_id')}, c.sessionId)"
OCCURRED_AT: Final = f"coalesce({present('doc.timestamp')}, doc.originalTimestamp)"

#: The contract's rule on event_type refuses the name of a call that is no event.
_NAME = """coalesce(event_type,
    CASE WHEN doc.type = 'track' THEN doc.event ELSE coalesce(doc.type, 'call_without_type') END)"""

_RECORD = """coalesce(c.consent, c.consentManagement,
    CASE WHEN c.OnetrustActiveGroups IS NOT NULL
         THEN json_object('OnetrustActiveGroups', c.OnetrustActiveGroups)::VARCHAR END)"""

_DEVICE_TYPE = """CASE
    WHEN os.name ILIKE 'ipad%' OR device.model ILIKE '%ipad%' OR c.userAgent ILIKE '%ipad%'
      OR device.type ILIKE 'tablet' THEN 'tablet'
    WHEN os.name IN ('iOS', 'iPhone OS', 'Android') OR lower(device.type) IN ('ios', 'android', 'mobile')
      OR c.userAgent ILIKE '%mobi%' THEN 'mobile'
    WHEN trim(device.type) <> '' THEN device.type
    WHEN os.name ILIKE 'windows%' OR os.name ILIKE 'mac%' OR os.name ILIKE 'linux%' OR os.name ILIKE 'chrome%'
      OR c.userAgent IS NOT NULL THEN 'desktop'
    WHEN device.type IS NULL AND NOT starts_with(c.device, '{') THEN c.device END"""

_COUNTRY = """coalesce(nullif(location.country, ''),
    CASE WHEN NOT starts_with(c.location, '{') THEN nullif(c.location, '') END,
    nullif(regexp_extract(c.locale, '[-_]([A-Za-z]{2})$', 1), ''))"""


def _prepare(contract: Contract) -> str:
    return with_products(calls(contract, _EVENT_TYPE), "p", "event_type")


def calls(contract: Contract, event: str, properties: Sequence[str] = PROPERTIES) -> str:
    """Return a SELECT that parses calls: doc, p (properties), c (context) and its parts, the consent.

    Args:
        contract: the contract of raw_events, whose consent fields are read.
        event: the SQL of the column event_type; NULL for calls of no interest.
        properties: the names that are read in the properties.
    """
    source = json_object(dict.fromkeys(_CALL, "VARCHAR"))
    struct = transform("doc.properties", dict.fromkeys(properties, "VARCHAR"))
    context = transform("doc.context", dict.fromkeys(_CONTEXT, "VARCHAR"))
    source = f"SELECT *, {struct} AS p, {context} AS c, {event} AS event_type FROM ({source})"
    parts = ", ".join(
        f"{transform(f'c.{name}', dict.fromkeys(leaves, 'VARCHAR'))} AS {name}"
        for name, leaves in _PARTS.items()
    )
    return Consent.of(contract).columns(_RECORD, f"SELECT *, {parts} FROM ({source})")


def _malformed(contract: Contract) -> str:
    """Return the reason why a line is no call, or why a call of interest cannot be read."""
    reasons = [malformed_parts(), PRODUCT_REASON, Consent.of(contract).unreadable()]
    return f"""coalesce({malformed_line()},
    CASE WHEN event_type IS NOT NULL THEN coalesce({", ".join(reasons)}) END)"""


def malformed_line() -> str:
    """Return SQL of the reason why a line is no call."""
    batch = "CASE WHEN doc.type IS NULL AND doc.batch IS NOT NULL THEN 'batch_of_calls' END"
    return f"coalesce({not_json()}, {batch})"


def malformed_parts() -> str:
    """Return SQL of the reason why the properties or the context of a call cannot be read."""
    return f"coalesce({_part_reason('properties')}, {_part_reason('context')})"


def _part_reason(name: str) -> str:
    text = f"doc.{name}"
    return f"""CASE WHEN trim({text}) IN ('', '[]') THEN NULL
      WHEN NOT {is_object(text)} THEN '{name}_unreadable'
      WHEN {twice(f"TRY_CAST({text} AS JSON)")} THEN 'duplicate_key' END"""


def _fields(contract: Contract) -> Mapping[str, str]:
    return {
        "event_id": event_id("doc.messageId"),
        "event_type": _NAME,
        "occurred_at": OCCURRED_AT,
        "received_at": "doc.receivedAt",
        "user_id": USER,
        "session_id": SESSION,
        "item_id": "item_id",
        **product_fields(),
        "device_type": _DEVICE_TYPE,
        "country": _COUNTRY,
        "region": "location.region",
        "referrer": "coalesce(nullif(page.referrer, ''), p.referrer)",
    } | consents_of(contract)


def consents_of(contract: Contract) -> dict[str, str]:
    """Return the SQL of the consent fields of a call; an opt-out in its context goes before the record."""
    consent = Consent.of(contract)
    fields = {name: consent.field(name) for name in consent.names}
    gpc = "coalesce(doc.globalPrivacyControl, c.globalPrivacyControl)"
    return with_opt_outs(fields, gpc, "c.doNotSell")


ADAPTER = Adapter("segment", prepare=_prepare, malformed=_malformed, ignored=_IGNORED, fields=_fields)

"""Segment's product lists as exposures: Product List Viewed and Product Clicked, one row a product.

https://segment.com/docs/connections/spec/ecommerce/v2/

Only calls that name a recommendation are exposures: their properties hold recommendation_id (or list_id) with
policy or model_version, or the id of a list of our service, from which both follow. Other calls are ignored
and counted by name. Shopper, session, time and consent are read as the format `segment` of logs reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from data_contracts.contract import Contract, load_contract
from lastaisle.feedback import origin
from lastaisle.feedback.exposures.shoppers import (
    NO_CONSENT,
    SESSION,
    USER,
    consent_names,
    consent_reasons,
    id_reasons,
    pseudonym_of,
    refuses,
)
from lastaisle.ingest.sources import segment
from lastaisle.ingest.sources.adapter import Adapter, present
from lastaisle.ingest.sources.consent import Consent
from lastaisle.ingest.sources.ecommerce import (
    PRODUCT,
    PRODUCT_REASON,
    PROPERTIES,
    event_id,
    event_type,
    with_products,
)
from lastaisle.lake.tables import RAW_EVENTS

NAME: Final = "segment"
_EVENTS: Final = {
    "shown": ("product list viewed", "viewed product list"),
    "clicked": ("product clicked", "clicked product"),
}
#: The properties that say which recommendation a list or a click belongs to, each under two spellings.
_NAMED: Final = (
    *("recommendation_id", "list_id", "model_version", "policy", "placement", "experiment", "arm"),
    *("propensity", "position"),
)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _read(name: str, place: str = "p") -> str:
    """Return SQL of a property under either spelling, as recommendation_id or recommendationId."""
    spellings = dict.fromkeys((name, _camel(name)))
    return f"coalesce({', '.join(present(f'{place}.{spelled}') for spelled in spellings)})"


_SPELLED: Final = tuple(dict.fromkeys(spelled for name in _NAMED for spelled in (name, _camel(name))))
_OF_PRODUCT: Final = (*PRODUCT, "position", "propensity")
_KIND: Final = f"CASE WHEN doc.type = 'track' THEN {event_type('doc.event', _EVENTS)} END"
_LIST: Final = f"coalesce({_read('recommendation_id')}, {_read('list_id')})"
_VERSION: Final = f"coalesce({_read('model_version')}, {origin.version_sql('list_name')})"
_POLICY: Final = f"coalesce({_read('policy')}, {origin.policy_sql('list_name')})"
_IS_EXPOSURE: Final = f"""(event_type IS NOT NULL AND list_name IS NOT NULL
    AND ({_VERSION} IS NOT NULL OR {_POLICY} IS NOT NULL))"""
_PROPENSITY: Final = f"coalesce({present('product.propensity')}, {_read('propensity')})"
_GIVEN: Final = {name: _read(name) for name in ("model_version", "policy", "experiment", "arm")}
_CONTRADICTS: Final = f"""CASE WHEN {
    origin.says_otherwise_sql("list_name", {**_GIVEN, "propensity": _PROPENSITY})
} THEN 'recommendation_id_says_otherwise' END"""


def adapter() -> Adapter:
    """Return the adapter."""
    return Adapter(NAME, prepare=_prepare, malformed=_malformed, ignored=_ignored(), fields=_fields)


def _prepare(contract: Contract) -> str:
    names = tuple(dict.fromkeys((*PROPERTIES, *_SPELLED)))
    calls = segment.calls(load_contract(RAW_EVENTS), _KIND, names)
    calls = f"SELECT *, {_LIST} AS list_name FROM ({calls})"
    # The products of a call that names no recommendation are no rows of interest.
    kind = f"CASE WHEN {_IS_EXPOSURE} THEN event_type END"
    return with_products(calls, "p", kind, expanded=("shown",), of_product=_OF_PRODUCT)


def _malformed(contract: Contract) -> str:
    """Return the reason why a line is no call, or why an exposure cannot be read."""
    of_exposure = [
        PRODUCT_REASON,
        Consent.of(load_contract(RAW_EVENTS)).unreadable(),
        *consent_reasons(_consents()),
        _CONTRADICTS,
        *id_reasons(USER, segment.USER),
        *id_reasons(SESSION, segment.SESSION),
    ]
    return f"""coalesce({segment.malformed_line()},
    CASE WHEN doc.type IS NULL OR trim(doc.type) = '' THEN 'call_without_type'
      WHEN doc.type = 'track' AND coalesce(trim(doc.event), '') = '' THEN 'track_without_event' END,
    CASE WHEN event_type IS NOT NULL THEN {segment.malformed_parts()} END,
    CASE WHEN {_IS_EXPOSURE} THEN coalesce({", ".join(of_exposure)}) END)"""


def _ignored() -> str:
    refused = f"{refuses(_consents())} OR {origin.refuses_sql('list_name')}"
    return f"""CASE WHEN {_IS_EXPOSURE} THEN CASE WHEN {refused} THEN '{NO_CONSENT}'
        WHEN event_type = 'shown' AND product_text IS NULL AND item_id IS NULL
          THEN 'list without products' END
    WHEN event_type IS NOT NULL THEN 'track: ' || doc.event || ' without a recommendation'
    WHEN doc.type = 'track' THEN 'track: ' || doc.event ELSE doc.type END"""


def _consents() -> list[tuple[str, str]]:
    fields = segment.consents_of(load_contract(RAW_EVENTS))
    return [(name, f"({fields[name]})") for name in consent_names()]


def _fields(contract: Contract) -> Mapping[str, str]:
    place = f"""CASE WHEN product_text IS NULL THEN {_read("position")}
      ELSE coalesce({present("product.position")}, (_sub_row + 1)::VARCHAR) END"""
    listed = f"CASE WHEN {_read('recommendation_id')} IS NOT NULL THEN {_read('list_id')} END"
    return {
        "exposure_id": event_id("doc.messageId"),
        "kind": "event_type",
        "recommendation_id": "list_name",
        "occurred_at": segment.OCCURRED_AT,
        "received_at": "doc.receivedAt",
        "user_id": pseudonym_of(USER, segment.USER),
        "session_id": pseudonym_of(SESSION, segment.SESSION),
        "item_id": "item_id",
        "position": place,
        "placement": f"coalesce({_read('placement')}, {listed}, '{_PLACEMENT}')",
        "model_version": _VERSION,
        "policy": _POLICY,
        "experiment": f"coalesce({_read('experiment')}, {origin.experiment_sql('list_name')})",
        "arm": f"coalesce({_read('arm')}, {origin.arm_sql('list_name')})",
        "propensity": f"coalesce({_PROPENSITY}, {origin.propensity_sql('list_name')})",
        "key_version": "NULL",  # calls hold the shop's own ids, whose pseudonyms the key in use makes
    }


#: The placement of a call that names none, as of feedback that the service gets.
_PLACEMENT: Final = "checkout"

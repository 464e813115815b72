"""The consent of a shopper: read in the forms that people have, and never a yes where it cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.contract import load_contract
from lastaisle.settings import Settings, SettingsError

BOTH, NEITHER, UNREAD, DEFAULT = (True, True), (False, False), "quarantine", (True, True)
CATEGORIES = {"analytics": ["C0002", "Performance"], "personalization": ["C0004", "Targeting"]}

#: The record, and the consents to analytics and to personalization.
RECORDS: dict[str, tuple[Any, Any]] = {
    "both": ({"analytics": True, "personalization": True}, BOTH),
    "one": ({"analytics": True, "personalization": False}, (True, False)),
    "text that holds JSON": ('{"personalization":false}', NEITHER),
    "text that holds text that holds JSON": (json.dumps('{"personalization":true}'), UNREAD),
    "capitals": ({"Analytics": "TRUE", "PERSONALIZATION": "False"}, (True, False)),
    "words": ({"analytics": "granted", "personalization": "denied"}, (True, False)),
    "numbers": ({"analytics": 1, "personalization": 0}, (True, False)),
    "digits as text": ({"analytics": "1", "personalization": "0"}, (True, False)),
    "yes and no": ({"analytics": " Yes ", "personalization": "NO"}, (True, False)),
    "a category that the record does not name": ({"analytics": True}, (True, False)),
    "no value in one category": ({"analytics": True, "personalization": None}, (True, False)),
    "no value at all": ({"analytics": None, "personalization": None}, DEFAULT),
    "no record": (None, DEFAULT),
    "two spellings that disagree": ({"personalization": True, "Personalization": False}, NEITHER),
    "a plain no": (False, NEITHER),
    "a plain no as text": ("Denied", NEITHER),
    "a plain yes to nothing named": (True, UNREAD),
    "a yes as text": ("granted", UNREAD),
    "empty text": ("", UNREAD),
    "empty object": ({}, UNREAD),
    "empty list": ([], UNREAD),
    "a number": (5, UNREAD),
    "text of a consent framework": ("CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", UNREAD),
    "names of another shop": ({"C0001": True, "C0002": False}, UNREAD),
    "a wildcard": ({"*": True}, UNREAD),
    "a value that is no consent": ({"analytics": True, "personalization": "perhaps"}, UNREAD),
    "an empty value": ({"personalization": ""}, UNREAD),
    "a spelling of nothing": ({"personalization": "undefined"}, UNREAD),
    "a nested value": ({"analytics": True, "personalization": {"granted": True}}, UNREAD),
    "a list of what is allowed": (["Analytics"], (True, False)),
    "a list of objects": ([{"name": "analytics"}], UNREAD),
    "a list in Segment's map": ({"categoryPreferences": ["analytics"]}, UNREAD),
    "Segment's map": ({"categoryPreferences": {"Personalization": True}}, (False, True)),
    "Google's consent mode": (
        {"analytics_storage": "granted", "ad_personalization": "denied"},
        (True, False),
    ),
    "allowed and denied": (
        {"allowedConsentIds": ["analytics"], "deniedConsentIds": ["personalization"]},
        (True, False),
    ),
    "allowed and denied at once": (
        {"allowedConsentIds": ["analytics", "personalization"], "deniedConsentIds": ["personalization"]},
        (True, False),
    ),
    "denied in no list": (
        {"allowedConsentIds": ["personalization"], "deniedConsentIds": "analytics"},
        UNREAD,
    ),
    "OneTrust's groups of a shop without names": ({"OnetrustActiveGroups": ",C0001,C0002,"}, UNREAD),
    "a text that names": ("analytics:1,personalization:0", (True, False)),
}
OWN_NAMES: dict[str, tuple[Any, Any]] = {
    "OneTrust's groups": ({"OnetrustActiveGroups": ",C0001,C0002,"}, (True, False)),
    "OneTrust's groups without any of ours": ({"OnetrustActiveGroups": ",C0001,"}, NEITHER),
    "OneTrust's map": ({"C0001": "1", "C0002": "1", "C0004": "0"}, (True, False)),
    "OneTrust's cookie": ("C0001:1,C0002:0,C0004:1", (False, True)),
    "Segment's map": ({"categoryPreferences": {"performance": True, "TARGETING": True}}, BOTH),
    "RudderStack's lists": ({"allowedConsentIds": ["C0002"], "deniedConsentIds": ["C0004"]}, (True, False)),
    "two names of a category that disagree": (
        {"C0002": True, "Performance": False, "C0004": True},
        (False, True),
    ),
    "the contract's names": ({"analytics": True, "personalization": True}, BOTH),
    "names of another shop": ({"C0009": True}, UNREAD),
    "text of a consent framework": ("CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", UNREAD),
}


def consents(shop, names) -> dict[str, Any]:
    """Return the consents of each event by the name that its item has."""
    read = {
        row["item_id"]: (row["consent_analytics"], row["consent_personalization"])
        for row in shop.rows("raw_events")
    }
    return {name: read.get(name, UNREAD) for name in names}


def call(number: int, item: str, context: Any, **changes: Any) -> dict[str, Any]:
    """Return a call of Segment with a context."""
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"m{number}",
        "userId": "u1",
        "timestamp": "2025-01-01T00:00:00.000Z",
        "properties": {"product_id": item},
        "context": context,
    } | changes


@pytest.mark.parametrize("form", ["canonical", "segment", "segment's context as text"])
@pytest.mark.parametrize("records", [RECORDS, OWN_NAMES], ids=["usual names", "names of the shop"])
def test_a_record_is_read_or_quarantined_and_never_a_yes_by_mistake(shop, monkeypatch, form, records):
    if records is OWN_NAMES:
        monkeypatch.setenv("LASTAISLE_CONSENT_CATEGORIES", json.dumps(CATEGORIES))
    lines = []
    for number, (name, (record, _)) in enumerate(records.items()):
        if form == "canonical":
            lines.append(shop.event(number, item_id=name, consent=record))
        else:
            context = {"consent": record}
            lines.append(call(number, name, context if form == "segment" else json.dumps(context)))
    shop.ingest(shop.write(lines), form.split("'")[0])
    assert consents(shop, records) == {name: expected for name, (_, expected) in records.items()}
    assert {rule for rules in shop.rules() for rule in rules} <= {
        "consent_unreadable",
        "consent_personalization_is_boolean",
    }


def test_consent_in_parquet(shop):
    records = ['{"analytics":true,"personalization":false}', None, "", "CPXx", "{}", "denied"]
    events = [shop.event(number, item_id=f"i{number}", consent=None) for number in range(len(records))]
    pq.write_table(
        pa.Table.from_pylist(events).append_column("consent", pa.array(records)), shop.folder / "a.parquet"
    )
    nested = pa.array(
        [{"analytics": True, "personalization": None}, None],
        pa.struct({"analytics": pa.bool_(), "personalization": pa.bool_()}),
    )
    events = [shop.event(number, item_id=f"i{number}", consent=None) for number in (10, 11)]
    pq.write_table(pa.Table.from_pylist(events).append_column("consent", nested), shop.folder / "b.parquet")
    shop.ingest(str(shop.folder / "a.parquet"))
    shop.ingest(str(shop.folder / "b.parquet"))
    assert consents(shop, ("i0", "i1", "i2", "i3", "i4", "i5", "i10", "i11")) == {
        "i0": (True, False),
        "i1": DEFAULT,
        "i2": UNREAD,
        "i3": UNREAD,
        "i4": UNREAD,
        "i5": NEITHER,
        "i10": (True, False),
        "i11": DEFAULT,
    }


def test_a_consent_beside_the_record_counts_where_the_record_is_silent(shop):
    lines = [
        shop.event(1, item_id="silent", consent={"personalization": True}, consent_analytics=True),
        shop.event(2, item_id="refused", consent={"personalization": False}, consent_personalization=True),
        shop.event(3, item_id="alone", consent_personalization="no"),
        shop.event(4, item_id="blank", consent_personalization=""),
        shop.event(5, item_id="odd", consent_personalization=[]),
    ]
    shop.ingest(shop.write(lines))
    assert consents(shop, ("silent", "refused", "alone", "blank", "odd")) == {
        "silent": BOTH,
        "refused": NEITHER,
        "alone": (True, False),
        "blank": UNREAD,
        "odd": UNREAD,
    }


def test_a_record_that_stands_twice_is_no_record(shop):
    line = json.dumps(shop.event(1, consent={"personalization": True}))
    lines = [
        line[:-1] + ',"consent":{"personalization":false}}',
        line.replace('{"personalization": true}', '{"personalization": true, "personalization": false}'),
    ]
    shop.ingest(shop.write(lines))
    assert shop.rows("raw_events") == []
    assert [rules[0] for rules in shop.rules()] == ["duplicate_key", "duplicate_key"]


def test_places_of_the_consent_in_a_call(shop, monkeypatch):
    monkeypatch.setenv("LASTAISLE_CONSENT_CATEGORIES", json.dumps(CATEGORIES))
    management = {"provider": "oneTrust", "allowedConsentIds": ["C0004"], "deniedConsentIds": ["C0002"]}
    contexts = {
        "rudder": {"consentManagement": management},
        "rudder as text": {"consentManagement": json.dumps(management)},
        "onetrust": {"OnetrustActiveGroups": ",C0001,C0002,"},
        "no context": None,
        "empty list of PHP": [],
        "a number": 5,
        "a word": "none",
    }
    shop.ingest(shop.write(call(i, *pair) for i, pair in enumerate(contexts.items())), "segment")
    assert consents(shop, contexts) == {
        "rudder": (False, True),
        "rudder as text": (False, True),
        "onetrust": (True, False),
        "no context": DEFAULT,
        "empty list of PHP": DEFAULT,
        "a number": UNREAD,
        "a word": UNREAD,
    }
    assert shop.rules() == [["context_unreadable"], ["context_unreadable"]]


def test_a_call_of_no_interest_is_ignored_whatever_its_consent_is(shop):
    lines = [call(1, "i", {"consent": {"C1": True}}, type="identify"), call(2, "i", 5, event="Signed Up")]
    report = shop.ingest(shop.write(lines), "segment")
    assert report.ignored_by_reason == {"identify": 1, "track: Signed Up": 1}


def test_another_folder_that_holds_no_object_is_named(shop):
    text = load_contract("raw_events").path.read_text()
    before, after = text.split("- name: brand")
    custom = "customProperties:\n"
    placed = after.replace(
        custom, custom + "          - {property: jsonPath, value: $.shop.label.brand}\n", 1
    )
    path = shop.folder / "raw_events.odcs.yaml"
    path.write_text(f"{before}- name: brand{placed}")
    contract = load_contract(path)
    lines = [
        shop.event(1, shop={"label": {"brand": "b1"}}),
        shop.event(2, shop='{"label": "{\\"brand\\": \\"b2\\"}"}'),
        shop.event(3, shop={"label": "b3"}),
        shop.event(4, shop=[]),
        shop.event(5, brand="b5"),
    ]
    shop.ingest(shop.write(lines), contract=contract)
    assert sorted(row["brand"] for row in shop.rows("raw_events")) == ["b1", "b2", "b5"]
    assert shop.rules() == [["label_unreadable"], ["shop_unreadable"]]


@pytest.mark.parametrize(
    "value", ["{", "[]", '{"analytics": "C1"}', '{"analytics": [1]}', '{"analytics": [""]}']
)
def test_wrong_names_of_categories_are_refused(value):
    with pytest.raises(SettingsError, match="LASTAISLE_CONSENT_CATEGORIES"):
        Settings.from_env({"LASTAISLE_CONSENT_CATEGORIES": value})

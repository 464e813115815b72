"""Global Privacy Control and Do Not Sell refuse purposes, whatever the record of consent says."""

from __future__ import annotations

import json

import pytest

from data_contracts.contract import load_contract
from lastaisle.settings import SettingsError
from tests.ingest.test_consent import call

YES = {"analytics": True, "personalization": True, "sale": True}
#: analytics, personalization, sale
ALL, NO_SALE, GPC = (True, True, True), (True, True, False), (True, False, False)


def consents(shop):
    names = ("consent_analytics", "consent_personalization", "consent_sale")
    return {row["item_id"]: tuple(row[name] for name in names) for row in shop.rows("raw_events")}


#: The fields on the top level of a line, and the consents.
LINES = {
    "nothing": ({}, ALL),
    "gpc": ({"gpc": True}, GPC),
    "gpc as a number": ({"gpc": 1}, GPC),
    "gpc as a text": ({"gpc": "true"}, GPC),
    "no gpc": ({"gpc": False}, ALL),
    "gpc that is no word for yes or no": ({"gpc": "perhaps"}, GPC),
    "do not sell": ({"do_not_sell": True}, NO_SALE),
    "sell": ({"do_not_sell": "no"}, ALL),
    "both": ({"gpc": True, "do_not_sell": True}, GPC),
    "gpc beside a record": ({"gpc": True, "consent": YES}, GPC),
    "a record of all": ({"consent": YES}, ALL),
    "a record without the sale": ({"consent": {"analytics": True, "personalization": True}}, NO_SALE),
    "a record that refuses the sale": ({"consent": {**YES, "sale": False}}, NO_SALE),
    "a column": ({"consent_sale": False}, NO_SALE),
    "a column beside a record": (
        {"consent": {"analytics": True, "personalization": True}, "consent_sale": True},
        ALL,
    ),
}


def test_an_opt_out_of_a_line_refuses_and_no_other_value_grants(shop):
    lines = [
        shop.event(number, item_id=name, **fields) for number, (name, (fields, _)) in enumerate(LINES.items())
    ]
    shop.ingest(shop.write(lines), "canonical")
    assert consents(shop) == {name: expected for name, (_, expected) in LINES.items()}
    assert shop.rules() == []


@pytest.mark.parametrize("as_text", [False, True])
def test_an_opt_out_of_a_call_refuses(shop, as_text):
    contexts = {
        "nothing": ({}, ALL),
        "gpc": ({"globalPrivacyControl": True}, GPC),
        "do not sell": ({"doNotSell": True}, NO_SALE),
        "gpc beside a record": ({"globalPrivacyControl": True, "consent": {"categoryPreferences": YES}}, GPC),
        "Segment's map": ({"consent": {"categoryPreferences": {**YES, "sale": False}}}, NO_SALE),
    }
    calls = [
        call(number, name, json.dumps(context) if as_text else context)
        for number, (name, (context, _)) in enumerate(contexts.items())
    ]
    of_collector = call(99, "of the collector", json.dumps({"consent": YES}), globalPrivacyControl=True)
    shop.ingest(shop.write([*calls, of_collector]), "segment")
    expected = {name: given for name, (_, given) in contexts.items()}
    assert consents(shop) == expected | {"of the collector": GPC}


def test_the_setting_says_what_global_privacy_control_refuses(shop, monkeypatch):
    monkeypatch.setenv("LASTAISLE_GPC_REFUSES", "sale")
    shop.ingest(shop.write([shop.event(1, item_id="a", gpc=True)]), "canonical")
    monkeypatch.setenv("LASTAISLE_GPC_REFUSES", "sale, analytics, personalization")
    shop.ingest(shop.write([shop.event(2, item_id="b", gpc=True)], "second.jsonl"), "canonical")
    assert consents(shop) == {"a": NO_SALE, "b": (False, False, False)}


@pytest.mark.parametrize("value", ["personalization", "sale,ads", "", "sale,,"])
def test_a_setting_that_would_allow_the_sale_is_refused(shop, monkeypatch, value):
    from lastaisle.settings import Settings

    monkeypatch.setenv("LASTAISLE_GPC_REFUSES", value)
    if not value:
        assert Settings.from_env().privacy.refused_by_gpc == {"sale", "personalization"}
        return
    with pytest.raises(SettingsError, match="LASTAISLE_GPC_REFUSES"):
        Settings.from_env()


def test_events_keep_the_choice_about_the_sale(shop):
    shop.ingest(
        shop.write([shop.event(1, item_id="a", do_not_sell=True), shop.event(2, item_id="b")]), "canonical"
    )
    assert {row["item_id"]: row["consent_sale"] for row in shop.rows("events")} == {"a": False, "b": True}
    assert load_contract("events").field("consent_sale").logical_type == "boolean"

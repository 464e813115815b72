"""Raw ids of shoppers become the pseudonyms of their events, and shoppers without consent are left out."""

from __future__ import annotations

import pytest

from lastaisle.ingest.run import ingest
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import KeyFileError

from .conftest import NOW, SESSION, USER, feedback, row, seen


def test_the_pseudonyms_are_those_of_the_events_of_the_same_shopper(shown):
    event = {
        "event_id": "1",
        "event_type": "item_viewed",
        "occurred_at": "2025-10-09T12:00:00Z",
        "user_id": " anna ",
        "session_id": "visit 1",
        "item_id": "item-1",
    }
    ingest(shown.write([event], "log.jsonl"), "canonical", shown.lake, shown.keys, now=NOW)
    (known,) = shown.rows("events")
    shown.take(row(1), form="exposures", name="rows.jsonl")
    shown.take(
        seen({"product_id": "i"}, recommendation_id="l", policy="p", model_version=1),
        form="segment",
        name="calls.jsonl",
    )
    key = key_of_lake(shown.lake, shown.keys, shown.lake.version("events"))
    made = feedback(9, user_id=key.pseudonym("user_id", "anna"), session_id=known["session_id"])
    shown.take(made, name="feedback.jsonl")
    assert {(one["user_id"], one["session_id"]) for one in shown.rows()} == {
        (known["user_id"], known["session_id"])
    }


def test_a_pseudonym_beside_an_id_must_be_its_own(shown):
    made = key_of_lake(shown.lake, shown.keys, None).pseudonym("user_id", "anna")
    report = shown.take(
        row(1, pseudonym=made),
        row(2, pseudonym=USER),
        row(3, user_id=None, pseudonym=USER, session_id=None, session_pseudonym=SESSION),
        row(4, user_id=None, pseudonym="anna"),
        row(5, user_id=None, session_id=None),
        form="exposures",
    )
    assert report.quarantined_by_rule == {"user_id_differs": 1, "user_id_matches_pattern": 1}
    rows = {one["item_id"]: (one["user_id"], one["session_id"]) for one in shown.rows()}
    assert rows["item-1"][0] == made
    assert rows["item-3"] == (USER, SESSION)
    assert rows["item-5"] == (None, None)


@pytest.mark.parametrize("form", ["exposures", "segment"])
def test_ids_that_events_would_refuse_are_quarantined_by_the_same_rules(shown, form):
    bad = {"[1]": "user_id_is_string", "1e+20": "user_id_is_string", "a\tb": "user_id_matches_pattern"}
    bad["x" * 201] = "user_id_has_length"
    lines = [
        row(number, user_id=text)
        if form == "exposures"
        else seen({"id": "i"}, list_id="l", policy="p", model_version="1")
        | {"messageId": f"m{number}", "userId": text}
        for number, text in enumerate(bad, 1)
    ]
    report = shown.take(*lines, form=form, options=shown.options)
    assert shown.rules() == [[rule] for rule in bad.values()]
    assert report.rows_clean == 0


def test_spellings_of_nothing_are_no_shopper(shown):
    shown.take(row(1, user_id="undefined", session_id="null"), row(2, user_id=""), form="exposures")
    assert [(one["user_id"], one["session_id"] is None) for one in shown.rows()] == [
        (None, True),
        (None, False),
    ]


def test_no_raw_id_stands_in_any_table_beyond_the_payloads_of_quarantine(shown):
    shown.take(row(1), row(2, position=None), row(1, item_id="other"), form="exposures", name="a.jsonl")
    shown.take(
        seen({"id": "i1"}, {"no": "id"}, recommendation_id="l", policy="p", model_version="1"),
        form="segment",
        name="b.jsonl",
    )
    assert len(shown.rows("quarantine")) == 3
    for name in ("exposures", "exposure_batches", "files", "quarantine"):
        for one in shown.rows(name):
            one.pop("payload", None)
            assert "anna" not in repr(one)
            assert "visit 1" not in repr(one)


@pytest.mark.parametrize("form", ["exposures", "segment"])
def test_the_shops_own_ids_need_a_key(shown, form):
    with pytest.raises(KeyFileError, match=f"the format {form} holds the shop's own ids"):
        shown.take(row(1), form=form, keys=None)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({}, "clean"),
        ({"consent": True}, "clean"),
        ({"consent": "denied"}, "no_consent"),
        ({"consent_personalization": 0}, "no_consent"),
        ({"consent_analytics": "no", "consent": "yes"}, "no_consent"),
        ({"consent": "no", "consent_analytics": "yes", "consent_personalization": "yes"}, "no_consent"),
        ({"consent_personalization": None}, "clean"),
        ({"consent": "perhaps"}, "consent_analytics_is_boolean"),
    ],
)
def test_consent_in_tables(shown, given, outcome):
    report = shown.take(row(1) | given, form="exposures")
    found = {"clean": report.rows_clean, **report.ignored_by_reason, **report.quarantined_by_rule}
    assert found[outcome] == 1


@pytest.mark.parametrize(
    ("context", "outcome"),
    [
        ({}, "clean"),
        ({"consent": {"categoryPreferences": {"analytics": True, "personalization": True}}}, "clean"),
        ({"consent": {"categoryPreferences": {"analytics": True, "personalization": False}}}, "no_consent"),
        ({"consent": {"analytics": "denied", "personalization": "granted"}}, "no_consent"),
        ({"consent": "denied"}, "no_consent"),
        ({"consent": {"marketing": True}}, "consent_unreadable"),
        (
            {"consent": {"analytics": True, "personalization": "perhaps"}},
            "consent_personalization_is_boolean",
        ),
    ],
)
def test_consent_in_calls(shown, context, outcome):
    call = seen({"id": "i"}, recommendation_id="l", policy="p", model_version="1") | {"context": context}
    report = shown.take(call, form="segment")
    found = {"clean": report.rows_clean, **report.ignored_by_reason, **report.quarantined_by_rule}
    assert found[outcome] == 1

"""Feedback is durable, holds pseudonyms only, and is named as the contract of exposures names it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from data_contracts.contract import load_contract
from lastaisle.web.refusal import StorageError
from tests.serve.toys import LAKE_KEY, ToySink

PATH = "/v1/feedback"
SHOWN = {"kind": "shown", "items": ["i2", 3], "session_id": "visit 1", "user_id": "anna", "placement": "cart"}


def rows(service):
    return [json.loads(line) for line in service.service.sink.lines]


def test_a_shown_list_is_a_row_for_each_item(service):
    listed = service.ask("i1")["recommendation_id"]
    reply = service.post(PATH, json={**SHOWN, "recommendation_id": listed, "at": "2025-10-09T14:00:00+02:00"})
    assert (reply.status_code, reply.json()) == (200, {"stored": 2})
    first, second = rows(service)
    assert (first["item_id"], first["position"], second["item_id"], second["position"]) == ("i2", 1, "3", 2)
    assert first["exposure_id"] != second["exposure_id"]
    for row in (first, second):
        assert row["user_id"] == LAKE_KEY.pseudonym("user_id", "anna")
        assert row["session_id"] == LAKE_KEY.pseudonym("session_id", "visit 1")
        assert (row["model_version"], row["policy"], row["propensity"]) == ("7", "model", 1.0)
        assert (row["kind"], row["placement"]) == ("shown", "cart")
        assert (row["recommendation_id"], row["occurred_at"]) == (listed, "2025-10-09T12:00:00.000Z")
        assert datetime.fromisoformat(row["received_at"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert b"anna" not in b"".join(service.service.sink.lines)
    assert b"visit 1" not in b"".join(service.service.sink.lines)


def test_a_row_has_the_fields_of_the_contract_of_exposures(service):
    listed = service.ask("i1")["recommendation_id"]
    service.post(PATH, json={**SHOWN, "recommendation_id": listed})
    assert {field.name for field in load_contract("exposures").fields} <= set(rows(service)[0])


def test_a_row_names_the_key_of_the_pseudonyms_that_the_service_made(service):
    listed = service.ask("i1")["recommendation_id"]
    given = {"kind": "clicked", "items": ["i2"], "recommendation_id": listed}
    theirs = {"pseudonym": "a" * 32, "session_pseudonym": "b" * 32}
    mixed = {"user_id": "anna", "session_pseudonym": "b" * 32}
    for shopper in ({"user_id": "anna"}, {"session_id": "v"}, mixed, theirs, {}):
        assert service.post(PATH, json=given | shopper).status_code == 200
    assert [row["key_version"] for row in rows(service)] == [LAKE_KEY.version] * 3 + [None] * 2


def test_a_click_has_its_position_only_if_it_is_given(service):
    listed = service.ask("i1")["recommendation_id"]
    service.post(PATH, json={"recommendation_id": listed, "kind": "clicked", "items": ["i2"]})
    service.post(PATH, json={"recommendation_id": listed, "kind": "added", "items": ["i2"], "positions": [4]})
    assert [row["position"] for row in rows(service)] == [None, 4]
    assert [row["session_id"] for row in rows(service)] == [None, None]


def test_the_same_feedback_has_the_same_ids_and_another_kind_has_others(service):
    listed = service.ask("i1")["recommendation_id"]
    for kind in ("shown", "shown", "clicked"):
        service.post(PATH, json={"recommendation_id": listed, "kind": kind, "items": ["i2"]})
    first, again, clicked = [row["exposure_id"] for row in rows(service)]
    assert first == again != clicked


def test_a_list_of_feedback_is_stored_together(service):
    listed = service.ask("i1")["recommendation_id"]
    one = {"recommendation_id": listed, "kind": "bought", "items": ["i2"]}
    assert service.post(PATH, json=[one, {**one, "items": ["i3", "i4"]}]).json() == {"stored": 3}
    assert service.metric('lastaisle_serve_feedback_total{kind="bought",stored="yes"}') == 3


def test_without_consent_feedback_is_counted_and_not_stored(service):
    listed = service.ask("i1")["recommendation_id"]
    unasked = service.ask("i1", consent=False)["recommendation_id"]
    refused = service.post(PATH, json={**SHOWN, "recommendation_id": listed, "consent": False})
    anonymous = service.post(PATH, json={**SHOWN, "recommendation_id": unasked})
    assert (refused.json(), anonymous.json()) == ({"stored": 0}, {"stored": 0})
    assert rows(service) == []
    assert service.metric('lastaisle_serve_feedback_total{kind="shown",stored="no"}') == 4


def test_a_list_of_another_service_names_its_version_and_policy(service):
    one = {"recommendation_id": "made elsewhere", "kind": "shown", "items": ["i2"]}
    assert "version" in service.post(PATH, json=one).json()["message"]
    assert service.post(PATH, json={**one, "version": "3", "policy": "thompson"}).json() == {"stored": 1}
    row = rows(service)[0]
    assert (row["model_version"], row["policy"], row["propensity"]) == ("3", "thompson", None)


def test_a_list_of_another_service_may_name_the_propensity_of_each_item(service):
    made = {"recommendation_id": "made elsewhere", "version": "3", "policy": "thompson"}
    shown = {**made, "kind": "shown", "items": ["i2", "i3"], "propensities": [0.25, 1]}
    assert service.post(PATH, json=shown).json() == {"stored": 2}
    assert [(row["item_id"], row["propensity"]) for row in rows(service)] == [("i2", 0.25), ("i3", 1.0)]


def test_feedback_names_the_experiment_and_the_arm_of_the_list(service):
    listed = service.ask("i1", policy="popular")["recommendation_id"]
    arm = {"experiment": "demo", "arm": "popular"}
    for kind in ("shown", "clicked", "added", "bought"):
        service.post(PATH, json={"recommendation_id": listed, "kind": kind, "items": ["i2"], **arm})
    service.post(PATH, json={"recommendation_id": listed, "kind": "shown", "items": ["i3"]})
    found = [(row["experiment"], row["arm"], row["policy"]) for row in rows(service)]
    assert found == [("demo", "popular", "popular")] * 4 + [(None, None, "popular")]


def test_the_same_feedback_of_an_experiment_has_the_same_ids(service):
    listed = service.ask("i1")["recommendation_id"]
    one = {
        "recommendation_id": listed,
        "kind": "shown",
        "items": ["i2"],
        "experiment": "demo",
        "arm": "model",
    }
    service.post(PATH, json=[one, one])
    first, again = rows(service)
    assert first["exposure_id"] == again["exposure_id"]


def test_what_is_not_durable_is_not_acknowledged(make_service):
    sink = ToySink()
    service = make_service(sink=sink)
    listed = service.ask("i1")["recommendation_id"]
    sink.refuse = StorageError("the disk is full")
    reply = service.post(PATH, json={"recommendation_id": listed, "kind": "shown", "items": ["i2"]})
    assert (reply.status_code, reply.json()["code"]) == (503, "storage")
    assert int(reply.headers["retry-after"]) > 0
    assert service.metric('lastaisle_serve_feedback_total{kind="shown",stored="yes"}') == 0
    assert service.ids("i1", k=1) == ["i2"]


ID = "7-m-0123456789abcdef01234567"
GOOD = {"recommendation_id": ID, "kind": "shown", "items": ["i2"]}
OTHER = {**GOOD, "recommendation_id": "made elsewhere", "version": "3", "policy": "thompson"}
ARM = {"experiment": "demo", "arm": "model"}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
WRONG = {
    "no id": ({"kind": "shown", "items": ["i2"]}, "recommendation_id"),
    "an unknown kind": ({**GOOD, "kind": "seen"}, "$.kind"),
    "no items": ({**GOOD, "items": []}, "$.items"),
    "an empty item": ({**GOOD, "items": [""]}, "$.items"),
    "an item of null": ({**GOOD, "items": [None]}, "$.items"),
    "an item that spells nothing": ({**GOOD, "items": ["i2", "undefined"]}, "items[1] is no id"),
    "an item of blanks": ({**GOOD, "items": [" \u00a0"]}, "items[0] is no id"),
    "a shopper that spells nothing": ({**GOOD, "user_id": "null"}, "user_id is no id"),
    "a visit that spells nothing": ({**GOOD, "session_id": " Undefined "}, "session_id is no id"),
    "an item of 201 digits": ({**GOOD, "items": [10**200]}, "items[0] is no id"),
    "an item that is a truth value": ({**GOOD, "items": ["True"]}, "items[0] is no id"),
    "a rounded item": ({**GOOD, "items": ["2.1e+08"]}, "items[0] is no id"),
    "an item that is an object": ({**GOOD, "items": ['{"id": 1}']}, "items[0] is no id"),
    "a list that spells nothing": ({**OTHER, "recommendation_id": "undefined"}, "recommendation_id is no id"),
    "a placement that spells nothing": ({**GOOD, "placement": "undefined"}, "placement is no name"),
    "a version that spells nothing": ({**OTHER, "version": "null"}, "version is no id"),
    "a policy that spells nothing": ({**OTHER, "policy": " "}, "policy is no name"),
    "an experiment that spells nothing": ({**GOOD, **ARM, "experiment": "NaN"}, "experiment is no name"),
    "an arm that spells nothing": ({**GOOD, **ARM, "arm": "undefined"}, "arm is no name"),
    "an empty arm": ({**GOOD, **ARM, "arm": ""}, "$.arm"),
    "an arm that is no text": ({**GOOD, **ARM, "arm": 1}, "$.arm"),
    "an arm with a line feed": ({**GOOD, **ARM, "arm": "model\n"}, "$.arm"),
    "a long experiment": ({**GOOD, **ARM, "experiment": "x" * 101}, "$.experiment"),
    "an arm of no experiment": ({**GOOD, "arm": "model"}, "experiment and arm together"),
    "an experiment without an arm": ({**GOOD, "experiment": "demo"}, "experiment and arm together"),
    "propensities of a list of the service": ({**GOOD, "propensities": [1]}, "give propensities for other"),
    "fewer propensities": ({**OTHER, "items": ["a", "b"], "propensities": [0.5]}, "propensities to hold one"),
    "propensity 0": ({**OTHER, "propensities": [0]}, "$.propensities"),
    "a propensity over 1": ({**OTHER, "propensities": [1.01]}, "$.propensities"),
    "a propensity of null": ({**OTHER, "propensities": [None]}, "$.propensities"),
    "no propensities": ({**OTHER, "propensities": []}, "$.propensities"),
    "an unknown field": ({**GOOD, "item": "i2"}, "item"),
    "fewer positions": (
        {**GOOD, "items": ["a", "b"], "positions": [1]},
        "positions to hold one value per item",
    ),
    "position 0": ({**GOOD, "positions": [0]}, "$.positions"),
    "a time of tomorrow": ({**GOOD, "at": TOMORROW}, "at should be"),
    "a time of long ago": ({**GOOD, "at": "1999-12-31T23:59:59Z"}, "at should be"),
    "a time without a zone": ({**GOOD, "at": "2025-10-09T12:00:00"}, "$.at"),
    "no time": ({**GOOD, "at": "yesterday"}, "$.at"),
    "another version": ({**GOOD, "version": "8"}, "version"),
    "another policy": ({**GOOD, "policy": "popular"}, "policy"),
    "two shoppers": ({**GOOD, "user_id": "a", "pseudonym": "0" * 32}, "user_id or pseudonym"),
    "two visits": ({**GOOD, "session_id": "a", "session_pseudonym": "0" * 32}, "session_id"),
    "a raw pseudonym": ({**GOOD, "pseudonym": "anna"}, "$.pseudonym"),
    "one wrong of two": ([GOOD, {**GOOD, "at": TOMORROW}], "$[1]"),
    "an empty list": ([], "array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_refused_by_its_name_and_nothing_is_stored(service, name):
    body, named = WRONG[name]
    reply = service.post(PATH, json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, "wrong_value"), reply.text
    assert named in reply.json()["message"]
    assert rows(service) == []


def test_a_request_of_too_many_items_is_refused(service):
    many = [{**GOOD, "items": ["i"] * 1000}] * 11
    reply = service.post(PATH, json=many)
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")
    assert rows(service) == []


def test_without_a_key_raw_ids_are_refused_and_nothing_is_stored(make_service):
    service = make_service(key=None)
    reply = service.post(PATH, json=[GOOD, {**GOOD, "session_id": "visit 1"}])
    assert (reply.status_code, reply.json()["code"]) == (503, "no_pseudonym_key")
    assert "visit" not in reply.text
    assert rows(service) == []
    assert service.post(PATH, json={**GOOD, "session_pseudonym": "0" * 32}).json() == {"stored": 1}


IN_TRIAL = f"7-m-{'a' * 24}~demo~new~0.25"


def test_the_id_of_a_list_of_a_trial_gives_feedback_its_experiment_arm_and_propensity(service):
    given = {"recommendation_id": IN_TRIAL, "kind": "shown", "items": ["i2"]}
    for said in ({}, {"experiment": "demo", "arm": "new"}):
        assert service.post(PATH, json=given | said).status_code == 200
    found = [
        (row["experiment"], row["arm"], row["propensity"], row["model_version"]) for row in rows(service)
    ]
    assert found == [("demo", "new", 0.25, "7")] * 2


@pytest.mark.parametrize(
    "said", [{"experiment": "demo", "arm": "control"}, {"experiment": "other", "arm": "new"}]
)
def test_feedback_that_contradicts_the_trial_of_its_list_is_refused(service, said):
    reply = service.post(
        PATH, json={"recommendation_id": IN_TRIAL, "kind": "clicked", "items": ["i2"], **said}
    )
    assert reply.status_code == 422
    assert "'demo'" in reply.json()["message"]
    assert "'new'" in reply.json()["message"]
    assert rows(service) == []


def test_the_arm_of_a_list_is_known_where_chance_gave_a_rule_a_slot(service):
    listed = f"7-r-{'a' * 24}~demo~new~0.25"
    service.post(PATH, json={"recommendation_id": listed, "kind": "shown", "items": ["i2"]})
    assert [(row["experiment"], row["arm"], row["propensity"]) for row in rows(service)] == [
        ("demo", "new", None)
    ]

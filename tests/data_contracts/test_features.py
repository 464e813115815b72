"""The context features: listed once, in the contract of `events`."""

import subprocess
import sys

import pytest

from data_contracts import ContractError, Feature, context_features, load_contract
from data_contracts.compatibility import compare

LIST = "- {of: event, name: dwell_ms, kind: number}"
USER = "- {of: session, name: user, column: user_id, kind: category}"


def test_the_features_of_each_subject_in_the_order_of_the_contract():
    names = {
        subject: [feature.name for feature in context_features(subject)]
        for subject in ("session", "event", "item")
    }
    assert names == {
        "session": ["user", "device_type", "country", "region", "started_at"],
        "event": ["event_type", "dwell_ms", "price"],
        "item": ["category", "brand", "price"],
    }
    assert context_features() == load_contract("events").features


def test_a_feature_names_its_column_and_its_type():
    user, *_, started_at = context_features("session")
    assert user == Feature("session", "user", "user_id", "category", "VARCHAR", required=False)
    assert started_at == Feature("session", "started_at", "occurred_at", "time", "TIMESTAMPTZ", required=True)


def test_a_contract_without_the_list_has_no_features():
    assert load_contract("raw_events").features == ()


def test_reading_the_features_imports_no_duckdb():
    code = (
        "import sys; from data_contracts import context_features; context_features();"
        " assert 'duckdb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


WRONG = {
    "an unknown subject": (LIST, "- {of: shop, name: dwell_ms, kind: number}", "of should be one of session"),
    "an unknown kind": (LIST, "- {of: event, name: dwell_ms, kind: [number]}", "kind should be one of"),
    "an unknown key": (LIST, "- {of: event, name: dwell_ms, kind: number, scale: log}", "received {'of'"),
    "no kind": (LIST, "- {of: event, name: dwell_ms}", "a feature has of, name, kind"),
    "a column that is no field": (USER, USER.replace("user_id", "visitor"), "no field is called 'visitor'"),
    "a kind that the type cannot be": (LIST, LIST.replace("number", "time"), "is read from a timestamp"),
    "a name that is none": (LIST, LIST.replace("dwell_ms", "'a, b'"), "lower_snake_case, received 'a, b'"),
    "a name of a value that events have": (
        LIST,
        LIST.replace("name: dwell_ms", "name: added, column: dwell_ms"),
        "the pipeline gives events a value 'added'",
    ),
    "the same feature twice": (LIST, f"{LIST}\n      {LIST}", "'dwell_ms' of event stands twice"),
}


@pytest.mark.parametrize(("old", "new", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_refused_with_its_place_and_the_reason(edited, old, new, reason):
    with pytest.raises(ContractError) as caught:
        load_contract(edited(old, new, contract="events"))
    assert caught.value.where == "customProperties.features"
    assert reason in caught.value.reason


CHANGES = {
    "feature added": (LIST, f"{LIST}\n      - {{of: event, name: quantity, kind: number}}", "addition"),
    "feature removed": (LIST, "", "breaking"),
    "feature changed": (USER, USER.replace("user_id", "session_id"), "breaking"),
}


@pytest.mark.parametrize(("what", "change"), CHANGES.items(), ids=CHANGES)
def test_a_changed_list_of_features_needs_another_version(edited, what, change):
    old, new, level = change
    comparison = compare(load_contract("events"), load_contract(edited(old, new, contract="events")))
    assert [(found.what, found.level) for found in comparison.changes] == [(what, level)]
    assert comparison.version_problem

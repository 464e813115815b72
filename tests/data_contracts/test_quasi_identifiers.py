"""A contract names its quasi-identifiers and scans; wrong ones are refused, weaker ones break privacy."""

from __future__ import annotations

import pytest

from data_contracts.compatibility import compare
from data_contracts.contract import load_contract
from data_contracts.errors import ContractError

STEPS = "        - [device_type, country]\n        - [device_type]\n"
WRONG = {
    "another unit": ("{occurred_at: hour}", "{occurred_at: week}", "minute, hour, day"),
    "no time": ("{occurred_at: hour}", "{region: hour}", "should be a timestamp"),
    "an unknown field": ("[device_type, country, region]", "[device_type, country, city]", "'city'"),
    "a step that keeps as much": (STEPS, "        - [device_type, country, region]\n", "keep fewer"),
    "a step that keeps another field": (STEPS, "        - [brand]\n", "keep fewer"),
    "no step": (f"        - [device_type, country, region]\n{STEPS}", "        []\n", "list of lists"),
    "a step of numbers": ("[device_type]", "[1]", "list of lists"),
    "a pseudonym": (
        "[device_type, country, region]",
        "[device_type, country, user_id]",
        "cannot be left out",
    ),
    "another key": ("      within:", "      among: x\n      within:", "within and steps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_quasi_identifiers_are_refused_with_their_place(edited, case):
    old, new, reason = WRONG[case]
    with pytest.raises(ContractError, match=reason) as refused:
        load_contract(edited(old, new))
    assert refused.value.where == "customProperties.quasiIdentifiers"


def test_the_last_step_of_each_column():
    quasi = load_contract("raw_events").quasi_identifiers
    assert quasi is not None
    assert [quasi.last_step(name) for name in quasi.columns] == [2, 1, 0]


def test_other_quasi_identifiers_break_privacy_and_new_ones_do_not(edited):
    packaged, fewer = load_contract("raw_events"), load_contract(edited(STEPS, ""))
    (found,) = compare(packaged, fewer).changes
    assert (found.level, tuple(found.breaks)) == ("breaking", ("privacy",))
    assert compare(load_contract("items"), load_contract("items")).changes == ()


SCAN = "          - {property: unreadable, value: drop}\n\n      - name: brand"


@pytest.mark.parametrize(
    ("scan", "level"), [("text", None), ("identifier", "breaking"), ("none", "breaking")]
)
def test_a_scan_for_fewer_kinds_breaks_privacy(edited, scan, level):
    new = SCAN.replace("\n\n", f"\n          - {{property: scan, value: {scan}}}\n\n")
    changed = load_contract(edited(SCAN, new))
    assert changed.field("category").scan == scan
    assert compare(load_contract("raw_events"), changed).level == level


@pytest.mark.parametrize(("field", "scan"), [("- name: brand", "everything"), ("- name: quantity", "text")])
def test_an_unknown_scan_and_a_scan_of_numbers_are_refused(edited, field, scan):
    own = f"{field}\n        customProperties: [{{property: scan, value: {scan}}}]"
    if field == "- name: brand":
        path = edited(SCAN, SCAN.replace("\n\n", f"\n          - {{property: scan, value: {scan}}}\n\n"))
    else:
        path = edited(field, own)
    with pytest.raises(ContractError, match=r"customProperties\.scan"):
        load_contract(path)

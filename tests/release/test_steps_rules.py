"""The file of release rules: its defaults, and the line of each mistake."""

from pathlib import Path

import pytest

from lastaisle.registry.ledger import Standing
from lastaisle.release.gate import Check, Decision, GateRules
from lastaisle.release.steps.enter import first_move
from lastaisle.release.steps.rules import ReleaseRules, ReleaseRulesError, release_rules
from lastaisle.settings import Settings
from lastaisle.yaml_model import json_schema

PASSED = Decision(True, (Check("rule", True, "It is good."),))


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "release.yaml"
        path.write_text(text, encoding="utf-8")
        return release_rules(Settings.of(home=tmp_path, release_rules=str(path)))

    return read


def test_without_a_file_there_are_no_steps(tmp_path):
    rules = release_rules(Settings.of(home=tmp_path))
    assert rules == ReleaseRules()
    assert rules.first == "champion"
    assert rules.guardrails.roll_back


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: {shado: {}}", "line 1: steps.shado: there is no such key; do you mean shadow?"),
        ("steps:\n  canary: {share: 0.7}", "line 2: steps.canary.share: .*less than or equal to 0.5"),
        ("steps:\n  canary: {min_hours: 9, max_hours: 2}", "line 2: .*min_hours 9 is more than max_hours 2"),
        (
            "steps:\n  shadow:\n    online:\n    - {metric: errorz, at_most: 1}",
            "line 4: .*no metric 'errorz'; do you mean errors",
        ),
        ("steps:\n  shadow: {online: [{metric: errors}]}", "should hold either at_most or at_least"),
        (
            "steps:\n  shadow: {online: [{metric: conversion, at_most: 1}]}",
            "there is no metric 'conversion'; the metrics are errors",
        ),
        ("steps: {canary: {online: [{metric: conversion, at_most: 1}]}}", "should hold worse_by_at_most"),
        ("steps: {canary: {online: [{metric: errors, worse_by_at_most: 1}]}}", "either at_most or at_least"),
        ("guardrails: {measures: [ctr, ctr]}", "'ctr' stands twice"),
        ("guardrails: {measures: [clicks]}", "there is no measure 'clicks'"),
        ("guardrails: {smallest_drop: nan}", "line 1: guardrails.smallest_drop"),
        ("guardrails: {roll_back: perhaps}", "line 1: guardrails.roll_back"),
        ("steps: {champion: {offline: {margin: -1}}}", "steps.champion.offline.margin"),
        ("[1, 2]", "should hold the keys steps and guardrails"),
        ("steps: {shadow: {}\n", "line"),
    ],
)
def test_a_mistake_is_named_with_its_line(read, text, said):
    with pytest.raises(ReleaseRulesError, match=said):
        read(text)


def test_a_missing_file_is_named(tmp_path):
    settings = Settings.of(home=tmp_path, release_rules=str(tmp_path / "none.yaml"))
    with pytest.raises(ReleaseRulesError, match=r"none\.yaml: file: cannot be read"):
        release_rules(settings)


def test_the_gate_asks_what_the_first_step_asks_of_the_evaluation(read):
    text = "steps: {canary: {offline: {margin: 0.5}}, champion: {offline: {min_targets: 9}}}"
    rules, gate = read(text), GateRules(min_targets=200, margin=0.02)
    assert (rules.gate(gate).margin, rules.gate(gate).min_targets) == (0.5, 200)
    assert (rules.gate(gate, "champion").margin, rules.gate(gate, "champion").min_targets) == (0.02, 9)


BOTH = "steps: {shadow: {share: 0.5}, canary: {share: 0.2}}"
CANARY = "steps: {canary: {share: 0.2}}"


@pytest.mark.parametrize(
    ("text", "present", "action", "alias", "holder", "share"),
    [
        (BOTH, Standing(), "promote", "champion", None, None),  # nobody to be compared with
        (BOTH, Standing(champions=("1",)), "shadow", "shadow", None, 0.5),
        (BOTH, Standing(champions=("1",), shadow="2"), "shadow", "shadow", "2", 0.5),  # takes its place
        (BOTH, Standing(champions=("1",), canary="2"), "shadow", "shadow", None, 0.5),
        (CANARY, Standing(champions=("1",)), "canary", "canary", None, 0.2),
        (CANARY, Standing(champions=("1",), canary="2"), "shadow", "shadow", None, None),  # it waits
        (CANARY, Standing(champions=("1",), canary="2", shadow="3"), "shadow", "shadow", "3", None),
        (CANARY, Standing(champions=("1",), shadow="3"), "shadow", "shadow", "3", None),
        ("{}", Standing(champions=("1",)), "promote", "champion", "1", None),
    ],
)
def test_the_first_step_of_a_candidate(read, text, present, action, alias, holder, share):
    entry = first_move(PASSED, read(text), present)
    assert (entry.action, entry.alias, entry.from_version) == (action, alias, holder)
    assert next((check.value for check in entry.decision.checks if check.name == "share"), None) == share


def test_a_refused_candidate_takes_no_step(read):
    refused = Decision(False, (Check("rule", False, "It is bad."),))
    entry = first_move(refused, read(BOTH), Standing(champions=("1",)))
    assert (entry.action, entry.alias, entry.from_version) == ("refuse", "champion", "1")


def test_the_json_schema_on_the_page_is_that_of_the_code():
    page = Path(__file__).parents[2] / "docs" / "release.schema.json"
    assert page.read_text(encoding="utf-8") == json_schema(ReleaseRules)

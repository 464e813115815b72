"""Definitions: what they say, and that every error names its line and the closest name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from lastaisle.errors import ExitCode
from lastaisle.experiments.assignment import Range
from lastaisle.experiments.definition.definition import DefinitionError, read_definition
from lastaisle.experiments.definition.document import Country, DefinitionDocument, DeviceType, Region
from lastaisle.experiments.traffic import AnalysisRules, Arm, Bandit, Mix
from lastaisle.yaml_model import json_schema

from .defining import BANDIT, NOW, experiment

ROOT = Path(__file__).parents[3]
WHOLE = """
name: attention
kind: experiment
owner: the team of the checkout
description: Does attention sell more?
arms:
  - name: control
    alias: champion
  - name: attention
    version: 7
    exclude_seen: true
    rules: false
    mix: {positions: [2, 4], policy: popular}
  - {name: newest, alias: challenger}
phases:
  - allocation: {control: 0.9, attention: 0.05, newest: 0.05}
  - {start: 2026-03-08T00:00:00+01:00, allocation: {control: 0.4, attention: 0.3, newest: 0.3}}
layer: lists
buckets: [0, 5000]
placements: [checkout, cart]
targeting: {device_type: [mobile, tablet], country: [DE], region: [DE-BY]}
analysis:
  primary: conversion
  guardrails: [ctr, abandonment]
  minimum_effect: 0.03
  alpha: 0.01
  power: 0.9
  horizon_hours: 48
  cuped_days: 7
  planned_units: 200000
start: 2026-03-01T00:00:00+01:00
stop: 2026-04-01T00:00:00Z
"""


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "demo.yaml"

    def written(text: str) -> Path:
        path.write_text(text)
        return path

    return written


def test_every_part_of_an_experiment_is_read(write):
    trial = read_definition(write(WHOLE)).trial(NOW, lambda steps, alias: f"{alias} at {steps}")
    assert trial.arms == (
        Arm(name="control"),
        Arm(
            name="attention",
            version="7",
            exclude_seen=True,
            rules=False,
            mix=Mix(positions=(2, 4), policy="popular"),
        ),
        Arm(name="newest", version="challenger at ('arms', 2)"),
    )
    assert (trial.name, trial.kind, trial.layer, trial.buckets) == (
        *("attention", "experiment", "lists", (0, 5000)),
    )
    assert trial.placements == ("checkout", "cart")
    assert trial.targeting == {
        "device_type": ("mobile", "tablet"),
        "country": ("DE",),
        "region": ("DE-BY",),
    }
    assert (trial.starts_at, trial.stops_at) == (
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        datetime(2026, 4, 1, tzinfo=UTC),
    )
    first, second = trial.phases
    assert first.starts_at == trial.starts_at
    assert first.shares() == pytest.approx({"control": 0.9, "attention": 0.05, "newest": 0.05})
    assert second.starts_at == datetime(2026, 3, 7, 23, tzinfo=UTC)
    assert second.shares() == pytest.approx({"control": 0.4, "attention": 0.3, "newest": 0.3})
    assert trial.analysis == AnalysisRules(
        primary="conversion",
        guardrails=("ctr", "abandonment"),
        minimum_effect=0.03,
        alpha=0.01,
        power=0.9,
        horizon_hours=48,
        cuped_days=7,
        planned_units=200_000,
    )


def test_without_an_allocation_the_arms_get_equal_shares_from_now_on(write):
    trial = read_definition(write(experiment())).trial(NOW, lambda *_: "", planned_units=4321)
    [phase] = trial.phases
    assert (trial.starts_at, trial.stops_at, phase.starts_at) == (NOW, None, NOW)
    assert phase.ranges == (Range("control", 0, 5000), Range("popular", 5000, 10_000))
    assert trial.analysis.planned_units == 4321


def test_a_bandit_begins_as_an_apprentice_with_equal_probabilities(write):
    trial = read_definition(write(experiment(template=BANDIT))).trial(NOW, lambda *_: "")
    base = {"control": 0.5, "popular": 0.5}
    assert trial.bandit == Bandit(algorithm="thompson", base=base, floor=0.1)
    assert (trial.kind, trial.phases, trial.analysis, trial.bandit.share) == ("bandit", (), None, 0.0)


ARMS = "arms: [{name: a}, {name: b, policy: popular}]\n"
ANALYSIS = "analysis: {primary: conversion, minimum_effect: 0.03}\n"
OF_BANDIT = f"name: demo\nkind: bandit\n{ARMS}"


def with_(*lines: str, drop: str = "") -> str:
    text = f"name: demo\n{ARMS}{ANALYSIS}".replace(drop, "") if drop else f"name: demo\n{ARMS}{ANALYSIS}"
    return text + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["document: should hold the keys of an experiment"]),
        ("[]", ["document: should hold the keys of an experiment"]),
        ("a: [", ["not usable YAML"]),
        ("name: demo\nname: demo", ["the key 'name' stands twice"]),
        ("nam: demo", ["line 1: nam: there is no such key; do you mean name?", "line 1: arms: is missing"]),
        (with_("zzz: 1"), ["line 4: zzz: there is no such key; the keys are name, kind, owner"]),
        (with_("kind: experimant"), ["line 4: kind", "received 'experimant'"]),
        (with_().replace("demo", "Demo 1"), ["line 1: name", "received 'Demo 1'"]),
        (with_().replace("demo", "a" * 25), ["line 1: name"]),
        (with_().replace("demo", "canary"), ["'canary' is a name of releases"]),
        (with_().replace("demo", "shadow-7"), ["'shadow-7' is a name of releases"]),
        (with_().replace("demo", "none"), ["line 1: name: 'none' spells a missing value"]),
        (with_().replace("name: b", "name: 'null'"), ["line 2: arms.1.name: 'null' spells a missing value"]),
        (with_().replace("name: b", "name: a"), ["line 2: arms.1.name: 'a' is the name of an arm before"]),
        (with_().replace("name: b", "nane: b"), ["arms.1.nane: there is no such key; do you mean name?"]),
        (f"name: demo\narms: [{{name: a}}]\n{ANALYSIS}", ["line 2: arms"]),
        (with_().replace("popular", "random"), ["arms.1.policy", "received 'random'"]),
        (with_().replace("policy: popular", "version: x"), ["arms.1.version", "received 'x'"]),
        (with_().replace("policy: popular", "version: '0'"), ["arms.1.version"]),
        (
            with_().replace("policy: popular", "version: 1, alias: x"),
            ["line 2: arms.1: should hold version or alias, not both"],
        ),
        (
            with_().replace("policy: popular", "mix: {positions: [1], version: 1, alias: x}"),
            ["line 2: arms.1.mix: should hold version or alias"],
        ),
        (with_().replace("policy: popular", "mix: {positions: []}"), ["arms.1.mix.positions"]),
        (with_().replace("policy: popular", "mix: {positions: [0]}"), ["arms.1.mix.positions.0"]),
        (with_().replace("policy: popular", "mix: {positions: [2, 2]}"), ["positions: 2 stands twice"]),
        (with_(drop=ANALYSIS), ["line 1: document: analysis is missing"]),
        (with_().replace("conversion", "convertion"), ["no metric 'convertion'; do you mean conversion?"]),
        (with_().replace("conversion", "zzz"), ["no metric 'zzz'; the metrics are conversion"]),
        (
            with_().replace("minimum_effect", "guardrails: [ctrr], minimum_effect"),
            ["line 3: analysis.guardrails.0: there is no metric 'ctrr'; do you mean ctr?"],
        ),
        (
            with_().replace("minimum_effect", "guardrails: [conversion], minimum_effect"),
            ["analysis.guardrails.0: is the primary metric"],
        ),
        (with_().replace("0.03", "0"), ["line 3: analysis.minimum_effect", "received '0'"]),
        (with_().replace("0.03", "nan"), ["analysis.minimum_effect", "received 'nan'"]),
        (with_().replace("0.03", "3 %"), ["analysis.minimum_effect", "received '3 %'"]),
        (with_().replace("minimum_effect: 0.03", "effect: 1"), ["analysis.effect: there is no such key"]),
        (
            with_("allocation: {a: 0.6, b: 0.6}"),
            ["line 4: allocation: the shares are 1.2 together; they should be at most 1"],
        ),
        (with_("allocation: {a: 0.5, c: 0.5}"), ["line 4: allocation.c: there is no arm of this name"]),
        (with_("allocation: {a: 1}"), ["line 2: arms.1: the arm 'b' has no share"]),
        (with_("allocation: {a: 0, b: 0}"), ["line 4: allocation: no phase shows 'a' beside another arm"]),
        (with_("allocation: {a: -1, b: 1}"), ["line 4: allocation.a", "received '-1'"]),
        (
            with_("allocation: {a: 1, b: 0}", "phases: [{allocation: {a: 1}}]"),
            ["line 5: phases: should hold allocation or phases, not both"],
        ),
        (
            with_("phases: [{allocation: {a: 1}}, {allocation: {b: 1}}]"),
            ["line 4: phases.1: start is missing"],
        ),
        (
            with_(
                "phases:",
                "  - {allocation: {a: 1}}",
                "  - {start: 2026-03-02T00:00:00Z, allocation: {b: 1}}",
                "  - {start: 2026-03-02T00:00:00Z, allocation: {a: 1}}",
            ),
            ["line 7: phases.2.start: 2026-03-02T00:00:00+00:00 is not after the phase before"],
        ),
        (
            with_(
                "start: 2026-03-05T00:00:00Z",
                "phases: [{start: 2026-03-04T00:00:00Z, allocation: {a: 1, b: 0.0}}]",
            ),
            ["line 5: phases.0.start: should be the start of the experiment"],
        ),
        (
            with_("stop: 2026-03-01T00:00:00Z", "start: 2026-03-01T00:00:00Z"),
            ["line 4: stop: 2026-03-01T00:00:00+00:00 is not after the start"],
        ),
        (
            with_(
                "stop: 2026-03-02T00:00:00Z",
                "phases: [{allocation: {a: 1}}, {start: 2026-03-02T00:00:00Z, allocation: {b: 1}}]",
            ),
            ["phases.1.start: 2026-03-02T00:00:00+00:00 is not before the stop"],
        ),
        (with_("start: 2026-03-01"), ["line 4: start: should name its zone"]),
        (with_("start: 0001-01-01T00:00:00Z"), ["line 4: start: should be a year from 1970"]),
        (with_("start: soon"), ["line 4: start: should be a time such as"]),
        (with_("buckets: [5000, 5000]"), ["line 4: buckets: 5000 and 5000 hold no bucket"]),
        (with_("buckets: [0, 10001]"), ["line 4: buckets.1", "received '10001'"]),
        (with_("buckets: [0]"), ["line 4: buckets"]),
        (with_("placements: []"), ["line 4: placements"]),
        (with_("placements: [a, a]"), ["line 4: placements: 'a' stands twice"]),
        (with_("targeting: {device: [mobile]}"), ["targeting.device: there is no such key; do you mean"]),
        (with_("targeting: {device_type: [phone]}"), ["line 4: targeting.device_type.0"]),
        (with_("targeting: {country: [de]}"), ["line 4: targeting.country.0"]),
        (with_("targeting: {region: []}"), ["line 4: targeting.region"]),
        (with_("kill: maybe"), ["line 4: kill", "received 'maybe'"]),
        (with_("bandit: {algorithm: thompson}"), ["line 4: bandit: belongs to a bandit"]),
        (OF_BANDIT, ["line 1: document: bandit is missing"]),
        (OF_BANDIT + ANALYSIS, ["line 4: analysis: belongs to an experiment"]),
        (OF_BANDIT + "bandit: {algorithm: thomson}", ["algorithm 'thomson'", "do you mean thompson?"]),
        (
            OF_BANDIT + "bandit: {algorithm: ucb, options: {ridg: 1}}",
            ["no option 'ridg'; do you mean"],
        ),
        (OF_BANDIT + "bandit: {algorithm: ucb, floor: 0.6}", ["line 4: bandit.floor", "received '0.6'"]),
        (OF_BANDIT + "bandit: {algorithm: ucb, context: [price]}", ["line 4: bandit.context.0"]),
        (OF_BANDIT + "bandit: {algorithm: ucb, context: [country]}", ["ucb reads no context"]),
        (OF_BANDIT + "bandit: {algorithm: ucb, reward: viewed}", ["bandit.reward", "received 'viewed'"]),
        (OF_BANDIT + "bandit: {algorithm: ucb, base: {a: 1}}", ["the arm 'b' has 0, less than the floor"]),
        (OF_BANDIT + "bandit: {algorithm: ucb, base: {a: 0.5, c: 0.5}}", ["base.c: there is no arm"]),
        (OF_BANDIT + "bandit: {algorithm: ucb, base: {a: 0.5, b: 0.6}}", ["1 together"]),
        (
            f"name: demo\nkind: bandit\nallocation: {{a: 1}}\n{ARMS}bandit: {{algorithm: ucb}}",
            ["line 3: allocation: belongs to an experiment"],
        ),
    ],
)
def test_a_wrong_definition_is_refused_with_its_lines(write, text, problems):
    path = write(text)
    with pytest.raises(DefinitionError) as refused:
        read_definition(path)
    said = str(refused.value)
    assert all(line.startswith(f"{path}: ") for line in said.splitlines())
    assert all(problem in said for problem in problems), said
    assert refused.value.exit_code == ExitCode.WRONG_REQUEST


def test_targeting_takes_the_values_that_the_contract_of_events_takes():
    contract = yaml.safe_load((ROOT / "data_contracts" / "events.odcs.yaml").read_text())
    fields = {field["name"]: field for field in contract["schema"][0]["properties"]}
    [devices] = [rule["arguments"]["validValues"] for rule in fields["device_type"]["quality"]]
    assert devices == list(DeviceType.__args__)
    for name, kind in (("country", Country), ("region", Region)):
        assert kind.__metadata__[0].pattern == fields[name]["logicalTypeOptions"]["pattern"]


def test_the_example_on_the_page_is_a_definition(write):
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    trial = read_definition(write(example)).trial(NOW, lambda *_: "")
    assert (trial.name, len(trial.phases)) == ("two-models", 2)


def test_the_json_schema_on_the_page_is_that_of_the_code():
    page = ROOT / "docs" / "experiments.schema.json"
    assert page.read_text(encoding="utf-8") == json_schema(DefinitionDocument)

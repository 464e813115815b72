"""Files of rules: what they say, and that every error names its line and the closest key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.serve.shown.rule_file import RuleError, RuleFile, read_rules
from lastaisle.yaml_model import json_schema
from tests.serve.shelves import row, settings_of, store

WHOLE = """
rules:
  - name: socks
    pin: {items: [4711, "0815"], position: 2}
    placements: [checkout, cart]
    start: 2026-12-01T00:00:00+01:00
    end: 2026-12-24T18:00:00Z
  - name: clearance
    promote:
      filter: category == 'shoes'
              and price < 50
    share: 0.2
  - name: new-lamps
    promote: {items: [a, b]}
    share: 1
"""


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "rules.yaml"

    def written(text: str | bytes) -> Path:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_every_part_of_a_rule_is_read(write):
    socks, clearance, lamps = read_rules(write(WHOLE), {"category": "text", "price": "number"})
    assert socks.pin.items == ["4711", "0815"]
    assert (socks.pin.position, socks.share, socks.placements) == (2, None, ["checkout", "cart"])
    assert socks.start == datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert clearance.promote.filter == "category == 'shoes' and price < 50"
    assert (clearance.share, clearance.placements, clearance.start, clearance.end) == (0.2, None, None, None)
    assert (lamps.promote.items, lamps.share) == (["a", "b"], 1.0)


def test_a_rule_applies_in_its_placements_from_its_start_to_before_its_end(write):
    socks, clearance, _ = read_rules(write(WHOLE))
    start, end = socks.start, socks.end
    assert socks.applies(start, "checkout")
    assert not socks.applies(end, "checkout")
    assert not socks.applies(datetime(2026, 11, 30, 22, 59, 59, tzinfo=UTC), "checkout")
    assert not socks.applies(start, "home")
    assert not socks.applies(start, "")
    assert clearance.applies(end, "")


def test_a_file_may_hold_no_rules(write):
    assert read_rules(write("rules: []")) == ()


ONE = "rules:\n  - name: a\n    pin: {items: [x]}\n"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["document: should hold the key rules"]),
        ("rules", ["document: should hold the key rules"]),
        ("[]", ["document: should hold the key rules"]),
        ("rules:", ["line 1: rules: should hold a list"]),
        ("rules: {}", ["line 1: rules: should hold a list"]),
        ("rules: [a]", ["line 1: rules.0: should hold keys and values"]),
        (
            "roles: []",
            ["line 1: rules: is missing", "line 1: roles: there is no such key; do you mean rules?"],
        ),
        (ONE + "    shares: 0.1", ["line 4: rules.0.shares: there is no such key; do you mean share?"]),
        (ONE + "    zzz: 1", ["the keys are name, pin, promote, share, placements, start, end"]),
        ("rules:\n- name: a\n  pin:\n    item: [x]", ["line 4: rules.0.pin.item", "do you mean items?"]),
        (
            "rules:\n- name: a\n  share: 1\n  promote:\n    filtre: x",
            ["line 5: rules.0.promote.filtre", "do you mean filter?"],
        ),
        (ONE + ONE.removeprefix("rules:\n"), ["line 4: rules.1.name: 'a' is the name of the rule in line 2"]),
        (ONE.replace("name: a", "name: A b"), ["line 2: rules.0.name", "received 'A b'"]),
        ("rules:\n- pin: {items: [x]}", ["line 2: rules.0.name: is missing"]),
        ("rules:\n- name: a", ["line 2: rules.0: should hold either pin or promote"]),
        (
            ONE + "    promote: {items: [x]}\n    share: 1",
            ["line 2: rules.0: should hold either pin or promote"],
        ),
        ("rules:\n- name: a\n  promote: {items: [x]}", ["line 2: rules.0: share is missing"]),
        (
            "rules:\n- name: a\n  share: 1\n  promote: {}",
            ["line 4: rules.0.promote: should hold either items"],
        ),
        (ONE.replace("[x]", "[]"), ["line 3: rules.0.pin.items"]),
        (ONE.replace("[x]", "[x, y, x]"), ["line 3: rules.0.pin.items: 'x' stands twice"]),
        (ONE.replace("[x]", "x"), ["rules.0.pin.items: should hold a list"]),
        (ONE.replace("[x]", "[[x]]"), ["rules.0.pin.items.0: should hold a text"]),
        (ONE.replace("[x]", "['']"), ["rules.0.pin.items.0"]),
        (ONE.replace("[x]", "[x], position: 0"), ["rules.0.pin.position", "received '0'"]),
        (ONE.replace("[x]", "[x], position: first"), ["rules.0.pin.position", "received 'first'"]),
        *(
            (ONE + f"    share: {share}", ["line 4: rules.0.share", f"received '{share}'"])
            for share in ("0", "1.1", "-0.1", "nan", "inf", "20%", "0,2")
        ),
        (ONE + "    start: 2026-12-01", ["line 4: rules.0.start: should name its zone"]),
        (ONE + "    end: 2026-12-01T00:00:00", ["line 4: rules.0.end: should name its zone"]),
        (ONE + "    end: tomorrow", ["line 4: rules.0.end: should be a time such as 2026-12-01"]),
        (ONE + "    end: [1]", ["line 4: rules.0.end: should be a time"]),
        (
            ONE + "    start: 2026-12-01T00:00Z\n    end: 2026-12-01T01:00+01:00",
            ["line 2: rules.0: ends at 2026-12-01T01:00:00+01:00, not after its start"],
        ),
        (ONE + "    placements: checkout", ["line 4: rules.0.placements: should hold a list"]),
        (ONE + "    placements: []", ["line 4: rules.0.placements"]),
        (ONE + "    name: b", ["line 4, column 5: not usable YAML: the key 'name' stands twice"]),
        ("rules: *all", ["line 1, column 8: not usable YAML: an alias"]),
        ("rules: [", ["not usable YAML"]),
        (b"\xff\xfe\xfa", ["byte 0: the file is not UTF-8"]),
        ("[" * 5000, ["document: not usable YAML: nested too deeply"]),
        ("# " + "x" * (1 << 20), ["file: is longer than"]),
        (
            "rules:\n- name: a\n  share: 1\n  promote:\n    filter: prise < 5",
            ["line 5: rules.0.promote.filter: the filter is wrong at character 1", "do you mean price?"],
        ),
        (ONE + "    start: x\n    sharing: y", ["line 4: rules.0.start", "line 5: rules.0.sharing"]),
    ],
)
def test_a_wrong_file_is_refused_with_the_lines(write, text, problems):
    with pytest.raises(RuleError) as refused:
        read_rules(write(text), {"price": "number"})
    for problem in problems:
        assert problem in str(refused.value)
    assert str(refused.value.path) in str(refused.value)
    assert refused.value.exit_code == ExitCode.WRONG_REQUEST


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RuleError, match="file: cannot be read"):
            read_rules(path)


def test_the_number_of_rules_is_bounded(write):
    many = "rules:\n" + "".join(f"- {{name: r{n}, pin: {{items: [x]}}}}\n" for n in range(101))
    with pytest.raises(RuleError, match="at most 100"):
        read_rules(write(many))


def test_the_json_schema_on_the_page_is_that_of_the_code():
    page = Path(__file__).parents[3] / "docs" / "rules.schema.json"
    assert page.read_text(encoding="utf-8") == json_schema(RuleFile)


def test_the_command_checks_rules_beside_the_catalogue(write, tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    path = write(WHOLE)
    alone = CliRunner().invoke(cli.app, ["rules", "check", str(path), "--report", str(tmp_path / "r")])
    assert alone.exit_code == 0
    assert "clearance: applies, a filter" in alone.output
    assert "the lake has no catalogue" in alone.output
    store(settings_of(tmp_path), row("a", category="shoes", price=5.0), row("b", available=False))
    beside = CliRunner().invoke(cli.app, ["rules", "check", str(path), "--report", str(tmp_path / "r.json")])
    assert "socks: " in beside.output
    assert "warning: socks: the catalogue has not for sale: 4711, 0815" in beside.output
    assert "clearance: applies, 1 item" in beside.output
    assert "warning: new-lamps: the catalogue has not for sale: b" in beside.output
    assert json.loads((tmp_path / "r.json").read_text())["rules"][1]["items"] == 1


def test_the_command_refuses_wrong_rules(write, tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    store(settings_of(tmp_path), row("a"))
    path = write("rules:\n- name: a\n  share: 1\n  promote:\n    filter: prise < 5")
    refused = CliRunner().invoke(cli.app, ["rules", "check", str(path)])
    assert isinstance(refused.exception, RuleError)
    assert "line 5: rules.0.promote.filter" in str(refused.exception)


def test_the_example_of_the_page_is_a_file_of_rules(write):
    page = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    assert [rule.name for rule in read_rules(write(example))] == ["christmas-socks", "clearance"]

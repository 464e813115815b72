"""The file of the configuration: defaults, each mistake with its line, its schema, and its page."""

import re
from pathlib import Path

import pytest

from lastaisle.monitor.alerts.config import AlertConfigError, read_config, schema
from lastaisle.monitor.alerts.model import CONVERSION_DROP, CTR_DROP, runbook_of
from lastaisle.monitor.alerts.rules.registered import BY_NAME
from lastaisle.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "alerts.md").read_text(encoding="utf-8")


def read(tmp_path, text):
    file = tmp_path / "alerts.yaml"
    file.write_text(text, encoding="utf-8")
    return read_config(Settings.of(home=tmp_path, alerts=str(file)))


def test_without_a_file_all_rules_are_on_and_no_channel_is_there(tmp_path):
    config = read_config(Settings.of(home=tmp_path))
    assert config.channels == [] and (config.group_minutes, config.repeat_hours) == (10, 24)
    for name, rule in BY_NAME.items():
        assert config.options_of(name) == rule.options() and not config.options_of(name).off
    assert not config.options_of("a rule of a newer version").off


def test_a_file_changes_what_it_names(tmp_path):
    config = read(
        tmp_path,
        "rules:\n  late_data: {factor: 3, severity: critical}\n  drift: {off: true}\nrepeat_hours: 0\n",
    )
    late = config.options_of("late_data")
    assert (late.factor, late.severity, late.minimum_minutes) == (3, "critical", 60)
    assert config.options_of("drift").off and config.repeat_hours == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n  late: {}\n", "line 2: rules.late: there is no such key; do you mean late_data?"),
        (
            "rules:\n  lag:\n    minuts: 3\n",
            "line 3: rules.lag.minuts: there is no such key; do you mean minutes?",
        ),
        ("rules:\n  drift:\n    severity: loud\n", "line 3: rules.drift.severity"),
        ("rules:\n  late_data:\n    factor: 0\n", "line 3: rules.late_data.factor"),
        ("rules:\n  late_data:\n    factor: nan\n", "line 3: rules.late_data.factor"),
        ("group_minutes: soon\n", "line 1: group_minutes"),
        ("channels: slack\n", "line 1: channels: should hold a list"),
        ("channels:\n  - kind: fax\n", "line 2: channels.0"),
        (
            "channels:\n  - {kind: slack, address_from: LASTAISLE_ALERT_A}\n"
            "  - {kind: slack, address_from: LASTAISLE_ALERT_B}\n",
            "two channels are named 'slack'",
        ),
        (
            "channels:\n  - {kind: slack, address_from: LASTAISLE_ALERT_A, rules: [late]}\n",
            "names the rule 'late', which does not exist; do you mean late_data?",
        ),
        ("", "should hold the keys rules, channels"),
        ("- a\n", "should hold the keys rules, channels"),
    ],
)
def test_each_mistake_is_named_with_its_place(tmp_path, text, told):
    with pytest.raises(AlertConfigError) as caught:
        read(tmp_path, text)
    assert told in str(caught.value) and "alerts.yaml" in str(caught.value)


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(AlertConfigError, match="cannot be read"):
        read_config(Settings.of(home=tmp_path, alerts=str(tmp_path / "none.yaml")))


def test_the_schema_of_the_documentation_is_the_present_one():
    assert (DOCS / "alerts.schema.json").read_text(encoding="utf-8") == schema(), (
        'run: python -c "from lastaisle.monitor.alerts.config import schema; print(schema(), end=str())"'
    )


def test_each_rule_has_a_runbook_with_its_limits():
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", PAGE, re.M | re.S))
    assert set(sections) >= {*BY_NAME, CTR_DROP, CONVERSION_DROP}
    for name, rule in BY_NAME.items():
        assert runbook_of(name) == f"docs/alerts.md#{name}"
        assert "**Meaning:**" in sections[name] and "**Do:**" in sections[name]
        own = set(rule.options.model_fields) - {"off", "severity", "quiet_minutes", "action"}
        assert name.endswith("_drop") or [limit for limit in own if f"`{limit}`" not in sections[name]] == []


def test_the_example_of_the_page_can_be_read(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert [channel.kind for channel in read(tmp_path, example).channels] == ["slack"]

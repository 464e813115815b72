"""One check of all rules is one commit; it can be repeated, and one rule's error stops no other rule."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lastaisle.errors import SourceError
from lastaisle.lake import tables
from lastaisle.lake.errors import LakeUnusableError
from lastaisle.lake.tables import ALERTS
from lastaisle.monitor.alerts import raise_alerts as module
from lastaisle.monitor.alerts.changes import QUIET
from lastaisle.monitor.alerts.config import AlertConfig
from lastaisle.monitor.alerts.log import read_alerts, report
from lastaisle.monitor.alerts.model import Finding
from lastaisle.monitor.alerts.raise_alerts import raise_alerts
from lastaisle.monitor.alerts.rules.registered import BY_NAME, RULES, Rule

from .conftest import DAY, HOUR, NOW
from .test_data_rules import days, refused
from .test_model_rules import scored

MINUTE = HOUR / 60


def config(**rules):
    return AlertConfig.model_validate({"rules": rules})


def test_all_rules_look_at_an_empty_installation_and_write_nothing(world):
    found = raise_alerts(world.lake, world.registry, world.settings, world.config, now=NOW)
    assert (found.open, found.opened, found.problems) == ([], [], ())
    assert found.lines() == ["no alerts are open"]
    assert read_alerts(world.lake).changes == ()


def test_an_alert_is_opened_kept_and_resolved_after_a_quiet_time(world):
    world.bring(*days(10))
    world.now = NOW + 13 * HOUR
    (opened,) = world.run("late_data").opened
    version = world.lake.version(ALERTS)
    again = world.run("late_data")
    assert (again.opened, again.changed, world.lake.version(ALERTS)) == ([], [], version)
    assert [alert.id for alert in again.open] == [opened.id]
    world.bring(world.now)
    world.now += 10 * MINUTE
    (quiet,) = world.run("late_data").quiet
    assert quiet.is_open
    world.now += 10 * MINUTE
    assert world.run("late_data").resolved == []
    world.now += 10 * MINUTE
    (resolved,) = world.run("late_data").resolved
    assert resolved.resolved_because == "the rule no longer finds it" and resolved.resolved_at == world.now


def test_a_rule_without_a_quiet_time_resolves_at_once(world):
    refused(world, "/logs/a", NOW - HOUR)
    now_on = config(unreadable_source={"quiet_minutes": 0})
    assert len(world.run("unreadable_source", config=now_on).opened) == 1
    world.add(tables.FILES, {"url": "/logs/a", "format": "canonical", "taken_in_at": NOW})
    assert len(world.run("unreadable_source", config=now_on).resolved) == 1


def test_a_rule_is_skipped_while_its_tables_and_options_stay(world):
    scored(world, NOW, "price")
    assert len(world.run("drift").opened) == 1
    version = world.lake.version(ALERTS)
    second = world.run("drift")
    assert second.skipped == ["drift"] and len(second.open) == 1 and world.lake.version(ALERTS) == version
    assert world.run("drift", config=config(drift={"severity": "info"})).changed[0].severity == "info"
    scored(world, NOW + DAY)
    assert len(world.run("drift").quiet) == 1
    world.now += HOUR
    third = world.run("drift")
    assert third.skipped == ["drift"] and len(third.resolved) == 1, "the quiet time ends without a new table"


def test_the_configured_severity_holds_also_for_reported_alerts(world):
    finding = Finding("failed_task", "warning", {"dag": "a", "task": "t"}, "Task t failed.", NOW)
    report(world.lake, finding, now=NOW)
    loud = config(failed_task={"severity": "critical"})
    assert world.run("failed_task", config=loud).changed[0].severity == "critical"
    assert world.run("failed_task", config=loud).changed == []


def test_a_rule_that_is_off_finds_nothing_and_its_alerts_are_resolved(world):
    refused(world, "/logs/a", NOW - HOUR)
    world.run("unreadable_source")
    found = world.run("unreadable_source", config=config(unreadable_source={"off": "true"}))
    assert [alert.resolved_because for alert in found.resolved] == ["the rule is off"] and found.open == []


def test_a_reported_alert_that_nobody_resolves_is_given_up(world):
    report(world.lake, Finding("deadline", "warning", {"dag": "a"}, "Late.", NOW), now=NOW)
    world.now += 6 * DAY
    assert len(world.run("deadline").open) == 1
    for _ in range(3):
        world.now += DAY
        world.run("deadline")
    assert world.run("deadline").open == []


def broken(error):
    def check(context):
        raise error

    return check


def test_a_rule_that_cannot_look_is_an_alert_and_resolves_nothing(world):
    world.bring(*days(10))
    world.now = NOW + 13 * HOUR
    late = world.run("late_data").opened[0]
    names = {name: BY_NAME[name] for name in ("late_data", "cannot_check", "unreadable_source")}
    blind = replace(names["late_data"], check=broken(SourceError("no table at http://anna:secret@shop/")))
    refused(world, "/logs/a", NOW)
    world.bring(world.now)
    for _ in range(4):
        world.now += HOUR
        found = world.run_rules((blind, names["cannot_check"], names["unreadable_source"]))
    rules = {alert.rule: alert for alert in found.open}
    assert set(rules) == {"late_data", "cannot_check", "unreadable_source"}, "others still look"
    assert rules["late_data"].id == late.id and rules["late_data"].quiet_since is None
    assert rules["cannot_check"].scope == {"rule": "late_data"}
    assert "no table at" in rules["cannot_check"].summary and "secret" not in rules["cannot_check"].summary
    world.bring(world.now)
    for _ in range(2):
        world.now += HOUR
        found = world.run_rules(tuple(names.values()))
    assert {alert.rule for alert in found.open} == {"unreadable_source"}


def test_a_fault_in_a_rule_is_raised_after_the_other_alerts_are_written(world):
    refused(world, "/logs/a", NOW)
    faulty = replace(BY_NAME["lag"], check=broken(KeyError("topic")))
    with pytest.raises(ExceptionGroup) as caught:
        world.run_rules((faulty, BY_NAME["unreadable_source"], BY_NAME["cannot_check"]))
    assert isinstance(caught.value.exceptions[0], KeyError)
    assert {alert.rule for alert in read_alerts(world.lake).open()} == {"unreadable_source", "cannot_check"}


def test_mlflow_that_cannot_be_reached_is_an_alert(world, tmp_path):
    (tmp_path / "mlflow" / "mlflow.db").write_text("no database")
    found = world.run("failed_training", "stuck_training", "cannot_check", "old_champion")
    assert sorted(alert.scope["rule"] for alert in found.open) == ["failed_training", "stuck_training"]


def test_a_damaged_table_is_an_alert_of_each_rule_that_reads_it(world):
    world.bring(*days(10))
    next(Path(world.lake.table_url("batches")).glob("_delta_log/*0.json")).write_text("{")
    found = world.run("late_data", "drift", "cannot_check")
    assert [alert.scope for alert in found.open] == [{"rule": "late_data"}]


def test_a_damaged_table_of_alerts_is_refused(world):
    refused(world, "/logs/a", NOW)
    world.run("unreadable_source")
    folder = Path(world.lake.table_url(ALERTS))
    next(folder.glob("_delta_log/*0.json")).write_text("{")
    with pytest.raises(LakeUnusableError):
        world.run("unreadable_source")


def test_a_dry_run_tells_all_and_writes_nothing(world):
    refused(world, "/logs/a", NOW - HOUR)
    found = world.run("unreadable_source", dry_run=True)
    assert [alert.rule for alert in found.opened] == ["unreadable_source"] == [one.rule for one in found.open]
    assert world.lake.version(ALERTS) is None


@pytest.mark.parametrize("is_late", [False, True])
def test_a_kill_around_the_commit_loses_and_doubles_nothing(world, monkeypatch, is_late):
    refused(world, "/logs/a", NOW - HOUR)
    scored(world, NOW, "price", "country")
    append = world.lake.append

    def killed(*args, **kwargs):
        if is_late:
            append(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(world.lake, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        world.run("unreadable_source", "drift")
    monkeypatch.setattr(world.lake, "append", append)
    assert len(world.run("unreadable_source", "drift").open) == 3
    assert len(read_alerts(world.lake).changes) == 3


def test_two_checks_at_the_same_moment_open_each_alert_once(world):
    refused(world, "/logs/a", NOW - HOUR)
    scored(world, NOW, "price", "country")
    threads = [threading.Thread(target=world.run, args=("unreadable_source", "drift")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = read_alerts(world.lake)
    assert len(log.open()) == 3 == len(log.changes)


def test_a_rules_reason_for_the_end_is_kept(world):
    refused(world, "/logs/a", NOW - HOUR)
    world.run("unreadable_source")
    (alert,) = read_alerts(world.lake).open()
    gone = Rule(
        "unreadable_source",
        "",
        "warning",
        check=lambda _: [],
        why_ended=lambda _: {alert.id: "it is usual now"},
    )
    world.run_rules((gone,))
    assert read_alerts(world.lake).changes[-1].kind == QUIET
    world.now += HOUR
    assert world.run_rules((gone,)).resolved[0].resolved_because == "it is usual now"


def test_every_rule_has_options_that_take_no_wrong_limits():
    for rule in RULES:
        assert rule.options().off is False and rule.about and rule.severity in ("info", "warning", "critical")
    assert module.RULES is RULES and len(BY_NAME) == len(RULES)


def test_the_report_is_plain_json(world):
    refused(world, "/logs/a", NOW - HOUR)
    found = world.run("unreadable_source")
    told = json.loads(json.dumps(found.to_dict(), default=str))
    assert told["opened"][0]["rule"] == "unreadable_source" and told["open"][0]["runbook"].startswith("docs/")
    assert found.lines()[-1] == "1 alert is open" and "unreadable_source" in found.lines()[0]

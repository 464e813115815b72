"""Alerts are opened once, changed, resolved and silenced, also by several writers at the same moment."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastaisle.lake import Lake
from lastaisle.lake.tables import ALERTS, ALERTS_SCHEMA
from lastaisle.monitor.alerts import changes
from lastaisle.monitor.alerts.changes import Change, not_found, standing_after
from lastaisle.monitor.alerts.log import (
    NoSuchAlertError,
    commit,
    read_alerts,
    report,
    resolve,
    silence,
    unsilence,
)
from lastaisle.monitor.alerts.model import SEVERITIES, Evidence, Finding, id_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCOPE = {"dag": "retrain_full", "task": "train"}


def finding(**changed):
    base = Finding(
        rule="failed_task",
        severity="warning",
        scope=SCOPE,
        summary="Task train of retrain_full failed.",
        since=NOON,
        evidence=(Evidence("The log", url="http://airflow/log", run_id="abc"),),
    )
    return replace(base, **changed)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def kinds(lake):
    return [change.kind for change in read_alerts(lake).changes]


def test_a_lake_without_the_table_has_no_alerts(lake):
    log = read_alerts(lake)
    assert (log.version, log.open(), log.recent(5)) == (-1, [], [])


def test_the_same_finding_twice_is_one_alert_with_all_that_was_found(lake):
    first = report(lake, finding(), now=NOON)
    version = lake.version(ALERTS)
    second = report(lake, finding(), now=NOON + HOUR)
    assert (first, lake.version(ALERTS)) == (second, version)
    (alert,) = read_alerts(lake).open()
    assert (alert.rule, alert.severity, alert.scope, alert.summary, alert.since, alert.evidence) == (
        "failed_task",
        "warning",
        SCOPE,
        "Task train of retrain_full failed.",
        NOON,
        finding().evidence,
    )
    assert (alert.id, alert.runbook) == (id_of("failed_task", SCOPE), "docs/alerts.md#failed_task")
    assert alert.raised_at == NOON and alert.subject == "dag retrain_full, task train"


def test_the_order_of_a_scope_names_no_other_alert():
    assert id_of("lag", {"a": "1", "b": "2"}) == id_of("lag", {"b": "2", "a": "1"})
    assert id_of("lag", {"a": "1"}) != id_of("late_data", {"a": "1"}) != id_of("lag", {"a": "2"})


def test_a_worse_severity_is_written_at_once_and_a_new_summary_once_an_hour(lake):
    report(lake, finding(), now=NOON)
    report(lake, finding(summary="It failed again."), now=NOON + HOUR / 2)
    assert kinds(lake) == ["opened"]
    report(lake, finding(summary="It failed again."), now=NOON + HOUR)
    alert = report(lake, finding(severity="critical"), now=NOON + HOUR)
    assert kinds(lake) == ["opened", "changed", "changed"]
    assert (alert.severity, alert.raised_at, alert.episode) == ("critical", NOON, 0)


def test_an_alert_that_is_found_earlier_keeps_its_beginning(lake):
    report(lake, finding(since=NOON), now=NOON)
    later = report(lake, finding(since=NOON + HOUR, severity="critical"), now=NOON + HOUR)
    assert later.since == NOON
    assert report(lake, finding(since=NOON - HOUR, severity="info"), now=NOON + HOUR).since == NOON - HOUR


def test_resolve_closes_once_and_a_new_finding_opens_another_episode(lake):
    report(lake, finding(), now=NOON)
    assert not resolve(lake, "failed_task", {"dag": "retrain_full"}), "another scope"
    assert resolve(lake, "failed_task", SCOPE, reason="run 7 succeeded", now=NOON + HOUR)
    assert not resolve(lake, "failed_task", SCOPE)
    log = read_alerts(lake)
    assert log.open() == []
    (alert,) = log.alerts().values()
    assert (alert.state, alert.resolved_at, alert.resolved_because) == (
        "resolved",
        NOON + HOUR,
        "run 7 succeeded",
    )
    again = report(lake, finding(since=NOON + 2 * HOUR), now=NOON + 2 * HOUR)
    assert (again.raised_at, again.since, again.episode) == (NOON + 2 * HOUR, NOON + 2 * HOUR, 2)


def test_an_alert_that_comes_and_goes_stays_one_episode(lake):
    report(lake, finding(), now=NOON)
    for minutes in range(10, 100, 20):
        at = NOON + timedelta(minutes=minutes)
        alert = read_alerts(lake).open()[0]
        commit(lake, lambda log, at=at, alert=alert: [not_found(alert, at, "rules", HOUR / 2)])
        report(lake, finding(), now=at + timedelta(minutes=10))
    (alert,) = read_alerts(lake).open()
    assert alert.episode == 0 and alert.quiet_since is None
    assert kinds(lake) == ["opened", *["quiet", "changed"] * 5]


def test_the_worst_and_oldest_alerts_stand_first(lake):
    for name, severity, at in (("a", "info", NOON), ("b", "critical", NOON + HOUR), ("c", "critical", NOON)):
        report(lake, finding(scope={"dag": name}, severity=severity), now=at)
    assert [alert.scope["dag"] for alert in read_alerts(lake).open()] == ["c", "b", "a"]


def test_many_writers_at_the_same_moment_open_each_alert_once(lake):
    problems = []

    def write(number):
        try:
            for scope in range(3):
                report(lake, finding(scope={"dag": str(scope)}), now=NOON, actor=str(number))
        except Exception as error:  # a thread's own error would be lost
            problems.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    log = read_alerts(lake)
    assert sorted(change.scope["dag"] for change in log.changes) == ["0", "1", "2"]
    assert [change.entry for change in log.changes] == [0, 1, 2] and log.next_entry == 3


def test_a_silence_covers_one_alert_or_a_rule_and_ends_by_itself(lake):
    report(lake, finding(), now=NOON)
    report(lake, finding(scope={"dag": "other"}), now=NOON)
    end = NOON + 2 * HOUR
    silence(lake, "failed_task", SCOPE, until=end, reason="known", actor="ana", now=NOON)

    def silenced(at):
        return [
            alert.scope["dag"] for alert in read_alerts(lake).open(at) if alert.silenced_until is not None
        ]

    assert silenced(NOON + HOUR) == ["retrain_full"] and silenced(end) == []
    one = read_alerts(lake).open(NOON)[0]
    assert (one.silenced_by, one.silenced_until, one.silence.reason) == ("ana", end, "known")
    silence(lake, "failed_task", None, until=end + HOUR, reason="move", actor="bo", now=NOON + HOUR)
    assert silenced(end) == ["retrain_full", "other"]
    assert unsilence(lake, "failed_task", None, actor="bo", now=NOON + HOUR)
    assert silenced(NOON + HOUR) == ["retrain_full"], "the silence of the one alert stands"
    assert not unsilence(lake, "failed_task", None, actor="bo", now=NOON + HOUR)


def test_a_silence_that_is_over_or_has_no_reason_is_refused(lake):
    with pytest.raises(NoSuchAlertError, match="future"):
        silence(lake, "lag", None, until=NOON, reason="x", actor="ana", now=NOON)
    with pytest.raises(NoSuchAlertError, match="reason"):
        silence(lake, "lag", None, until=NOON + HOUR, reason=" ", actor="ana", now=NOON)
    assert lake.version(ALERTS) is None


def test_an_alert_is_found_by_the_start_of_its_id(lake):
    alert = report(lake, finding(), now=NOON)
    assert read_alerts(lake).find(alert.id[:4]).id == alert.id
    for wrong in ("", "zz"):
        with pytest.raises(NoSuchAlertError, match="begins with"):
            read_alerts(lake).find(wrong)


@pytest.mark.parametrize(
    "damage",
    [
        {"scope": "{"},
        {"scope": None},
        {"evidence": "[1]"},
        {"severity": "loud"},
        {"severity": None},
        {"summary": None},
        {"since": None},
        {"change": "vanished"},
        {"rule": None},
        {"at": None},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(lake, damage):
    report(lake, finding(), now=NOON)
    row = lake.scan(ALERTS).to_pylist()[0] | {"entry": 1} | damage
    lake.append(ALERTS, pa.Table.from_pylist([row], schema=ALERTS_SCHEMA), key="by hand")
    log = read_alerts(lake)
    assert len(log.open()) == 1 and len(log.problems) == 1 and "row 1" in log.problems[0]
    report(lake, finding(scope={"dag": "next"}), now=NOON)
    assert read_alerts(lake).changes[-1].entry == 2


KINDS = st.sampled_from(["opened", "changed", "quiet", "resolved", "silenced", "unsilenced"])
STEPS = st.lists(
    st.tuples(KINDS, st.sampled_from(["a", "b", None]), st.sampled_from(SEVERITIES), st.integers(1, 90)),
    max_size=25,
)


@given(STEPS)
def test_the_fold_agrees_with_a_plain_reading_of_each_alerts_own_rows(steps):
    rows, at = [], NOON
    for kind, name, severity, minutes in steps:
        if name is None and kind not in ("silenced", "unsilenced"):
            continue
        at += timedelta(minutes=minutes)
        scope = None if name is None else {"dag": name}
        rows.append(Change(kind, at, "lag", scope, severity, kind, at, until=at + HOUR, entry=len(rows)))
    standing, now = standing_after(rows), at + HOUR / 2
    for name in ("a", "b"):
        alert_id = id_of("lag", {"dag": name})
        own = [row for row in rows if row.scope == {"dag": name}]
        check_episode(standing.alerts.get(alert_id), own)
        whole = [row for row in rows if row.scope is None]
        newest = [
            [row for row in part if row.kind in ("silenced", "unsilenced")][-1:] for part in (own, whole)
        ]
        ends = [row.until for part in newest for row in part if row.kind == "silenced" and row.until > now]
        held = standing.silence_of("lag", alert_id, now)
        assert (None if held is None else held.until) == max(ends, default=None)


def check_episode(alert, own):
    """Compare an alert with the last of its episodes: rows up to a resolution, with an opening among them."""
    episodes = [[]]
    for row in own:
        if row.kind not in ("silenced", "unsilenced"):
            episodes[-1].append(row)
            episodes += [[]] if row.kind == "resolved" else []
    episodes = [part for part in episodes if any(row.kind in ("opened", "changed") for row in part)]
    assert (alert is None) == (not episodes)
    if alert is not None:
        told = [row for row in episodes[-1] if row.kind in ("opened", "changed")]
        after = episodes[-1][episodes[-1].index(told[-1]) + 1 :]
        assert (alert.episode, alert.raised_at) == (told[0].entry, told[0].at)
        assert (alert.severity, alert.summary) == (told[-1].severity, told[-1].summary)
        assert alert.resolved_at == next((row.at for row in after if row.kind == "resolved"), None)
        assert alert.is_open == (alert.resolved_at is None)
        assert alert.quiet_since == ([row.at for row in after if row.kind == "quiet"] or [None])[-1]


def test_a_change_of_an_alert_whose_opening_cannot_be_read_opens_it():
    row = Change("changed", NOON, "lag", {"topic": "clicks"}, "warning", "It lags.", NOON, entry=4)
    (alert,) = standing_after([row]).alerts.values()
    assert alert.is_open and alert.episode == 4
    assert changes.found(alert, alert, NOON, "rules") is None

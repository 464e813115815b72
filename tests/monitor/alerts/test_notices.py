"""Messages are grouped by rule, repeated, held back by silences, and equal at each run."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastaisle.delivery.channels import Channel
from lastaisle.delivery.deliver import deliver
from lastaisle.delivery.sent import Sent
from lastaisle.lake import Lake
from lastaisle.monitor.alerts.changes import Change
from lastaisle.monitor.alerts.config import AlertConfig
from lastaisle.monitor.alerts.log import AlertLog, read_alerts, report
from lastaisle.monitor.alerts.model import Evidence, Finding
from lastaisle.monitor.alerts.notices import notices_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CONFIG = AlertConfig(group_minutes=10, repeat_hours=0)


def told(steps, *, now=NOON + 60 * HOUR, config=CONFIG):
    """Return (minutes after noon, kind, severity, alerts) of each message that follows from the steps.

    A step is (minutes after noon, kind, scope or None for the rule, severity or minutes of a silence).
    """
    return [
        (
            int((notice.at - NOON) / MINUTE),
            notice.kind,
            notice.severity,
            "".join(sorted(alert["scope"]["dag"] for alert in notice.data["alerts"])),
        )
        for notice in notices_of(AlertLog(0, changes_of(steps)), config, now)
    ]


def changes_of(steps):
    changes = []
    for entry, (minutes, kind, name, value) in enumerate(steps):
        at = NOON + minutes * MINUTE
        scope = None if name is None else {"dag": name}
        severity = value if isinstance(value, str) else "warning"
        until = at + value * MINUTE if kind == "silenced" else None
        change = Change(kind, at, "lag", scope, severity, f"{name} lags.", at, until=until, entry=entry)
        changes.append(change)
    return tuple(changes)


def test_alerts_of_one_check_share_a_message_at_once_and_their_end_another():
    steps = [(0, "opened", "a", "warning"), (0, "opened", "b", "critical")]
    assert told(steps) == [(0, "raised", "critical", "ab")]
    ends = [(30, "resolved", "a", 0), (40, "resolved", "b", 0)]
    assert told([*steps, ends[0]]) == [(0, "raised", "critical", "ab")]
    assert told([*steps, *ends]) == [(0, "raised", "critical", "ab"), (40, "resolved", "critical", "b")]


def test_alerts_that_follow_share_the_next_message():
    steps = [(0, "opened", "a", "warning"), (3, "opened", "b", "info"), (7, "opened", "c", "warning")]
    assert told(steps, now=NOON + 9 * MINUTE) == [(0, "raised", "warning", "a")]
    assert told(steps) == [(0, "raised", "warning", "a"), (10, "changed", "warning", "bc")]
    later = [*steps, (90, "opened", "d", "warning")]
    assert told(later)[2:] == [(90, "changed", "warning", "d")]


def test_an_alert_that_is_gone_before_its_message_is_never_told():
    steps = [(0, "opened", "a", "warning"), (3, "opened", "b", "warning"), (8, "resolved", "b", 0)]
    assert told(steps) == [(0, "raised", "warning", "a")]


def test_a_worse_severity_is_told_and_a_milder_one_is_not():
    steps = [(0, "opened", "a", "warning"), (30, "changed", "a", "critical"), (60, "changed", "a", "info")]
    assert told(steps) == [(0, "raised", "warning", "a"), (30, "changed", "critical", "a")]
    assert told([*steps, (99, "resolved", "a", 0)])[2:] == [(99, "resolved", "critical", "a")]


def test_an_open_alert_is_told_again_and_again():
    steps = [(0, "opened", "a", "warning"), (200, "resolved", "a", 0)]
    config = AlertConfig(group_minutes=10, repeat_hours=1)
    repeated = [(minutes, "changed", "warning", "a") for minutes in (60, 120, 180)]
    assert told(steps, config=config) == [
        (0, "raised", "warning", "a"),
        *repeated,
        (200, "resolved", "warning", "a"),
    ]


def test_a_silenced_alert_is_told_when_the_silence_ends_if_it_is_still_open():
    silent = [(0, "silenced", "a", 60), (10, "opened", "a", "warning")]
    assert told(silent, now=NOON + 59 * MINUTE) == []
    assert told(silent) == [(60, "raised", "warning", "a")]
    assert told([*silent, (30, "resolved", "a", 0)]) == []
    assert told([*silent, (30, "unsilenced", "a", 0)]) == [(30, "raised", "warning", "a")]
    whole = [(0, "silenced", None, 60), (10, "opened", "a", "warning"), (20, "silenced", "a", 90)]
    assert told(whole) == [(110, "raised", "warning", "a")]


def test_a_silence_stops_the_repeats_and_not_the_end():
    config = AlertConfig(group_minutes=10, repeat_hours=1)
    steps = [(0, "opened", "a", "warning"), (5, "silenced", "a", 130), (190, "resolved", "a", 0)]
    assert told(steps, config=config) == [
        (0, "raised", "warning", "a"),
        (180, "changed", "warning", "a"),
        (190, "resolved", "warning", "a"),
    ]


def test_a_new_episode_is_another_group():
    steps = [(0, "opened", "a", "warning"), (20, "resolved", "a", 0), (40, "opened", "a", "warning")]
    first, end, second = notices_of(AlertLog(0, changes_of(steps)), CONFIG, NOON + HOUR)
    assert first.dedup_key == end.dedup_key != second.dedup_key
    assert len({first.id, end.id, second.id}) == 3
    assert (first.rule, first.group) == ("lag", "lag")


def test_old_messages_are_left_out_but_for_the_beginning_of_an_open_group():
    steps = [(0, "opened", "a", "warning"), (20, "resolved", "a", 0), (40, "opened", "b", "warning")]
    assert told(steps, now=NOON + 80 * HOUR) == [(40, "raised", "warning", "b")]


def test_a_message_names_what_happened_the_evidence_and_what_to_do(tmp_path):
    lake = Lake(tmp_path)
    evidence = (
        Evidence("The log", url="https://airflow/log"),
        Evidence("Rows", table="gaps", query="SELECT 1"),
    )
    report(lake, Finding("lag", "critical", {"topic": "clicks"}, "It lags.", NOON, evidence), now=NOON)
    (notice,) = notices_of(read_alerts(lake), CONFIG, NOON)
    assert notice.title == "It lags." and "SELECT 1" in notice.text and "2026-11-24 12:00 UTC" in notice.text
    assert notice.links == (("The log", "https://airflow/log"), ("Runbook", "docs/alerts.md#lag"))


KINDS = st.sampled_from(["opened", "changed", "resolved", "silenced", "unsilenced"])
STEPS = st.lists(
    st.tuples(st.integers(0, 40), KINDS, st.sampled_from("abc"), st.sampled_from(["info", "critical"])),
    max_size=20,
)


@given(STEPS, st.integers(0, 900))
def test_the_messages_until_a_moment_are_the_same_whenever_they_are_asked_for(steps, minutes):
    clock, timed = 0, []
    for wait, kind, name, severity in steps:
        clock += wait
        timed.append((clock, kind, name, 45 if kind == "silenced" else severity))
    config = AlertConfig(group_minutes=10, repeat_hours=2)
    changes, until = changes_of(timed), NOON + minutes * MINUTE
    early = notices_of(AlertLog(0, tuple(c for c in changes if c.at <= until)), config, until)
    late = notices_of(AlertLog(0, changes), config, NOON + 1000 * MINUTE)
    assert early == [notice for notice in late if notice.at <= until]


@pytest.mark.parametrize("is_killed", [False, True])
def test_each_message_goes_out_once_over_many_runs(tmp_path, is_killed):
    lake, got = Lake(tmp_path), []

    def send(notice):
        got.append((notice.kind, notice.id))
        if is_killed and len(got) == 1:
            raise KeyboardInterrupt
        return Sent()

    channel = Channel("web", "alerts/web#1", send)
    for minutes in range(0, 60, 5):
        now = NOON + minutes * MINUTE
        if minutes < 20:
            finding = Finding("lag", "warning", {"topic": str(minutes)}, "It lags.", now)
            report(lake, finding, now=now)
        try:
            deliver(lake, [channel], notices_of(read_alerts(lake), CONFIG, now), now)
        except KeyboardInterrupt:
            continue
    assert [kind for kind, _ in got][-2:] == ["changed", "changed"]
    assert len(set(got)) == 3 and len(got) == 3 + is_killed

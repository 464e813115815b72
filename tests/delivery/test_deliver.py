"""Each notice reaches each channel that wants it at least once, and no channel holds back another."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.delivery import post as posting
from lastaisle.delivery import tries
from lastaisle.delivery.channels import Channel, channels_of
from lastaisle.delivery.config import ChannelConfig
from lastaisle.delivery.deliver import NotDeliveredError, deliver, send_now, send_test
from lastaisle.delivery.resolver import EnvironmentResolver
from lastaisle.errors import ExitCode
from lastaisle.lake import Lake
from lastaisle.lake.tables import ANNOUNCEMENTS, ANNOUNCEMENTS_SCHEMA
from tests.delivery.notices import NOON, RAISED, RESOLVED, notice
from tests.delivery.receivers import ANSWERED, HANG, SECRET, TOKEN

HOUR = timedelta(hours=1)


def slack_to(server, name=None, **options):
    config = ChannelConfig(kind="slack", name=name, address_from="LASTAISLE_ALERT_SLACK_URL", **options)
    (channel,) = channels_of([config], EnvironmentResolver({"LASTAISLE_ALERT_SLACK_URL": server.address}))
    return channel


def rows(lake, state):
    return [row for row in lake.scan(ANNOUNCEMENTS).to_pylist() if row["state"] == state]


def test_each_notice_arrives_once_oldest_first(lake, receiver):
    server = receiver()
    channel = slack_to(server)
    report = deliver(lake, [channel], [RESOLVED, RAISED], NOON - HOUR)
    assert report.channels[0].sent == ["alert.raised", "alert.resolved"]
    report.require_delivered()
    for hours in (1, 1000):
        assert deliver(lake, [channel], [RESOLVED, RAISED], NOON + hours * HOUR).lines() == []
    assert len(server.got) == 2 == len(rows(lake, "sent"))


def test_a_notice_that_fails_is_tried_again_with_the_same_body_and_then_given_up(lake, receiver):
    server = receiver(500)
    channel = slack_to(server)
    first = deliver(lake, [channel], [RAISED], NOON)
    with pytest.raises(
        NotDeliveredError, match=r"msg_raised .*it answered 500: a later run tries again"
    ) as error:
        first.require_delivered()
    assert error.value.exit_code == ExitCode.NOT_ANNOUNCED
    assert deliver(lake, [channel], [RAISED], NOON).channels[0].waiting == 1, "not at once"
    deliver(lake, [channel], [RAISED], NOON + HOUR)
    last = deliver(lake, [channel], [RAISED], NOON + 72 * HOUR)
    assert [one.id for one in last.channels[0].given_up] == ["msg_raised"]
    assert len({one["body"] for one in server.got}) == 1 and len(server.got) == 3
    deliver(lake, [channel], [RAISED], NOON + 100 * HOUR).require_delivered()
    assert len(server.got) == 3


def test_a_channel_that_hangs_holds_back_no_other_and_its_other_notices_wait(lake, receiver, monkeypatch):
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.3)
    hanging, working = receiver(HANG), receiver()
    notices = [notice(id=f"msg_{number}", dedup_key=str(number)) for number in range(5)]
    hung, worked = deliver(lake, [slack_to(hanging), slack_to(working)], notices, NOON).channels
    assert (len(hung.failed), hung.waiting, len(hanging.got)) == (1, 4, 1)
    assert len(worked.sent) == 5 == len(working.got)


def test_a_channel_that_takes_long_for_each_notice_stops_in_time(lake, receiver, monkeypatch):
    monkeypatch.setattr(tries, "LONGEST_RUN_SECONDS", -1.0)
    server = receiver()
    (report,) = deliver(lake, [slack_to(server)], [RAISED], NOON).channels
    assert (report.waiting, server.got) == (1, [])


def test_a_channel_that_asks_for_a_pause_gets_it(lake, receiver):
    server = receiver(429, 200, retry_after="3600")
    channel = slack_to(server)
    notices = [RAISED, notice(id="msg_other", dedup_key="other")]
    (first,) = deliver(lake, [channel], notices, NOON).channels
    assert (len(first.failed), first.waiting) == (1, 1), "the second waits too"
    (second,) = deliver(lake, [channel], notices, NOON + 0.9 * HOUR).channels
    assert (second.waiting, len(server.got)) == (2, 1), "longer than the wait of our own"
    deliver(lake, [channel], notices, NOON + 1.1 * HOUR).require_delivered()
    assert len(server.got) == 3


def test_a_lake_of_an_earlier_version_goes_on(lake, receiver):
    server = receiver()
    channel = slack_to(server)
    older = pa.schema(field for field in ANNOUNCEMENTS_SCHEMA if field.name != "not_before")
    row = {"announcement": RAISED.id, "receiver": channel.receiver, "state": "sent", "attempt": 1, "at": NOON}
    started = {"receiver": channel.receiver, "state": "started", "at": NOON - HOUR}
    lake.append(ANNOUNCEMENTS, pa.Table.from_pylist([row, started], schema=older), key="earlier")
    deliver(lake, [channel], [RAISED, RESOLVED], NOON + HOUR).require_delivered()
    assert len(server.got) == 1, "the notice that was sent then is not sent again"
    assert deliver(lake, [slack_to(receiver(503, retry_after="60"))], [RAISED], NOON).channels[0].failed


def test_a_new_channel_hears_of_open_alerts_and_not_of_those_that_are_over(lake, receiver):
    over = [
        notice(id="old", dedup_key="old"),
        notice(id="end", dedup_key="old", kind="resolved", at=NOON + HOUR),
    ]
    again = notice(id="again", dedup_key="old", at=NOON + 2 * HOUR)
    server = receiver()
    channel = slack_to(server)
    (report,) = deliver(lake, [channel], [*over, RAISED], NOON + 4 * HOUR).channels
    assert (report.is_new, len(server.got)) == (True, 1)
    deliver(lake, [channel], [*over, again, RAISED, RESOLVED], NOON + 5 * HOUR)
    assert len(server.got) == 2 + 1, "the alert that came again, and the end of the open one"


def test_an_alert_that_ends_while_a_channel_is_down_is_told_with_its_end(lake, receiver):
    server = receiver(500, 200)
    channel = slack_to(server)
    deliver(lake, [channel], [RAISED], NOON + HOUR)
    late = deliver(lake, [channel], [RAISED, RESOLVED], NOON + 4 * HOUR)
    assert late.channels[0].sent == ["alert.raised", "alert.resolved"]


def test_a_channel_gets_only_its_severities_and_rules(lake, receiver):
    server = receiver()
    channel = slack_to(server, min_severity="warning", rules=["drift"])
    notices = [
        notice(id=f"msg_{severity}_{rule}", severity=severity, rule=rule, dedup_key=severity + rule)
        for severity in ("info", "warning", "critical")
        for rule in ("drift", "lag")
    ]
    deliver(lake, [channel], notices, NOON)
    assert {row["announcement"] for row in rows(lake, "sent")} == {"msg_warning_drift", "msg_critical_drift"}


def test_two_channels_to_one_address_send_a_notice_once(lake, receiver):
    server = receiver()
    deliver(lake, [slack_to(server, "one"), slack_to(server, "two")], [RAISED], NOON)
    assert len(server.got) == 1


def test_a_channel_that_cannot_be_used_is_named_and_holds_back_no_other(lake, receiver):
    server = receiver()
    configs = [
        ChannelConfig(kind="pagerduty", name="on call", key_from="LASTAISLE_ALERT_PAGERDUTY_KEY"),
        ChannelConfig(kind="slack", address_from="LASTAISLE_ALERT_SLACK_URL"),
    ]
    channels = channels_of(configs, EnvironmentResolver({"LASTAISLE_ALERT_SLACK_URL": server.address}))
    for report in (deliver(lake, channels, [RAISED], NOON), send_test(channels)):
        assert "channel on call cannot be used" in report.lines()[0]
        with pytest.raises(NotDeliveredError, match="LASTAISLE_ALERT_PAGERDUTY_KEY is not set"):
            report.require_delivered()
    assert len(server.got) == 2


def test_runs_at_the_same_moment_note_each_notice_once(lake, receiver):
    server = receiver()
    channel = slack_to(server)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: deliver(lake, [channel], [RAISED, RESOLVED], NOON), range(4)))
    assert len(rows(lake, "sent")) == 2


class KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", range(4))
def test_a_run_that_is_killed_between_sending_and_noting_sends_the_same_again(
    lake, receiver, mailbox, monkeypatch, moment, nth
):
    pager, mail = receiver(202), mailbox()
    configs = [
        ChannelConfig(kind="pagerduty", key_from="LASTAISLE_ALERT_KEY", base_url=pager.base_url),
        ChannelConfig(kind="email", to=["anna@shop.example"], address_from="LASTAISLE_ALERT_SMTP_URL"),
    ]
    environ = {"LASTAISLE_ALERT_KEY": "a" * 32, "LASTAISLE_ALERT_SMTP_URL": mail.address()}
    channels = channels_of(configs, EnvironmentResolver(environ))
    append, calls = Lake.append, []

    def killed(self, *args, **options):
        calls.append(1)
        if len(calls) == nth + 1 and moment == "before":
            raise KilledError
        done = append(self, *args, **options)
        if len(calls) == nth + 1 and moment == "after":
            raise KilledError
        return done

    monkeypatch.setattr(Lake, "append", killed)
    with pytest.raises(KilledError):
        deliver(lake, channels, [RAISED], NOON)
    monkeypatch.setattr(Lake, "append", append)
    for _ in range(2):
        deliver(lake, channels, [RAISED], NOON).require_delivered()
    assert {one["dedup_key"] for one in pager.bodies()} == {"a1b2c3"}
    assert len({one["Message-ID"] for one in mail.got}) == 1
    assert 2 <= len(pager.got) + len(mail.got) <= 3, "at most the message that was on its way comes twice"
    assert len(rows(lake, "sent")) == 2


def test_a_remark_about_a_notice_that_arrived_is_told_and_noted(lake):
    from lastaisle.delivery.sent import Sent

    channel = Channel("mail", "alerts/mail#1", lambda _: Sent(remark="it refused recipient 2 of 2"))
    report = deliver(lake, [channel], [RAISED], NOON)
    report.require_delivered()
    assert "mail: it refused recipient 2 of 2" in report.lines()
    assert rows(lake, "sent")[0]["problem"] == "it refused recipient 2 of 2"


def test_nothing_that_is_kept_or_said_holds_a_secret_or_the_answer(lake, receiver, caplog):
    caplog.set_level(logging.DEBUG)
    server = receiver(500)
    configs = [
        ChannelConfig(kind="slack", address_from="LASTAISLE_ALERT_URL"),
        ChannelConfig(
            kind="webhook", address_from="LASTAISLE_ALERT_URL", key_from="LASTAISLE_WEBHOOK_SECRET"
        ),
        ChannelConfig(kind="webhook", name="bad", address_from="LASTAISLE_ALERT_BAD"),
    ]
    environ = {
        "LASTAISLE_ALERT_URL": server.address,
        "LASTAISLE_WEBHOOK_SECRET": SECRET,
        "LASTAISLE_ALERT_BAD": f"ftp://x/{TOKEN}",
    }
    channels = channels_of(configs, EnvironmentResolver(environ))
    report = deliver(lake, channels, [RAISED], NOON)
    tested = send_test(channels)
    with pytest.raises(NotDeliveredError) as error:
        report.require_delivered()
    kept = lake.scan(ANNOUNCEMENTS)
    told = f"{caplog.text} {error.value} {report.to_dict()} {tested.lines()} {kept} {channels[2].problem}"
    for secret in (TOKEN, SECRET.removeprefix("whsec_"), ANSWERED):
        assert secret not in told


def test_a_test_goes_to_every_channel_and_notes_nothing(lake, receiver):
    server = receiver()
    report = send_test([slack_to(server, min_severity="critical", rules=["drift"])])
    assert report.lines() == ["slack got alert.test"]
    assert server.bodies()[0]["text"].startswith("*[test] Lastaisle can reach you*")
    assert lake.version(ANNOUNCEMENTS) is None


def test_a_message_of_the_moment_respects_the_filter(receiver):
    server = receiver(500)
    report = send_now([slack_to(server, min_severity="critical")], notice(severity="warning"))
    assert (report.channels[0].given_up, server.got) == ([], [])
    with pytest.raises(NotDeliveredError):
        send_now([slack_to(server)], RAISED).require_delivered()

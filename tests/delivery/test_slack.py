"""Slack-compatible webhooks get messages within their limits, and no text of an alert calls people."""

import re
import time

import pytest

from lastaisle.delivery import post as posting
from lastaisle.delivery.slack import payload_of, slack
from tests.delivery.notices import RAISED, notice
from tests.delivery.receivers import ANSWERED, CLOSE, HANG, TOKEN


def texts_of(payload):
    return [payload["text"], *(block["text"]["text"] for block in payload["blocks"])]


def test_a_message_has_blocks_and_the_same_as_text(receiver):
    server = receiver()
    assert slack(server.address)(RAISED).problem == ""
    (payload,) = server.bodies()
    header, text, links = (block["text"]["text"] for block in payload["blocks"])
    assert header == "[critical] No logs came for 2026-11-24"
    assert text == "The folder is empty.\nThe limit is 26 hours."
    assert links == (
        "<https://airflow.shop.example/log?run=1&amp;try=2|Log>\nRunbook: docs/alerts.md#missing_data"
    )
    assert payload["text"] == f"*{header}*\n{text}\n{links}"


@pytest.mark.parametrize(
    "ping", ["<!channel>", "<@U123>", "@channel", "@here", "@Everyone", "@all", "<!here|x>"]
)
def test_no_text_pings_people_or_becomes_a_link(ping):
    hostile = notice(
        title=f"{ping} & <https://evil.example|click>",
        text=f"{ping} <b>",
        links=((ping, f"https://x/{ping}|>"),),
    )
    payload = payload_of(hostile)
    links = r"<https://x/[^<>|\s]*\|[^<>|]*>"
    for text in (payload["text"], *(block["text"]["text"] for block in payload["blocks"][1:])):
        rest = re.sub(links, "", text)
        assert "<" not in rest and ">" not in rest
        assert not re.search(r"@(channel|here|everyone|all)", rest, re.IGNORECASE)


@pytest.mark.parametrize("letter", ["x", "&", "<", "ü", "\n", "@all "])
@pytest.mark.parametrize("size", [149, 2000, 3000, 100_000])
def test_every_part_stays_within_the_limits_and_no_entity_is_cut(letter, size):
    long = notice(
        title=letter * size,
        text=letter * size,
        links=tuple((letter * 90, f"https://x/{i}") for i in range(60)),
    )
    payload = payload_of(long)
    fallback, header, *sections = texts_of(payload)
    assert len(fallback) <= 2000 and len(header) <= 150
    assert all(0 < len(section) <= 3000 for section in sections) and len(payload["blocks"]) <= 50
    for text in (fallback, *sections):
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)


def test_a_notice_without_a_text_has_no_empty_section():
    assert len(payload_of(notice(text=" \n ", links=()))["blocks"]) == 1


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, "it answered 400; it does not take this message"),
        (404, "it answered 404; it does not know this webhook: make a new one"),
        (429, "it answered 429"),
        (500, "it answered 500"),
        (302, "it answered 302; redirects are not followed"),
    ],
)
def test_a_refusal_is_told_without_the_address_and_the_answer(receiver, status, problem):
    server = receiver(status)
    sent = slack(server.address)(RAISED)
    assert sent.problem == problem and sent.answered
    assert TOKEN not in sent.problem and ANSWERED not in sent.problem


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("30", 30), ("999999999999", 6 * 3600), ("-1", 0), ("soon", 0), ("", 0), ("0", 0), ("1.5", 0)],
)
def test_the_pause_that_slack_asks_for_is_told(receiver, retry_after, seconds):
    sent = slack(receiver(429, retry_after=retry_after).address)(RAISED)
    assert sent.wait.total_seconds() == seconds


@pytest.mark.parametrize(("year", "seconds"), [(2000, 0), (2999, 6 * 3600)])
def test_a_pause_may_be_a_date(receiver, year, seconds):
    server = receiver(503, retry_after=f"Wed, 01 Jan {year} 00:00:00 GMT")
    assert slack(server.address)(RAISED).wait.total_seconds() == seconds


def test_a_server_that_hangs_or_ends_the_connection_is_left_in_time(receiver, monkeypatch):
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.3)
    began = time.monotonic()
    hung, closed = (slack(receiver(status).address)(RAISED) for status in (HANG, CLOSE))
    assert hung.problem == "it gave no answer within 0.3 seconds" and not hung.answered
    assert closed.problem.startswith("it cannot be reached (") and not closed.answered
    assert TOKEN not in closed.problem
    assert time.monotonic() - began < 3

"""The client of the service: what is tried again, what ends a day, and how a cut day goes on."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace

import httpx
import pytest

from lastaisle.simulate import ShopOptions, ShopOptionsError
from lastaisle.simulate.live import (
    LiveKeyError,
    LiveService,
    LiveServiceError,
    LiveShop,
    Reactions,
    read_key,
)
from lastaisle.simulate.live import (
    service as client_module,
)
from tests.simulate.live.services import KEY, FakeService
from tests.simulate.live.test_live_shop import lines_and_truth, spread

SHOP = ShopOptions(sessions_per_day=300, items=300)
EAGER = Reactions(attraction=1.0, on_shelf=1.0, off_shelf=0.8, telling=1.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(client_module, "_LONGEST_PAUSE", 0.002)


def day_of(service, number=0, options=SHOP, **given):
    client = service.client(retry_seconds=given.pop("retry_seconds", 5.0))
    return LiveShop(options, client, EAGER, **given).day(number)


@pytest.fixture(scope="module")
def undisturbed():
    return day_of(FakeService(spread))


def busy(request):
    return httpx.Response(503, json={"code": "busy", "message": "try later"}, headers={"Retry-After": "1"})


def no_answer(request):
    raise httpx.ReadTimeout("too slow")


def closed(request):
    raise httpx.RemoteProtocolError("server disconnected")


def page_of_a_proxy(request):
    return httpx.Response(502, text="<html>bad gateway</html>")


@pytest.mark.parametrize("fault", [busy, no_answer, closed, page_of_a_proxy])
def test_a_fault_that_passes_changes_nothing(fault, undisturbed):
    service, drawn = FakeService(spread), random.Random(3)
    service.replies.append(lambda request: fault(request) if drawn.random() < 0.3 else None)
    day = day_of(service)
    assert lines_and_truth(day) == lines_and_truth(undisturbed)
    assert day.truth.requests["retries"] > 50
    assert day.truth.requests["failed"] == 0


def test_feedback_whose_answer_was_lost_is_sent_again_the_same(undisturbed):
    service, drawn = FakeService(spread), random.Random(4)

    def lose(request):
        if request.url.path == "/v1/feedback" and drawn.random() < 0.5:
            service.feedback += json.loads(request.content)  # it is stored, and nobody hears of it
            raise httpx.ReadTimeout("lost")

    service.replies.append(lose)
    day = day_of(service)
    sent = [json.dumps(told, sort_keys=True) for told in service.feedback]
    assert len(sent) > 1.5 * len(set(sent))
    rows = {(listed, position, told["at"]) for listed, position, told in service.rows("shown")}
    assert len(rows) == day.truth.total().stored_shown == undisturbed.truth.total().stored_shown


def test_requests_at_the_same_time_are_bounded():
    service, open_now, most = FakeService(spread), [0], [0]

    async def count(request):
        open_now[0] += 1
        most[0] = max(most[0], open_now[0])
        await asyncio.sleep(0.001)
        open_now[0] -= 1
        return service.answer(request)

    client = LiveService("http://service.test", KEY, in_flight=3, transport=httpx.MockTransport(count))
    LiveShop(SHOP, client, EAGER).day(0)
    assert most == [3]


def test_a_page_without_an_answer_shows_no_list():
    """Some questions are never answered; their shoppers go on without a list."""
    service = FakeService(spread)

    def refuse(request):
        body = json.loads(request.content or b"{}")
        if isinstance(body, dict) and body.get("placement") == "checkout":
            return busy(request)
        return None

    service.replies.append(refuse)
    day = day_of(service, retry_seconds=0.005)
    lists = day.truth.lists
    unanswered = sum(counts.unanswered for (_, place), counts in lists.items() if place == "checkout")
    assert unanswered == sum(counts.asked for (_, place), counts in lists.items() if place == "checkout") > 10
    assert day.truth.requests["failed"] == unanswered
    assert "503 try later" in day.truth.problem
    assert day.truth.total(placement="checkout").shown == 0
    assert sum(counts.orders for counts in day.truth.sessions.values()) > 0


def answering(path, reply):
    return lambda request: reply if request.url.path == path else None


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (httpx.Response(422, json={"code": "wrong_value", "message": "no field policy"}), "no field policy"),
        (httpx.Response(200, json={"items": None}), "the answer is no list"),
        (httpx.Response(200, json=[1]), "the answer is no list"),
        (httpx.Response(200, text="<html>hello</html>"), "the answer is no list: <html>hello"),
        (httpx.Response(200, json={"items": [{}], "recommendation_id": "a"}), "the answer is no list"),
        (httpx.Response(404, json={"code": "not_found", "message": "no such path"}), "404 no such path"),
    ],
)
def test_a_service_that_fails_every_question_ends_the_day_soon(reply, named):
    service = FakeService(spread)
    service.replies.append(answering("/v1/recommendations", reply))
    with pytest.raises(LiveServiceError, match="failed 10 requests in a row") as raised:
        day_of(service)
    assert named in str(raised.value)
    assert service.questions == []


def test_refused_feedback_is_counted_and_not_in_the_truth_of_what_is_stored():
    service, drawn = FakeService(spread), random.Random(5)
    refusal = httpx.Response(413, json={"code": "too_large", "message": "too many"})
    service.replies.append(
        lambda request: refusal if request.url.path == "/v1/feedback" and drawn.random() < 0.2 else None
    )
    truth = day_of(service).truth
    assert truth.requests["refused"] > 5
    stored = Counter(told["arm"] for _, _, told in service.rows("shown"))
    assert stored == {arm: truth.total(arm=arm).stored_shown for arm in ("model", "popular")}


def test_a_service_that_is_away_is_named_with_what_to_do():
    def away(request):
        raise httpx.ConnectError("connection refused")

    service = FakeService(spread)
    service.replies.append(away)
    with pytest.raises(LiveServiceError, match=r"http://service\.test does not answer") as raised:
        day_of(service, retry_seconds=0.01)
    assert "lastaisle serve" in str(raised.value)


def test_a_service_without_a_version_is_waited_for():
    service, asked = FakeService(spread), Counter()

    def unready(request):
        asked[request.url.path] += 1
        return busy(request) if asked["/v1/model"] < 4 else None

    service.replies.append(unready)
    assert day_of(service).truth.total().shown > 0


def test_a_wrong_key_ends_at_once_and_is_not_shown():
    service = FakeService(spread)
    client = replace(service.client(), key="wrong-secret")
    with pytest.raises(LiveKeyError, match="refuses the key") as raised:
        LiveShop(SHOP, client).day(0)
    assert "wrong-secret" not in str(raised.value) + repr(client)
    assert service.questions == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8091",
        "ftp://a",
        "http://",
        "http://[",
        "http:// a b",
        "http://a:b",
        "http://a:0",
        "http://u:secret@a",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ShopOptionsError, match="no address of a service") as raised:
        LiveService(url, KEY)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.example:8091/shop/", "http://[::1]:80", "http://10.0.0.1"]
)
def test_an_address_is_taken(url):
    assert LiveService(url, KEY).url == url


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "schlüssel"])
def test_a_key_that_no_header_carries_is_refused_without_showing_it(key):
    with pytest.raises(LiveKeyError) as raised:
        LiveService("http://service.test", key)
    assert not key.strip() or key not in str(raised.value)


def test_the_key_comes_from_the_environment_or_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# new\n\n  from-file \nold\n")
    assert read_key({"LASTAISLE_SERVE_KEY": " a "}) == "a"
    assert read_key({"LASTAISLE_SERVE_KEY": "a"}, file) == "from-file"
    with pytest.raises(LiveKeyError, match="LASTAISLE_SERVE_KEY"):
        read_key({})
    with pytest.raises(LiveKeyError, match="cannot read"):
        read_key({}, tmp_path / "none")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(LiveKeyError, match="cannot read"):
        read_key({}, file)


class CutError(Exception):
    """The process ends."""


def test_a_cut_day_begins_again_with_the_same_lists_and_adds_no_row(tmp_path):
    service = FakeService(spread)
    whole = day_of(service)

    cut = FakeService(spread)

    def end(request):
        if len(cut.questions) == 30:
            raise CutError

    cut.replies.append(end)
    with pytest.raises(ExceptionGroup):
        day_of(cut, journal=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:-20])  # the last line is cut too
    told_before = len(cut.feedback)
    cut.replies.clear()
    day = day_of(cut, journal=tmp_path)
    assert lines_and_truth(day)[:2] == lines_and_truth(whole)[:2]
    assert len(cut.questions) == len(service.questions) + 1
    again = Counter(json.dumps(told, sort_keys=True) for told in cut.feedback)
    assert told_before > 10
    one_answer_lost = max(Counter(listed for listed, _, _ in cut.rows("shown")).values())
    assert len(again) <= len(service.feedback) + one_answer_lost


def test_a_new_process_finds_the_shop_as_the_earlier_one_left_it(tmp_path):
    options = replace(SHOP, late=0.05)
    service = FakeService(spread)
    shop = LiveShop(options, service.client(), EAGER, journal=tmp_path)
    shop.plain_day(0)
    shop.day(1)
    shop.day(2)
    third = shop.day(3)
    asked = len(service.questions)
    (tmp_path / "2025-10-04.jsonl").unlink()
    later = FakeService(spread)
    resumed = LiveShop(options, later.client(), EAGER, journal=tmp_path).day(3)
    assert lines_and_truth(resumed) == lines_and_truth(third)
    assert len(later.questions) == sum(counts.asked for counts in third.truth.lists.values()) < asked


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"event_id": "e1"}\n', "line 1 of .*is no answer"),
        (b"\xff\xfe\n", "line 1 of .*is no answer"),
        (b'["shop", null]\n', "line 1 of .*is no answer"),
        (b'["shop", {"seed": 8}]\n', r"a shop with other options \(adding, .*seed.*\)"),
        ("header", "line 2 of .*is no answer"),
    ],
)
def test_a_file_that_is_no_journal_of_the_shop_is_refused_by_its_name(tmp_path, content, named):
    file = tmp_path / "2025-10-01.jsonl"
    if content == "header":
        day_of(FakeService(spread), journal=tmp_path)
        content = file.read_bytes().splitlines(keepends=True)[0] + b'["0/0", {"items": 3}]\n'
    file.write_bytes(content)
    with pytest.raises(ShopOptionsError, match=named) as raised:
        day_of(FakeService(spread), journal=tmp_path)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("change", [{"seed": 8}, {"items": 301}, {"eventful": True}])
def test_the_journal_of_another_shop_is_refused(tmp_path, change):
    day_of(FakeService(spread), journal=tmp_path)
    with pytest.raises(ShopOptionsError, match=next(iter(change))):
        day_of(FakeService(spread), options=replace(SHOP, **change), journal=tmp_path)
    with pytest.raises(ShopOptionsError, match="popular_share"):
        day_of(FakeService(spread), journal=tmp_path, popular_share=0.4)
    again = FakeService(spread)
    day_of(again, options=replace(SHOP, days=99), journal=tmp_path)
    assert again.questions == []

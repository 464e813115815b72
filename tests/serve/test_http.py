"""Keys, limits, refusals and metrics of the service."""

from __future__ import annotations

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from lastaisle.feedback.origin import origin_of
from lastaisle.serve.app import Limits
from lastaisle.web.refusal import StorageError
from tests.serve.batches import waiting
from tests.serve.conftest import Client
from tests.serve.toys import KEY, Gate, ToyModel, ToyService, ToySink, version_of
from tests.services.waiting import wait_until

PATH = "/v1/recommendations"
KEYED = [
    ("POST", PATH),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/model"),
    ("GET", "/v1/items?search=a"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
]
WRONG_KEYS = {
    "none": {},
    "a wrong key": {"Authorization": "Bearer wrong"},
    "a part of a key": {"Authorization": f"Bearer {KEY[:-1]}"},
    "a longer key": {"X-API-Key": f"{KEY}x"},
    "an empty key": {"Authorization": "Bearer "},
    "an empty header": {"X-API-Key": ""},
    "another scheme": {"Authorization": f"Basic {KEY}"},
    "no scheme": {"Authorization": KEY},
    "all keys": {"X-API-Key": f"{KEY},another"},
    "a key that is no ASCII": {"X-API-Key": "schlüssel".encode()},
}


@pytest.mark.parametrize("headers", WRONG_KEYS.values(), ids=WRONG_KEYS)
@pytest.mark.parametrize(("method", "path"), KEYED)
def test_without_a_known_key_nothing_is_answered(service, method, path, headers):
    body = b"{}" if method == "POST" else None
    reply = TestClient(service.service.app).request(method, path, headers=headers, content=body)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert set(reply.json()) == {"code", "message"}


@pytest.mark.parametrize(
    "headers", [{"Authorization": "bearer another"}, {"X-API-Key": KEY}, {"Authorization": f"Bearer  {KEY}"}]
)
def test_each_key_may_come_in_two_ways(service, headers):
    assert TestClient(service.service.app).get("/v1/model", headers=headers).status_code == 200


def test_liveness_readiness_and_the_page_ask_for_no_key_and_tell_nothing(service):
    stranger = TestClient(service.service.app)
    for path in ("/healthz", "/readyz"):
        assert stranger.get(path).text == "ok"
    service.service.versions.current = None
    service.service.versions.problem = "the secret place of MLflow cannot be asked"
    assert "secret" not in stranger.get("/readyz").text
    for path in ("/", "/page.js", "/feedback.js", "/page.css"):
        page = stranger.get(path)
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_page_names_no_other_host_and_only_parts_that_exist():
    page, script, feedback, style = (
        files("lastaisle.serve").joinpath("page", name).read_text()
        for name in ("index.html", "page.js", "feedback.js", "page.css")
    )
    assert not re.findall(r"(?:https?:)?//\w", page + (script + feedback).replace("// ", "") + style)
    used = set(re.findall(r'element\("([\w-]+)"\)', script))
    assert used == set(re.findall(r'id="([\w-]+)"', page))
    assert "innerHTML" not in script
    assert " style=" not in page, "the policy allows no inline style"


def test_an_unknown_path_and_a_wrong_method_are_refused_in_the_same_form(service):
    for method, path, status in [
        ("GET", "/nix", 404),
        ("GET", "/docs", 404),
        ("GET", PATH, 405),
        ("POST", "/", 405),
        ("DELETE", "/v1/model", 405),
        ("POST", f"{PATH}/", 404),
    ]:
        reply = service.request(method, path)
        assert (reply.status_code, set(reply.json())) == (status, {"code", "message"}), path
    assert service.get(PATH).headers["allow"] == "POST"


def test_a_body_is_bounded_before_and_after_it_is_unpacked(make_service):
    service = make_service(limits=Limits(question_bytes=1000))
    large = json.dumps({"items": ["i1"] * 500}).encode()
    assert service.post(PATH, content=large).status_code == 413
    assert service.post(PATH, content=iter([large[:900], large[900:]])).status_code == 413
    packed = {"Content-Encoding": "gzip"}
    assert service.post(PATH, content=gzip.compress(large), headers=packed).status_code == 413
    small = json.dumps({"items": ["i1"], "k": 1}).encode()
    assert service.post(PATH, content=gzip.compress(small), headers=packed).json()["items"][0]["id"] == "i2"
    assert service.post(PATH, content=gzip.compress(small)[:-5], headers=packed).status_code == 400
    assert service.post(PATH, content=small, headers={"Content-Encoding": "br"}).status_code == 415


def test_a_full_queue_is_refused_at_once_and_the_waiting_requests_are_answered(make_service):
    model, gate = ToyModel(), Gate()
    service = make_service(model=model, limits=Limits(waiting=2, seconds=30))
    model.wait = gate
    with ThreadPoolExecutor(3) as pool:
        open_requests = [pool.submit(service.post, PATH, json={})]
        assert gate.reached.wait(10)
        for number in (1, 2):
            open_requests.append(pool.submit(service.post, PATH, json={}))
            wait_until("the request waits", lambda expected=number: waiting(service) >= expected)
        refused = service.post(PATH, json={})
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert int(refused.headers["retry-after"]) > 0
        gate.opened.set()
        assert [each.result().status_code for each in open_requests] == [200, 200, 200]
    assert service.metric('lastaisle_serve_refused_total{reason="busy"}') == 1


def test_a_request_that_waits_too_long_is_refused_and_never_scored(make_service):
    model, gate = ToyModel(), Gate()
    service = make_service(model=model, limits=Limits(seconds=0.2))
    model.wait = gate
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(service.post, PATH, json={"items": ["i1"]})
        assert gate.reached.wait(10)
        late = pool.submit(service.post, PATH, json={"items": ["i2"]})
        for refused in (slow.result(), late.result()):
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
            assert int(refused.headers["retry-after"]) > 0
        gate.opened.set()
    assert service.ids("i3", k=1) == ["i4"]
    assert [items for batch in model.asked for items, _ in batch] == [["i1"], ["i3"]]


def test_a_fault_of_the_model_fails_its_requests_and_no_later_one(make_service):
    model = ToyModel()
    service = make_service(model=model)

    def break_down():
        model.wait = lambda: None
        raise ZeroDivisionError

    model.wait = break_down
    with pytest.raises(ZeroDivisionError):  # the server would answer 500
        service.post(PATH, json={})
    assert service.ids("i3", k=1) == ["i4"]
    assert service.metric(f'lastaisle_serve_requests_total{{path="{PATH}",policy="",status="500"}}') == 1


def test_a_swap_between_two_requests_is_seen_by_the_second(service):
    assert service.ask("i1")["version"] == "7"
    service.service.versions.current = version_of(ToyModel(5), "8")
    reply = service.ask("i1", k=100)
    assert reply["version"] == origin_of(reply["recommendation_id"]).version == "8"
    assert len(reply["items"]) == 5
    service.get("/metrics")
    assert service.metric('lastaisle_serve_version{model="shop",version="7"}') == 0
    assert service.metric('lastaisle_serve_version{model="shop",version="8"}') == 1


def test_pages_of_other_origins_may_call_only_if_the_setting_names_them(make_service):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type"
    closed = make_service().options(PATH, headers=asked)
    assert "access-control-allow-origin" not in closed.headers
    service = make_service(origins=["https://shop.example"])
    allowed = service.options(PATH, headers=asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, asked["Origin"])
    other = service.options(PATH, headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_the_model_is_shown_with_what_does_not_work(service):
    shown = service.get("/v1/model").json()
    assert (shown["model"], shown["version"], shown["items"], shown["problems"]) == ("shop", "7", 10, [])
    service.service.versions.problem = "MLflow cannot be asked"
    service.service.sink.refuse = StorageError("the disk is full")
    wait_until(
        "the problems are shown",
        lambda: service.get("/v1/model").json()["problems"] == ["MLflow cannot be asked", "the disk is full"],
    )
    assert service.get("/readyz").status_code == 200, "lists are answered still"


def test_the_metrics_count_answers_slots_and_batches(service):
    service.ask("i1", k=3)
    service.ask(k=4)
    service.post(PATH, json={"k": 0})
    counted = {
        f'lastaisle_serve_requests_total{{path="{PATH}",policy="model",status="200"}}': 1,
        f'lastaisle_serve_requests_total{{path="{PATH}",policy="popular",status="200"}}': 1,
        f'lastaisle_serve_requests_total{{path="{PATH}",policy="",status="422"}}': 1,
        f'lastaisle_serve_seconds_count{{path="{PATH}"}}': 3,
        'lastaisle_serve_slots_total{reason="model"}': 3,
        'lastaisle_serve_slots_total{reason="popular"}': 4,
        'lastaisle_serve_refused_total{reason="wrong_value"}': 1,
        "lastaisle_serve_batch_size_count": 2,
        'lastaisle_serve_version{model="shop",version="7"}': 1,
        "lastaisle_serve_poll_age_seconds": 1,
    }
    assert {line: service.metric(line) for line in counted} == counted


def test_a_service_that_does_not_know_what_is_for_sale_is_not_ready(make_service):
    shelf = SimpleNamespace(
        ready=False, problem="the lake is away", has_catalogue=False, age_seconds=None,
        start=lambda: None, stop=lambda: None,
    )  # fmt: skip
    service = make_service(shelf=shelf)
    assert service.get("/readyz").status_code == 503
    assert service.get("/v1/model").json()["problems"] == ["the lake is away"]
    shelf.ready = True
    assert service.get("/readyz").status_code == 200


def test_the_sink_is_closed_when_the_service_ends():
    sink = ToySink()
    with Client(ToyService(sink=sink)) as service:
        service.ask("i1")
    assert sink.closed

"""In a browser, feedback holds what was on the screen for a second and what was clicked, and nothing else."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import pytest
import uvicorn

from lastaisle.web.listening import listen, server_config, url_of
from tests.docs.pages import ROOT
from tests.serve.conftest import Client
from tests.serve.toys import KEY, LAKE_KEY, ToyService
from tests.services.chromium import Browser, browser
from tests.services.waiting import wait_until

pytestmark = pytest.mark.service

LOOK = 1.6
"""Seconds after which a visible card was seen and sent: it must be visible for one second."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def example() -> str:
    """The example of the page on the service."""
    (found,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(), re.DOTALL)
    return str(found)


class Shop(ThreadingHTTPServer):
    """The server of a shop. Its page has cards 240 pixels high, in a window of 600. It passes feedback on."""

    daemon_threads = True

    def __init__(self, service: Client) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        self.answer = service.ask("i3", k=4)
        self.script = ""
        self.sent: list[list[dict[str, Any]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def page(self) -> str:
        cards = "".join(f'<div class="recommendation">{item["id"]}</div>' for item in self.answer["items"])
        return f"""<!doctype html><style>body {{ margin: 0 }} .recommendation {{ height: 240px }}</style>
        <body>{cards}<div style="height: 2000px"></div>
        <script src="feedback.js"></script>
        <script>const answer = {json.dumps(self.answer)};\n{example()}</script>
        <script>{self.script}</script>"""

    def shown(self, kind: str = "shown") -> list[tuple[str, int]]:
        """The items of a kind in what the service stored, with their positions."""
        rows = [json.loads(line) for line in self.service.service.sink.lines]
        return [(row["item_id"], row["position"]) for row in rows if row["kind"] == kind]


class _Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        if self.path == "/feedback.js":
            self._reply(
                files("lastaisle.serve").joinpath("page", "feedback.js").read_text(), "text/javascript"
            )
        else:
            self._reply(self.server.page(), "text/html")

    def do_POST(self) -> None:
        listed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append(listed)
        known = {"session_id": "visit 1", "user_id": "anna", "experiment": "demo", "arm": "model"}
        reply = self.server.service.post("/v1/feedback", json=[{**one, **known} for one in listed])
        assert reply.status_code == 200, reply.text
        self._reply(reply.text, "application/json")

    def log_message(self, *_: Any) -> None: ...

    def _reply(self, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def shop(service) -> Iterator[Shop]:
    with Shop(service) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_the_example_sends_what_was_half_visible_for_a_second(chromium, shop):
    chromium.open(shop.url)
    wait_until("three cards are sent", lambda: len(shop.shown()) == 3, timeout=10)
    assert shop.shown() == [("i4", 1), ("i5", 2), ("i6", 3)], "half of the third card is visible"
    assert len(shop.sent) == 1, "cards that are seen together are sent together"
    chromium.run("scrollTo(0, 300)")
    wait_until("the fourth card is sent", lambda: ("i7", 4) in shop.shown(), timeout=10)
    chromium.run("scrollTo(0, 0)")
    time.sleep(LOOK)
    assert shop.shown() == [("i4", 1), ("i5", 2), ("i6", 3), ("i7", 4)], "each card once"
    row = json.loads(shop.service.service.sink.lines[0])
    assert row["recommendation_id"] == shop.answer["recommendation_id"]
    assert (row["placement"], row["experiment"], row["arm"]) == ("checkout", "demo", "model")
    assert row["session_id"] == LAKE_KEY.pseudonym("session_id", "visit 1")


def test_what_is_visible_for_less_than_a_second_was_not_shown(chromium, shop):
    shop.script = "setTimeout(() => scrollTo(0, 1000), 300)"
    chromium.open(shop.url)
    time.sleep(LOOK)
    assert shop.sent == []


def test_a_page_in_a_tab_that_nobody_sees_shows_nothing(chromium, shop):
    shop.script = """function hide(hidden) {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }
    setTimeout(hide, 300, true);"""
    chromium.open(shop.url)
    time.sleep(LOOK)
    assert shop.sent == []
    chromium.run("hide(false)")
    wait_until("three cards are sent", lambda: len(shop.shown()) == 3, timeout=10)


def test_after_the_end_of_the_watch_nothing_more_is_sent(chromium, shop):
    shop.script = "setTimeout(endWatch, 300)"
    chromium.open(shop.url)
    time.sleep(LOOK)
    chromium.click(".recommendation")
    time.sleep(0.3)
    assert shop.sent == []


def test_less_than_half_of_a_card_was_not_shown(chromium, shop):
    shop.script = "scrollTo(0, 130)"
    chromium.open(shop.url)
    wait_until("a card is sent", shop.shown, timeout=10)
    time.sleep(0.5)
    assert shop.shown() == [("i5", 2), ("i6", 3)], "110 of the 240 pixels of the first card are visible"


def test_a_click_is_sent_with_the_items_that_were_shown_before(chromium, shop):
    chromium.open(shop.url)
    chromium.click(".recommendation:nth-child(2)")
    wait_until("the click is stored", lambda: shop.shown("clicked"), timeout=10)
    assert (shop.shown("clicked"), shop.shown()) == ([("i5", 2)], [("i5", 2)])
    assert [one["kind"] for one in shop.sent[0]] == ["shown", "clicked"], "in one request, in this order"


def test_what_was_shown_is_sent_when_the_shopper_leaves_at_once(chromium, shop):
    chromium.open(shop.url)
    chromium.run("new Promise((done) => setTimeout(done, 1100))")
    chromium.open("about:blank")
    wait_until("it is stored", lambda: len(shop.shown()) == 3, timeout=10)


@pytest.fixture
def running(service) -> Iterator[tuple[str, ToyService]]:
    """The address of a service that listens, and the service."""
    made = ToyService()
    with listen("127.0.0.1", 0, "the service") as listening:
        server = uvicorn.Server(server_config(made.app, lambda _: None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        wait_until("the service has started", lambda: server.started)
        yield url_of("127.0.0.1", listening), made
        server.should_exit = True
        thread.join()


def recommend(chromium: Browser, placement: str) -> None:
    chromium.run(f"""(async () => {{
      const wait = (ready) => new Promise((done) => {{
        const look = () => ready() ? done() : setTimeout(look, 20);
        look();
      }});
      const element = (id) => document.getElementById(id);
      if (element("workbench").hidden) {{
        element("key").value = "{KEY}";
        element("key-form").requestSubmit();
      }}
      await wait(() => !element("workbench").hidden);
      element("items").value = "i3";
      element("k").value = "2";
      element("placement").value = "{placement}";
      element("list").hidden = true;
      element("session-form").requestSubmit();
      await wait(() => !element("list").hidden);
      element("list").scrollIntoView();
    }})()""")


def test_the_services_own_page_sends_feedback_only_if_a_person_names_a_placement(chromium, running):
    url, made = running
    chromium.open(url)
    recommend(chromium, "")
    time.sleep(LOOK)
    assert made.sink.lines == [], "a person who tries a session is no shopper"
    recommend(chromium, "trial")
    wait_until("the list is stored", lambda: len(made.sink.lines) == 2, timeout=10)
    chromium.click("#list tbody tr:nth-child(2)")
    wait_until("the click is stored", lambda: len(made.sink.lines) == 3, timeout=10)
    rows = [json.loads(line) for line in made.sink.lines]
    assert [(row["kind"], row["item_id"], row["position"]) for row in rows] == [
        ("shown", "i4", 1), ("shown", "i5", 2), ("clicked", "i5", 2),
    ]  # fmt: skip
    assert {row["placement"] for row in rows} == {"trial"}
    assert chromium.run('document.getElementById("problems").hidden')

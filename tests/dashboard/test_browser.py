"""In a browser each page can be read on a telephone and on a wall, light and dark, by the keyboard alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import uvicorn

from lastaisle.audit.store import folder_of
from lastaisle.dashboard.access import token_access
from lastaisle.dashboard.app import create_app
from lastaisle.dashboard.render import MENU
from lastaisle.dashboard.source import Source
from lastaisle.settings import Settings
from lastaisle.web.listening import listen, server_config, url_of
from tests.dashboard import privacy_rows
from tests.dashboard.conftest import TOKEN
from tests.services.chromium import Browser, browser
from tests.services.waiting import wait_until

pytestmark = pytest.mark.service

SIZES = {"telephone": (360, 740), "screen": (1400, 900), "wall": (3840, 2160)}


@contextmanager
def serving(source: Source) -> Iterator[str]:
    """Serve the dashboard; yield its address."""
    app = create_app(source, token_access(TOKEN), roll_back=lambda _: "Nothing moved.")
    with listen("127.0.0.1", 0, "the dashboard") as listening:
        server = uvicorn.Server(server_config(app, lambda _: None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield url_of("127.0.0.1", listening)
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Serve the dashboard of an empty installation."""
    with serving(Source(Settings.of(home=tmp_path_factory.mktemp("dashboard")))) as url:
        yield url


@pytest.fixture(scope="module")
def tab(address, tmp_path_factory) -> Iterator[Browser]:
    """Open a browser that has signed in by the printed address."""
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        opened.open(f"{address}/?token={TOKEN}")
        assert TOKEN not in opened.run("location.href")
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_fit_and_keep_nobody_out(tab, address, size, scheme):
    tab.resize(*SIZES[size])
    tab.prefer(scheme)
    for entry in MENU:
        tab.open(f"{address}{entry.path}")
        wide = tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{entry.name} is {wide} pixels too wide for {size}"
        assert tab.violations() == [], entry.name


def test_privacy_with_much_to_tell_fits_and_keeps_nobody_out(tab, tmp_path):
    source = Source(Settings.of(home=tmp_path))
    privacy_rows.fill(source, datetime.now(UTC))
    (file,) = folder_of(source.settings).glob("*.html")
    with serving(source) as url:
        for address in (f"{url}/privacy?token={TOKEN}", file.as_uri()):
            for scheme, size in (("light", "wall"), ("dark", "telephone")):
                tab.resize(*SIZES[size])
                tab.prefer(scheme)
                tab.open(address)
                wide = tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, f"{wide} pixels too wide for {size}"
                assert tab.violations() == [], (address, scheme)


def test_the_keyboard_reaches_the_menu_and_the_content(tab, address):
    tab.resize(1400, 900)
    tab.open(f"{address}/")
    tab.press("Tab")
    assert tab.run("document.activeElement.textContent") == "Skip to the content"
    names = []
    for _ in MENU:
        tab.press("Tab")
        names.append(tab.run("document.activeElement.textContent"))
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert names == [entry.name for entry in MENU]


def test_times_are_those_of_the_viewer(tab, address):
    shown = {}
    for zone in ("UTC", "Asia/Tokyo"):
        tab.prefer("light", zone)
        tab.open(f"{address}/")
        shown[zone] = tab.run("""(() => {
          const time = document.querySelector("footer time");
          return [time.textContent, time.title.endsWith("UTC")];
        })()""")
    assert shown["UTC"][1]
    assert shown["UTC"][0] != shown["Asia/Tokyo"][0]


def test_the_checker_finds_a_fault(tab, address):
    tab.open(f"{address}/")
    tab.run("document.querySelector('main').append(document.createElement('input')); 0")
    assert any(found.startswith("label:") for found in tab.violations())


def test_nothing_is_loaded_from_elsewhere(tab, address):
    tab.open(f"{address}/")
    count = "performance.getEntriesByType('resource').length"
    wait_until("the files of the page", lambda: tab.run(count) >= 3, timeout=10)
    loaded = tab.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(address) for name in loaded), loaded

"""Inside Airflow, every path of the dashboard asks who is calling; only those who may trigger roll back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from lastaisle.dashboard.access import HEADER, Access
from lastaisle.dashboard.app import create_app
from lastaisle.dashboard.render import MENU
from lastaisle.dashboard.source import Source
from lastaisle.settings import Settings
from lastaisle_airflow.ui.dag_pages import PAGE_OF
from lastaisle_airflow.ui.mounted import URL_PREFIX
from tests.dashboard.test_access import endpoints
from tests.docs.pages import ROOT
from tests.services.chromium import browser

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def airflow(hourly_airflow):
    with hourly_airflow.fresh() as airflow:
        yield airflow


@pytest.fixture(scope="module")
def address(airflow):
    return f"http://127.0.0.1:{airflow.settings.services.airflow_port}"


@pytest.fixture
def stranger(address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def signed_in(airflow, address, user):
    """Return a client with the cookie of one of Airflow's users."""
    file = airflow.home / "airflow" / "simple_auth_manager_passwords.json.generated"
    login = {"username": user, "password": json.loads(file.read_text())[user]}
    token = httpx.post(f"{address}/auth/token", json=login).json()["access_token"]
    return httpx.Client(base_url=address, cookies={"_token": token}, timeout=60)


def paths(tmp_path):
    """Return the method and the path of each endpoint of the dashboard."""
    access = Access(lambda: None, lambda: "nobody")
    app = create_app(Source(Settings.of(home=tmp_path)), access, roll_back=lambda _: "")
    return [(method, f"{URL_PREFIX}{path}") for method, path in endpoints(app)]


def test_every_path_refuses_a_stranger(stranger, tmp_path):
    for method, path in paths(tmp_path):
        answer = stranger.request(method, path)
        assert answer.status_code == 401, (method, path)
        assert "<nav" not in answer.text
        wrong = stranger.request(method, path, headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code in (401, 403), (method, path)
    for path in ("docs", "redoc", "openapi.json"):
        assert stranger.get(f"{URL_PREFIX}/{path}").status_code == 404


def test_a_viewer_sees_all_pages_and_changes_nothing(airflow, address, tmp_path):
    with signed_in(airflow, address, "viewer") as viewer:
        for entry in MENU:
            answer = viewer.get(f"{URL_PREFIX}{entry.path}")
            assert answer.status_code == 200, (entry, answer.text)
            assert f'href="{URL_PREFIX}/static/dashboard.css' in answer.text
        for method, path in paths(tmp_path):
            if method != "GET":
                headers = {HEADER: "1", "Origin": address}
                assert viewer.request(method, path, headers=headers, json={}).status_code == 403, path


def test_other_sites_change_nothing_for_an_admin(airflow, address, tmp_path):
    with signed_in(airflow, address, "admin") as admin:
        for method, path in paths(tmp_path):
            if method == "GET":
                continue
            for headers in (
                {},
                {"Origin": address},
                {HEADER: "1"},
                {HEADER: "1", "Origin": "https://a.example"},
            ):
                answer = admin.request(method, path, headers=headers, json={"reason": "none"})
                assert answer.status_code == 403, (path, headers)


def test_the_tab_of_each_dag_leads_to_a_page(airflow, address):
    pages = {entry.path for entry in MENU}
    assert set(PAGE_OF) == {path.stem for path in (ROOT / "dags").glob("*.py")}
    with signed_in(airflow, address, "viewer") as viewer:
        for dag_id, page in PAGE_OF.items():
            assert page in pages
            answer = viewer.get(f"{URL_PREFIX}/dag/{dag_id}")
            assert (answer.status_code, answer.headers["location"]) == (303, f"{URL_PREFIX}{page}")
        assert viewer.get(f"{URL_PREFIX}/dag/of-the-shop").headers["location"] == f"{URL_PREFIX}/"
    assert httpx.get(f"{address}{URL_PREFIX}/dag/retrain_full").status_code == 401


def test_airflows_menu_opens_the_dashboard_in_its_frame(airflow, address, tmp_path):
    with signed_in(airflow, address, "viewer") as viewer, browser(tmp_path) as tab:
        tab.open(f"{address}/static/pin_32.png")
        tab.run(f"document.cookie = '_token={viewer.cookies['_token']}; path=/'")
        tab.open(f"{address}/plugin/lastaisle")
        frame = "document.querySelector('iframe')?.contentDocument"
        title = airflow.wait_for("the frame", lambda: tab.run(f"{frame}?.querySelector('h1')?.textContent"))
        assert title == MENU[0].name
        assert tab.run(f"{frame}.documentElement.scrollWidth <= {frame}.documentElement.clientWidth")

"""Every path of the dashboard asks who is calling; a change comes from a page of the dashboard alone."""

import pytest
from starlette.routing import Route

from lastaisle.dashboard.access import COOKIE, HEADER
from lastaisle.dashboard.app import STATIC
from tests.dashboard.conftest import ORIGIN, TOKEN


def endpoints(app):
    """Return the method and an address of each endpoint."""
    found = []
    for route in app.routes:
        assert isinstance(route, Route) or hasattr(route, "methods"), f"{route} is mounted beside the checks"
        path = route.path.format(
            **dict.fromkeys(("name", "version", "other", "experiment", "id", "form"), "1")
        )
        found += [(method, path) for method in sorted(route.methods) if method != "HEAD"]
    return found


def test_every_endpoint_refuses_a_stranger(app, stranger):
    assert len(endpoints(app)) >= 5
    for method, path in endpoints(app):
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Cookie": f"{COOKIE}=wrong"},
            {"X-Token": TOKEN},
        ):
            answer = stranger.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert "<nav" not in answer.text


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/static/", "/static/app.py", "/nowhere"]
)
def test_there_is_nothing_beside_the_pages(reader, path):
    assert reader.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/..%5capp.py"])
def test_no_path_leaves_the_static_files(reader, path):
    assert reader.get(path).status_code == 404


def test_static_files_come_with_their_type(reader):
    for name, media_type in STATIC.items():
        answer = reader.get(f"/static/{name}")
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.content


def test_the_printed_address_signs_in_and_loses_its_token(app, stranger):
    answer = stranger.get("/", params={"token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert stranger.get("/").status_code == 200
    assert stranger.get("/", params={"token": "wrong"}, headers={"Cookie": ""}).status_code == 401


def test_every_change_refuses_other_sites(app, reader):
    """The browser of a reader who is signed in sends the cookie, but neither the header nor the origin."""
    for method, path in endpoints(app):
        if method == "GET":
            continue
        for headers in (
            {},
            {"Origin": ORIGIN},
            {HEADER: "1"},
            {HEADER: "1", "Origin": "https://other.example"},
        ):
            answer = reader.request(method, path, headers=headers, json={"reason": "none"})
            assert answer.status_code == 403, (method, path, headers)


def test_pages_may_load_only_their_own_files(reader):
    policy = reader.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert "http" not in policy

"""Each page shows an empty lake, and says what to do; a part that cannot be read does not hide the others."""

import re

import pytest
from starlette.testclient import TestClient

from lastaisle.dashboard.charts import Chart, Series
from lastaisle.dashboard.render import MENU
from lastaisle.lake.tables import RELEASES
from tests.dashboard.conftest import TOKEN


@pytest.mark.parametrize("entry", MENU, ids=lambda entry: entry.name)
def test_a_page_of_an_empty_lake_says_what_to_do(reader, entry):
    answer = reader.get(entry.path)
    assert answer.status_code == 200
    assert f"<h1>{entry.name}</h1>" in answer.text
    assert "notice" in answer.text
    assert answer.text.count('aria-current="page"') == 1


@pytest.mark.parametrize("entry", MENU, ids=lambda entry: entry.name)
def test_every_figure_links_to_its_origin(reader, entry):
    text = reader.get(entry.path).text
    linked = set(re.findall(r'href="#(origin-[^"]+)"', text))
    assert linked <= set(re.findall(r'id="(origin-[^"]+)"', text))


@pytest.mark.parametrize("entry", MENU, ids=lambda entry: entry.name)
def test_no_id_stands_twice(reader, entry):
    ids = re.findall(r'\bid="([^"]+)"', reader.get(entry.path).text)
    assert sorted(ids) == sorted(set(ids))


def test_a_table_that_cannot_be_read_is_named_on_the_page(reader, source):
    folder = source.settings.home / "lake" / RELEASES
    folder.mkdir(parents=True)
    (folder / "rows.parquet").write_bytes(b"")
    answer = reader.get("/")
    assert answer.status_code == 200
    assert "This part cannot be read" in answer.text
    assert RELEASES in answer.text


def test_a_chart_holds_no_markup_of_its_data():
    chart = Chart("c", "Title", [1.0], [Series("</script><b>&", [float("nan")])])
    assert "<" not in chart.to_json()
    assert "&" not in chart.to_json()
    assert "NaN" not in chart.to_json()
    assert chart.has_points


def test_an_unexpected_error_ends_in_words_and_in_the_servers_log(app, monkeypatch):
    def fail(_):
        raise RuntimeError("a secret of the traceback")

    monkeypatch.setattr("lastaisle.dashboard.pages.releases.read_releases", fail)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = TestClient(app, headers=headers, raise_server_exceptions=False).get("/releases")
    assert answer.status_code == 500
    assert answer.text.startswith("500: this failed unexpectedly (RuntimeError)")
    assert "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]

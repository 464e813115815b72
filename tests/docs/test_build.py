"""The built pages: no broken link, and nothing that is loaded from another server."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_load_nothing_from_other_servers(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://[^\"]*\"", page.read_text())
        assert not loaded, page.name


def test_a_picture_of_a_page_is_there(site):
    for page in site.rglob("*.html"):
        for picture in re.findall(r"<img[^>]*src=\"([^\"]*)\"", page.read_text()):
            assert (page.parent / picture).is_file(), f"{page.name}: {picture}"


def test_decisions_keep_their_numbers():
    text = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^### (\d+)\.", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    for entry in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        for part in ("**Choice:**", "**Instead of:**", "**Because:**"):
            assert part in entry, entry.splitlines()[0]
        heading = entry.splitlines()[0]
        assert f"- [{heading}](#" in text, f"the index lacks {heading}"

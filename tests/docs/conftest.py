"""A folder as a reader has it after `make demo`: logs, and a small lake made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli

REES46 = """event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde-8bb3
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder, made once; nobody writes into it."""
    folder = tmp_path_factory.mktemp("reader")
    home = {"LASTAISLE_HOME": str(folder / ".lastaisle")}
    for words in (
        ["simulate", "--out", str(folder / "logs"), "--days", "1", "--sessions-per-day", "150"],
        ["ingest", "--format", "canonical", "--source", str(folder / "logs")],
    ):
        done = CliRunner().invoke(cli.app, words, env=home)
        assert done.exit_code == 0, done.output
    (folder / "rees46" / "logs").mkdir(parents=True)
    (folder / "rees46" / "logs" / "2019-10-01.csv").write_text(REES46)
    page = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    for language, name in (("json", "shop.jsonl"), ("yaml", "shop.yaml")):
        (folder / name).write_text(page.split(f"```{language}\n")[1].split("```")[0], encoding="utf-8")
    return folder


@pytest.fixture
def reader(made, tmp_path, monkeypatch):
    """A copy of the folder, as the current folder."""
    folder = tmp_path / "reader"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LASTAISLE_HOME", str(folder / ".lastaisle"))
    return folder
